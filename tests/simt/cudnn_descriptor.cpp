#include "simt/cudnn_descriptor.h"

#include <algorithm>

#include "core/error.h"

namespace monge::simt {
namespace {

using Kind = BackendDescriptor::Kind;
using Name = BackendDescriptor::Name;

/// An attribute of a kind of descriptor: at least and at most so many elements, and which descriptors it takes.
struct Rule {
  Name name;
  cudnnBackendAttributeType_t type;
  std::int64_t least = 1, most = 1;
  std::vector<Kind> takes{};
};
Rule needs(Name name, Kind kind) { return {name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, {kind}}; }
Rule needs_tensor(Name name) { return needs(name, CUDNN_BACKEND_TENSOR_DESCRIPTOR); }
Rule may_have_tensor(Name name) {
  return {name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, 1, {CUDNN_BACKEND_TENSOR_DESCRIPTOR}};
}

constexpr std::int64_t any = std::int64_t{1} << 20;

const std::map<Kind, std::vector<Rule>>& all_rules() {
  static const std::map<Kind, std::vector<Rule>> rules{
      {CUDNN_BACKEND_TENSOR_DESCRIPTOR,
       {{CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64},
        {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE},
        {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, 4},
        {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, 4},
        {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64},
        {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 0},
        {CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 0}}},
      {CUDNN_BACKEND_POINTWISE_DESCRIPTOR,
       {{CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE},
        {CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE},
        {CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 0}}},
      {CUDNN_BACKEND_REDUCTION_DESCRIPTOR,
       {{CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE},
        {CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE}}},
      {CUDNN_BACKEND_MATMUL_DESCRIPTOR, {{CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE}}},
      {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
       {needs(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_BACKEND_POINTWISE_DESCRIPTOR),
        needs_tensor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC), may_have_tensor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
        may_have_tensor(CUDNN_ATTR_OPERATION_POINTWISE_TDESC), needs_tensor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC)}},
      {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR,
       {needs(CUDNN_ATTR_OPERATION_REDUCTION_DESC, CUDNN_BACKEND_REDUCTION_DESCRIPTOR),
        needs_tensor(CUDNN_ATTR_OPERATION_REDUCTION_XDESC), needs_tensor(CUDNN_ATTR_OPERATION_REDUCTION_YDESC)}},
      {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR,
       {needs(CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_BACKEND_MATMUL_DESCRIPTOR),
        needs_tensor(CUDNN_ATTR_OPERATION_MATMUL_ADESC), needs_tensor(CUDNN_ATTR_OPERATION_MATMUL_BDESC),
        needs_tensor(CUDNN_ATTR_OPERATION_MATMUL_CDESC)}},
      {CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR,
       {needs_tensor(CUDNN_ATTR_OPERATION_RESHAPE_XDESC), needs_tensor(CUDNN_ATTR_OPERATION_RESHAPE_YDESC)}},
      {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE},
        {CUDNN_ATTR_OPERATIONGRAPH_OPS,
         CUDNN_TYPE_BACKEND_DESCRIPTOR,
         1,
         any,
         {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR,
          CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR}}}},
      {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
       {needs(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR),
        {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE}}},
      {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, {}},
      {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
       {{CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE},
        needs(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)}},
      {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
       {{CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 1, any},
        {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, any},
        {CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR}}}};
  return rules;
}

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN: return sizeof(bool);
    case CUDNN_TYPE_INT64: return sizeof(std::int64_t);
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR: return sizeof(void*);
    default: return sizeof(int);  // an enumerator
  }
}

const Rule& rule_of(Kind kind, Name name) {
  const auto& rules = all_rules().at(kind);
  const auto found = std::ranges::find(rules, name, &Rule::name);
  if (found == rules.end()) {
    refuse(CUDNN_STATUS_BAD_PARAM,
           fmt::format("descriptors of kind {} have no attribute {}", static_cast<int>(kind), static_cast<int>(name)));
  }
  return *found;
}

}  // namespace

BackendDescriptor::BackendDescriptor(Kind kind) : kind_(kind) {
  if (!all_rules().contains(kind)) {
    refuse(CUDNN_STATUS_NOT_SUPPORTED,
           fmt::format("the emulated library has no descriptors of kind {}", static_cast<int>(kind)));
  }
}

void BackendDescriptor::check(Name name, cudnnBackendAttributeType_t type, std::int64_t count) const {
  if (finalized_) refuse(CUDNN_STATUS_NOT_INITIALIZED, "a descriptor is changed after it was finalized");
  const Rule& rule = rule_of(kind_, name);
  if (type != rule.type) {
    refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE,
           fmt::format("attribute {} has type {}, not {}", static_cast<int>(name), static_cast<int>(rule.type),
                       static_cast<int>(type)));
  }
  if (count < 1 || count < rule.least || count > rule.most) {
    refuse(CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND,
           fmt::format("attribute {} is given {} elements", static_cast<int>(name), count));
  }
}

void BackendDescriptor::set(Name name, cudnnBackendAttributeType_t type, std::int64_t count, const void* elements) {
  check(name, type, count);
  const auto* const bytes = static_cast<const std::byte*>(elements);
  attributes_[name].bytes.assign(bytes, bytes + static_cast<std::size_t>(count) * size_of(type));
}

void BackendDescriptor::set(Name name, std::vector<Shared> descriptors) {
  check(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(descriptors));
  const Rule& rule = rule_of(kind_, name);
  for (const Shared& each : descriptors) {
    if (std::ranges::find(rule.takes, each->kind()) == rule.takes.end()) {
      refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE,
             fmt::format("attribute {} takes no descriptor of kind {}", static_cast<int>(name),
                         static_cast<int>(each->kind())));
    }
    if (!each->finalized()) {
      refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
             fmt::format("attribute {} is given a descriptor that is not finalized", static_cast<int>(name)));
    }
  }
  attributes_[name].descriptors = std::move(descriptors);
}

void BackendDescriptor::check_complete() const {
  if (finalized_) refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor is finalized twice");
  for (const Rule& rule : all_rules().at(kind_)) {
    if (rule.least > 0 && !has(rule.name)) {
      refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("a descriptor of kind {} lacks its attribute {}",
                                                 static_cast<int>(kind_), static_cast<int>(rule.name)));
    }
  }
}

}  // namespace monge::simt
