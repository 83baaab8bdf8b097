// Copies between dtypes and fills: one pass over memory.
#include <cstring>

#include "core/check.h"
#include "core/cpu/kernels.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/kernels_memory.cpp"
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

void copy(const Tensor& from, const Tensor& to) {
  check::copy(here, from, to);
  if (from.dtype() != to.dtype()) {
    return to.dtype() == DType::bf16 ? HWY_DYNAMIC_DISPATCH(Narrow)(from, to) : HWY_DYNAMIC_DISPATCH(Widen)(from, to);
  }
  const auto size = static_cast<std::int64_t>(size_of(from.dtype()));
  parallel_elements(from.numel(), [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(to.data_as<std::byte>() + begin * size, from.data_as<std::byte>() + begin * size,
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

void fill(const Tensor& x, double value) {
  check::fill(here, x);
  if (value == 0.0) {  // the bits of zero are the same in every dtype, and memset is faster than a loop over elements
    parallel_elements(static_cast<std::int64_t>(x.bytes()), [&](std::int64_t begin, std::int64_t end) {
      std::memset(x.data_as<std::byte>() + begin, 0, static_cast<std::size_t>(end - begin));
    });
    return;
  }
  if (x.dtype() == DType::i32) return fill_with(static_cast<std::int32_t>(value), x);
  if (x.dtype() == DType::bf16) return fill_with(bf16(static_cast<float>(value)), x);
  fill_with(static_cast<float>(value), x);
}

}  // namespace monge::cpu
#endif
