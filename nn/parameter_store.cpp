#include "nn/parameter_store.h"

#include <algorithm>
#include <string_view>

#include "core/backend.h"
#include "core/error.h"
#include "core/random_streams.h"

namespace monge::nn {
namespace {

constexpr std::int64_t alignment = 16;  // elements: one cache line of f32

std::int64_t aligned(std::int64_t n) { return (n + alignment - 1) / alignment * alignment; }

/// FNV-1a (Fowler, Noll and Vo, RFC 9923): the same number everywhere, unlike std::hash.
std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

ParameterStore::ParameterStore(Module& root, Device device, Precision precision, std::uint64_t seed, bool trainable) {
  const auto named = root.parameters();
  std::vector<std::size_t> order(named.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return named[i].parameter->role(); });

  std::int64_t size = 0;
  for (const std::size_t i : order) {
    const auto& [name, parameter] = named[i];
    entries_.push_back({name, parameter->role(), size, parameter->shape(), parameter->parts(), parameter});
    parameters_.push_back(parameter);
    size += aligned(parameter->shape().numel());
  }

  const DType dtype = backend_of(device).default_float();
  // All of them before the first is touched: what does not fit is refused at once.
  values_ = Tensor::empty({size}, dtype, device, Pool::parameters);
  if (trainable) grads_ = Tensor::empty({size}, dtype, device, Pool::gradients);
  if (precision == Precision::bfloat16 && dtype == DType::f32) {
    copies_ = Tensor::empty({size}, DType::bf16, device, Pool::parameters);
  }
  for (const Tensor& x : {values_, grads_, copies_}) {
    if (x.defined()) backend_of(device).fill({.x = x, .value = 0.0});
  }
  initialise(seed);

  const Tensor& read = copies_.defined() ? copies_ : values_;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry& e = entries_[i];
    Tensor value = read.flat_view(e.begin, e.shape);
    parameters_[i]->bind(trainable ? autograd::Var::leaf(std::move(value), grad(e)) : autograd::Var(std::move(value)));
  }
}

void ParameterStore::initialise(std::uint64_t seed) {
  Backend& backend = values_.backend();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Tensor target = value(entries_[i]);
    const Init& init = parameters_[i]->init();
    const Random random{seed ^ hash_of(entries_[i].name), init_stream, {}};
    switch (init.kind) {
      case Init::Kind::constant: backend.fill({.x = target, .value = init.a}); break;
      case Init::Kind::normal: backend.normal({.x = target, .mean = init.a, .stddev = init.b, .random = random}); break;
      case Init::Kind::uniform: backend.uniform({.x = target, .low = init.a, .high = init.b, .random = random}); break;
    }
  }
  refresh_copies();
}

const ParameterStore::Entry& ParameterStore::entry(const std::string& name) const {
  const auto found = std::ranges::find(entries_, name, &Entry::name);
  require(found != entries_.end(), "the model has no parameter '{}'", name);
  return *found;
}

const ParameterStore::Entry& ParameterStore::entry(const Parameter& parameter) const {
  const auto found = std::ranges::find(entries_, &parameter, &Entry::parameter);
  require(found != entries_.end(), "the store does not hold this parameter {}", parameter.shape());
  return *found;
}

void ParameterStore::clear_grads() {
  for (Parameter* parameter : parameters_) parameter->var().clear_grad();
}

void ParameterStore::complete_grads() {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!parameters_[i]->var().grad().defined()) grads_.backend().fill({.x = grad(entries_[i])});
  }
}

void ParameterStore::refresh_copies() {
  if (copies_.defined()) values_.backend().copy({.from = values_, .to = copies_});
}

}  // namespace monge::nn
