#if defined(MONGE_CUDNN)
#include "core/cuda/cudnn/cudnn_graph.h"

#include <algorithm>
#include <optional>

namespace monge::MONGE_GPU {
namespace {

CudnnGraph::Dims dense_strides(const CudnnGraph::Dims& d) { return {d[1] * d[2] * d[3], d[2] * d[3], d[3], 1}; }

CudnnGraph::Dims broadcast(std::initializer_list<CudnnGraph::Tensor> inputs) {
  CudnnGraph::Dims dims{1, 1, 1, 1};
  for (const auto& x : inputs) {
    for (std::size_t i = 0; i < dims.size(); ++i) dims[i] = std::max(dims[i], x.dims[i]);
  }
  return dims;
}

bool is_comparison(cudnnPointwiseMode_t mode) {
  return mode >= CUDNN_POINTWISE_CMP_EQ && mode <= CUDNN_POINTWISE_CMP_LE;
}

bool not_supported(cudnnStatus_t status) { return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED; }

}  // namespace

void check_cudnn(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) [[likely]] {
    return;
  }
  std::array<char, 512> detail{};
  cudnnGetLastErrorString(detail.data(), detail.size());
  throw CudnnError(status, fmt::format("cudnn: {}: {} ({})", what, cudnnGetErrorString(status), detail.data()));
}

CudnnDescriptor::CudnnDescriptor(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t made = nullptr;
  check_cudnn(cudnnBackendCreateDescriptor(type, &made), "create a descriptor");
  raw_ = std::shared_ptr<void>(made, [](void* descriptor) { cudnnBackendDestroyDescriptor(descriptor); });
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                          const void* values) {
  check_cudnn(cudnnBackendSetAttribute(raw(), name, type, count, values), "set an attribute");
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
  set(name, std::vector<CudnnDescriptor>{value});
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, const std::vector<CudnnDescriptor>& values) {
  std::vector<cudnnBackendDescriptor_t> raws;
  for (const CudnnDescriptor& each : values) raws.push_back(each.raw());
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(raws.size()), raws.data());
}

void CudnnDescriptor::finalize() { check_cudnn(cudnnBackendFinalize(raw()), "finalize a descriptor"); }

std::int64_t CudnnDescriptor::get_int64(cudnnBackendAttributeName_t name) const {
  std::int64_t value = 0, count = 0;
  check_cudnn(cudnnBackendGetAttribute(raw(), name, CUDNN_TYPE_INT64, 1, &count, &value), "get an attribute");
  return value;
}

std::vector<CudnnDescriptor> CudnnDescriptor::get(cudnnBackendAttributeName_t name,
                                                  cudnnBackendDescriptorType_t type) const {
  std::int64_t count = 0;
  check_cudnn(cudnnBackendGetAttribute(raw(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
              "count descriptors");
  std::vector<CudnnDescriptor> found;
  std::vector<cudnnBackendDescriptor_t> raws;
  for (std::int64_t i = 0; i < count; ++i) raws.push_back(found.emplace_back(type).raw());
  check_cudnn(cudnnBackendGetAttribute(raw(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, raws.data()),
              "get descriptors");
  found.resize(static_cast<std::size_t>(count));
  return found;
}

CudnnDevice::CudnnDevice(const std::string& json) : properties_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
  properties_.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                  static_cast<std::int64_t>(json.size() + 1), json.c_str());
  properties_.finalize();
}

void CudnnDevice::describe(CudnnDescriptor& descriptor, cudnnBackendAttributeName_t handle_name,
                           cudnnBackendAttributeName_t properties_name) const {
  if (handle_ != nullptr) {
    descriptor.set(handle_name, handle_);
  } else {
    descriptor.set(properties_name, properties_);
  }
}

CudnnGraph::Tensor CudnnGraph::make(std::int64_t uid, const Dims& dims, const Dims& strides, cudnnDataType_t type,
                                    bool internal, bool value) {
  CudnnDescriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, uid);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims.data());
  tensor.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides.data());
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
  tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, internal);
  tensor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, value);
  tensor.finalize();
  return {tensor, dims};
}

CudnnGraph::Tensor CudnnGraph::memory(std::int64_t uid, const Dims& dims, const Dims& strides, cudnnDataType_t type) {
  return make(uid, dims, strides, type, false, false);
}

CudnnGraph::Tensor CudnnGraph::scalar(float value) {
  const std::int64_t uid = next_internal_++;
  scalars_[uid] = value;
  return make(uid, {1, 1, 1, 1}, {1, 1, 1, 1}, CUDNN_DATA_FLOAT, false, true);
}

CudnnGraph::Tensor CudnnGraph::internal(const Dims& dims, cudnnDataType_t type) {
  return make(next_internal_++, dims, dense_strides(dims), type, true, false);
}

