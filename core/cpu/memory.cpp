// Copies between dtypes and fills: one pass over memory.
#include <cstring>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/memory.cpp"
#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

void Widen(const Tensor& from, const Tensor& to) {
  const bf16* const x = from.data_as<bf16>();
  float* const y = to.data_as<float>();
  parallel_elements(from.numel(), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    map(
        end - begin, y + begin, [](Floats v) HWY_ATTR { return v; }, x + begin);
  });
}

void Narrow(const Tensor& from, const Tensor& to) {
  const float* const x = from.data_as<float>();
  bf16* const y = to.data_as<bf16>();
  parallel_elements(from.numel(), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    std::int64_t i = begin;
    for (; i + lanes() <= end; i += lanes()) store_exactly(load(x + i), y + i);
    for (; i < end; ++i) y[i] = bf16(x[i]);
  });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(Widen);
HWY_EXPORT(Narrow);

void CpuBackend::compute(const kernel::CopyFromHost& args) {
  if (args.to.bytes() > 0) std::memcpy(args.to.data(), args.from, args.to.bytes());  // an empty vector's data is null
}

void CpuBackend::compute(const kernel::CopyToHost& args) {
  if (args.from.bytes() > 0) std::memcpy(args.to, args.from.data(), args.from.bytes());
}

void CpuBackend::compute(const kernel::Copy& args) {
  if (args.from.dtype() != args.to.dtype()) {
    return args.to.dtype() == DType::bf16 ? HWY_DYNAMIC_DISPATCH(Narrow)(args.from, args.to)
                                          : HWY_DYNAMIC_DISPATCH(Widen)(args.from, args.to);
  }
  const auto size = static_cast<std::int64_t>(size_of(args.from.dtype()));
  parallel_elements(args.from.numel(), [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(args.to.data_as<std::byte>() + begin * size, args.from.data_as<std::byte>() + begin * size,
                static_cast<std::size_t>((end - begin) * size));
  });
}

namespace {

template <class T>
void fill_with(T value, const Tensor& x) {
  T* p = x.data_as<T>();
  parallel_elements(x.numel(), [&](std::int64_t begin, std::int64_t end) { std::fill(p + begin, p + end, value); });
}

}  // namespace

void CpuBackend::compute(const kernel::Fill& args) {
  if (args.value ==
      0.0) {  // the bits of zero are the same in every dtype, and memset is faster than a loop over elements
    parallel_elements(static_cast<std::int64_t>(args.x.bytes()), [&](std::int64_t begin, std::int64_t end) {
      std::memset(args.x.data_as<std::byte>() + begin, 0, static_cast<std::size_t>(end - begin));
    });
    return;
  }
  if (args.x.dtype() == DType::i32) return fill_with(static_cast<std::int32_t>(args.value), args.x);
  if (args.x.dtype() == DType::bf16) return fill_with(bf16(static_cast<float>(args.value)), args.x);
  fill_with(static_cast<float>(args.value), args.x);
}

}  // namespace monge::cpu
#endif
