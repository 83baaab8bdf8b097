// Memory of the reference backend, and the backend itself.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/reference/reference_backend.h"

namespace monge {

ReferenceBackend::ReferenceBackend()
    : memory_(
          "reference", [](std::size_t bytes) { return std::malloc(bytes); },
          [](void* block, std::size_t) { std::free(block); }) {}

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

void ReferenceBackend::compute(const kernel::CopyFromHost& args) {
  if (args.to.bytes() > 0) std::memcpy(args.to.data(), args.from, args.to.bytes());
}

void ReferenceBackend::compute(const kernel::CopyToHost& args) {
  if (args.from.bytes() > 0) std::memcpy(args.to, args.from.data(), args.from.bytes());
}

void ReferenceBackend::compute(const kernel::Copy& args) {
  std::memcpy(args.to.data(), args.from.data(),
              args.from.bytes());  // both f64 or both i32: this device has no other dtypes
}

void ReferenceBackend::compute(const kernel::Fill& args) {
  if (args.x.dtype() == DType::i32) {
    std::fill_n(args.x.data_as<std::int32_t>(), args.x.numel(), static_cast<std::int32_t>(args.value));
  } else {
    std::fill_n(args.x.data_as<double>(), args.x.numel(), args.value);
  }
}

void ReferenceBackend::compute(const kernel::StridedCopy& args) {
  const Shape& shape = args.to.shape();
  for (std::int64_t n = 0; n < shape.numel(); ++n) {
    std::int64_t from = 0, to = 0, rest = n;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      const std::int64_t index = rest % shape[i];
      rest /= shape[i];
      from += index * args.from.stride(i);
      to += index * args.to.stride(i);
    }
    double& target = args.to.data_as<double>()[to];
    target = (args.accumulate ? target : 0.0) + args.from.data_as<double>()[from];
  }
}

}  // namespace monge