CudnnGraph::Tensor CudnnGraph::pointwise(cudnnPointwiseMode_t mode, std::initializer_list<Tensor> inputs) {
  const cudnnDataType_t type = is_comparison(mode) ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT;
  const Tensor y = internal(broadcast(inputs), type);
  add_pointwise(mode, type, inputs, y);
  return y;
}

void CudnnGraph::pointwise(cudnnPointwiseMode_t mode, std::initializer_list<Tensor> inputs, const Tensor& y) {
  add_pointwise(mode, CUDNN_DATA_FLOAT, inputs, y);
}

CudnnGraph::Tensor CudnnGraph::index(const Tensor& x, std::int64_t axis) {
  const Tensor y = internal(x.dims, CUDNN_DATA_INT32);
  add_pointwise(CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, {x}, y, axis);
  return y;
}

CudnnGraph::Tensor CudnnGraph::index_difference(const Tensor& a, const Tensor& b) {
  const Tensor y = internal(a.dims, CUDNN_DATA_INT32);
  add_pointwise(CUDNN_POINTWISE_SUB, CUDNN_DATA_INT32, {a, b}, y);
  return y;
}

void CudnnGraph::reduce(cudnnReduceTensorOp_t mode, const Tensor& x, const Tensor& y) {
  CudnnDescriptor how(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  how.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &mode);
  how.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  how.finalize();
  CudnnDescriptor operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor);
  add(operation);
}

void CudnnGraph::matmul(const Tensor& a, const Tensor& b, const Tensor& c) {
  CudnnDescriptor how(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  how.finalize();
  CudnnDescriptor operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.descriptor);
  add(operation);
}

CudnnGraph::Tensor CudnnGraph::transpose(const Tensor& x, cudnnDataType_t type) {
  Dims strides{};
  std::int64_t count = 0;
  check_cudnn(cudnnBackendGetAttribute(x.descriptor.raw(), CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, &count,
                                       strides.data()),
              "strides of a tensor");
  const Tensor y = make(next_internal_++, {x.dims[0], x.dims[1], x.dims[3], x.dims[2]},
                        {strides[0], strides[1], strides[3], strides[2]}, type, true, false);
  CudnnDescriptor operation(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.descriptor);
  add(operation);
  return y;
}

void CudnnGraph::add_pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t precision,
                               std::initializer_list<Tensor> inputs, const Tensor& y, std::int64_t axis) {
  CudnnDescriptor how(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, precision);
  if (axis >= 0) how.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
  how.finalize();
  CudnnDescriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  constexpr std::array places{CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                              CUDNN_ATTR_OPERATION_POINTWISE_TDESC};
  std::size_t place = 0;
  for (const Tensor& x : inputs) operation.set(places.at(place++), x.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor);
  add(operation);
}

void CudnnGraph::add(CudnnDescriptor operation) {
  operation.finalize();
  operations_.push_back(std::move(operation));
}

std::vector<CudnnDescriptor> CudnnPlan::proposals(const CudnnGraph& graph, const CudnnDevice& device) {
  try {
    CudnnDescriptor operations(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    operations.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, graph.operations_);
    if (device.handle() != nullptr) operations.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, device.handle());
    operations.finalize();

    CudnnDescriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operations);
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (device.handle() == nullptr) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device.properties());
    heuristic.finalize();

    return heuristic.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  } catch (const CudnnError& e) {
    if (not_supported(e.status())) return {};
    throw;
  }
}

CudnnDescriptor CudnnPlan::compile(const CudnnDescriptor& proposal, const CudnnDevice& device) {
  CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  device.describe(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, proposal);
  plan.finalize();
  return plan;
}

CudnnPlan::CudnnPlan(const CudnnGraph& graph, const CudnnDevice& device) : scalars_(graph.scalars_) {
  std::optional<CudnnError> problem;
  for (const CudnnDescriptor& proposal : proposals(graph, device)) {
    try {
      plan_ = compile(proposal, device);
      proposal_ = proposal;
      workspace_bytes_ = plan_.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
      return;
    } catch (const CudnnError& e) {
      problem = e;
    }
  }
  throw problem.value_or(CudnnError(CUDNN_STATUS_NOT_SUPPORTED, "cudnn: no engine supports the graph"));
}

void CudnnPlan::run(cudnnHandle_t handle, const std::map<std::int64_t, void*>& memory, void* workspace) const {
  std::vector<std::int64_t> uids;
  std::vector<void*> pointers;
  for (const auto& [uid, pointer] : memory) {
    uids.push_back(uid);
    pointers.push_back(pointer);
  }
  std::map<std::int64_t, float> scalars = scalars_;
  for (auto& [uid, value] : scalars) {
    uids.push_back(uid);
    pointers.push_back(&value);
  }
  CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  const auto count = static_cast<std::int64_t>(uids.size());
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  pack.finalize();
  check_cudnn(cudnnBackendExecute(handle, plan_.raw(), pack.raw()), "run a plan");
}

}  // namespace monge::MONGE_GPU
#endif
