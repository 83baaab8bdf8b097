// Memory of the reference backend, and the backend itself.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/check.h"
#include "core/reference/reference_backend.h"

namespace monge {

ReferenceBackend::ReferenceBackend()
    : memory_(
          "reference", [](std::size_t bytes) { return std::malloc(bytes); },
          [](void* block, std::size_t) { std::free(block); }) {}

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

void ReferenceBackend::copy_from_host(const void* from, const Tensor& to) {
  check::copy_from_host(device(), from, to);
  if (to.bytes() > 0) std::memcpy(to.data(), from, to.bytes());
}

void ReferenceBackend::copy_to_host(const Tensor& from, void* to) {
  check::copy_to_host(device(), from, to);
  if (from.bytes() > 0) std::memcpy(to, from.data(), from.bytes());
}

void ReferenceBackend::copy(const Tensor& from, const Tensor& to) {
  check::copy(device(), from, to);
  std::memcpy(to.data(), from.data(), from.bytes());  // both f64 or both i32: this device has no other dtypes
}

void ReferenceBackend::fill(const Tensor& x, double value) {
  check::fill(device(), x);
  if (x.dtype() == DType::i32) {
    std::fill_n(x.data_as<std::int32_t>(), x.numel(), static_cast<std::int32_t>(value));
  } else {
    std::fill_n(x.data_as<double>(), x.numel(), value);
  }
}

}  // namespace monge
