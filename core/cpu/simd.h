// SIMD for the cpu kernels, on Google Highway: float vectors over f32 and bf16 memory, and the functions that a
// transformer needs, accurate to a few units in the last place of f32.
//
// A kernel file is compiled once for each instruction set and picks one when it runs:
//
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "core/cpu/kernels_x.cpp"   // this file
//   #include "core/cpu/simd.h"
//
//   HWY_BEFORE_NAMESPACE();
//   namespace monge::cpu::HWY_NAMESPACE {
//   void Scale(...) { ... }                               // compiled for each instruction set
//   }
//   HWY_AFTER_NAMESPACE();
//
//   #if HWY_ONCE
//   namespace monge::cpu {
//   HWY_EXPORT(Scale);
//   void scale(...) { HWY_DYNAMIC_DISPATCH(Scale)(...); }
//   }
//   #endif
//
// A lambda inside such a function carries HWY_ATTR.
#ifndef MONGE_CORE_CPU_SIMD_ONCE_
#define MONGE_CORE_CPU_SIMD_ONCE_
// On x86 three sets are compiled: AVX3 (AVX-512), AVX2 with FMA, and the baseline; more would cost compile time and
// give nothing to float arithmetic. (Highway's target numbers below AVX3 are the x86 sets above AVX-512.)
#define HWY_DISABLED_TARGETS ((HWY_AVX3 - 1) | HWY_SSE4 | HWY_SSSE3)
#include <hwy/foreach_target.h>
#endif

#include <hwy/highway.h>

#if defined(MONGE_CORE_CPU_SIMD_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MONGE_CORE_CPU_SIMD_H_
#undef MONGE_CORE_CPU_SIMD_H_
#else
#define MONGE_CORE_CPU_SIMD_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>

#include "core/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
/// A vector of floats: 16 with AVX-512, 8 with AVX2, 1 to 4 on the baseline.
using Floats = hn::Vec<FloatTag>;
inline constexpr FloatTag f32_tag{};
inline constexpr hn::RebindToUnsigned<FloatTag> u32_tag{};
inline constexpr hn::RebindToSigned<FloatTag> i32_tag{};
inline constexpr hn::Rebind<std::uint16_t, FloatTag> u16_tag{};

HWY_INLINE std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(f32_tag)); }
HWY_INLINE Floats splat(double x) { return hn::Set(f32_tag, static_cast<float>(x)); }

// --- memory: any alignment ---

HWY_INLINE Floats load(const float* p) { return hn::LoadU(f32_tag, p); }
HWY_INLINE Floats load(const bf16* p) {
  const auto bits = hn::LoadU(u16_tag, reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(f32_tag, hn::ShiftLeft<16>(hn::PromoteTo(u32_tag, bits)));
}

HWY_INLINE void store(Floats v, float* p) { hn::StoreU(v, f32_tag, p); }
/// Rounds to nearest, ties to even; NaN stays NaN: the rounding of bf16's constructor.
HWY_INLINE void store(Floats v, bf16* p) {
  const auto bits = hn::BitCast(u32_tag, v);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(upper, hn::Set(u32_tag, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(u32_tag, 0x7fff))));
  const auto is_nan = hn::RebindMask(u32_tag, hn::Ne(v, v));
  const auto result = hn::IfThenElse(is_nan, hn::Or(upper, hn::Set(u32_tag, 0x40)), rounded);
  hn::StoreU(hn::DemoteTo(u16_tag, hn::BitCast(i32_tag, result)), u16_tag, reinterpret_cast<std::uint16_t*>(p));
}

/// The first `n` < lanes() elements; the other lanes are 0.
template <class T>
HWY_INLINE Floats load_n(const T* p, std::int64_t n) {
  HWY_ALIGN T buffer[hn::MaxLanes(f32_tag)] = {};
  std::copy_n(p, n, buffer);
  return load(buffer);
}
template <class T>
HWY_INLINE void store_n(Floats v, T* p, std::int64_t n) {
  HWY_ALIGN T buffer[hn::MaxLanes(f32_tag)];
  store(v, buffer);
  std::copy_n(buffer, n, p);
}
HWY_INLINE Floats load_n(const float* p, std::int64_t n) {
  return hn::MaskedLoad(hn::FirstN(f32_tag, static_cast<std::size_t>(n)), f32_tag, p);
}
HWY_INLINE void store_n(Floats v, float* p, std::int64_t n) {
  hn::BlendedStore(v, hn::FirstN(f32_tag, static_cast<std::size_t>(n)), f32_tag, p);
}

// --- loops over rows and flat arrays ---

/// y[i] = f(x[i]...) for i < n; y may be one of x.
template <class Y, class F, class... X>
HWY_INLINE void map(std::int64_t n, Y* y, const F& f, const X*... x) {
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) store(f(load(x + i)...), y + i);
  if (i < n) store_n(f(load_n(x + i, n - i)...), y + i, n - i);
}

HWY_INLINE float sum_lanes(Floats v) { return hn::GetLane(hn::SumOfLanes(f32_tag, v)); }
HWY_INLINE float max_lanes(Floats v) { return hn::GetLane(hn::MaxOfLanes(f32_tag, v)); }

/// sum_i f(x[i]...). Four running sums hide the latency of the addition.
template <class F, class... X>
HWY_INLINE float sum_of(std::int64_t n, const F& f, const X*... x) {
  Floats a = hn::Zero(f32_tag), b = a, c = a, d = a;
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    a = hn::Add(a, f(load(x + i)...));
    b = hn::Add(b, f(load(x + i + step)...));
    c = hn::Add(c, f(load(x + i + 2 * step)...));
    d = hn::Add(d, f(load(x + i + 3 * step)...));
  }
  for (; i + step <= n; i += step) a = hn::Add(a, f(load(x + i)...));
  if (i < n) {
    const auto valid = hn::FirstN(f32_tag, static_cast<std::size_t>(n - i));
    b = hn::Add(b, hn::IfThenElseZero(valid, f(load_n(x + i, n - i)...)));
  }
  return sum_lanes(hn::Add(hn::Add(a, b), hn::Add(c, d)));
}

/// max_i x[i], -infinity when n = 0. Elements that are NaN may be passed over.
template <class X>
HWY_INLINE float max_of(std::int64_t n, const X* x) {
  const Floats lowest = splat(-std::numeric_limits<double>::infinity());
  Floats a = lowest, b = lowest;
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + 2 * step <= n; i += 2 * step) {
    a = hn::Max(a, load(x + i));
    b = hn::Max(b, load(x + i + step));
  }
  for (; i + step <= n; i += step) a = hn::Max(a, load(x + i));
  if (i < n) {
    const auto valid = hn::FirstN(f32_tag, static_cast<std::size_t>(n - i));
    b = hn::Max(b, hn::IfThenElse(valid, load_n(x + i, n - i), lowest));
  }
  return max_lanes(hn::Max(a, b));
}

// --- functions; NaN gives NaN ---

/// e^x within 2 units in the last place. Below -87.3 (results under 2^-126): 0; above 88.7: infinity.
/// x = n ln 2 + r with |r| <= ln 2 / 2; polynomial for e^r from Cephes (Moshier 1989, expf).
HWY_INLINE Floats exp(Floats x) {
  const Floats n = hn::Round(hn::Mul(x, splat(1.44269504088896341)));
  Floats r = hn::NegMulAdd(n, splat(0.693359375), x);
  r = hn::NegMulAdd(n, splat(-2.12194440e-4), r);
  Floats p = splat(1.9875691500e-4);
  p = hn::MulAdd(p, r, splat(1.3981999507e-3));
  p = hn::MulAdd(p, r, splat(8.3334519073e-3));
  p = hn::MulAdd(p, r, splat(4.1665795894e-2));
  p = hn::MulAdd(p, r, splat(1.6666665459e-1));
  p = hn::MulAdd(p, r, splat(5.0000001201e-1));
  const Floats y = hn::MulAdd(hn::Mul(r, r), p, hn::Add(r, splat(1.0)));
  const Floats scaled =
      hn::BitCast(f32_tag, hn::Add(hn::BitCast(i32_tag, y), hn::ShiftLeft<23>(hn::ConvertTo(i32_tag, n))));
  const Floats bounded = hn::IfThenZeroElse(hn::Lt(x, splat(-87.33654)), scaled);
  const Floats inf_or_nan = hn::Add(x, splat(std::numeric_limits<double>::infinity()));
  return hn::IfThenElse(hn::Le(x, splat(88.72283)), bounded, inf_or_nan);
}

/// 1 / (1 + e^-x)
HWY_INLINE Floats sigmoid(Floats x) { return hn::Div(splat(1.0), hn::Add(splat(1.0), exp(hn::Neg(x)))); }

/// The standard normal distribution at x: Phi(x) and its density, both with small relative error in the tails.
struct NormalAt {
  Floats cdf, density;
};

/// Phi(-|x|) = e^(-x^2/2) P(|x|) / Q(|x|): Hart et al. 1968, "Computer Approximations", no. 5666. All coefficients are
/// positive, so float loses nothing to cancellation.
HWY_INLINE NormalAt normal_at(Floats x) {
  const Floats a = hn::Min(hn::Abs(x), splat(100.0));  // beyond, the tail is 0 in any case
  const Floats gauss = exp(hn::Mul(splat(-0.5), hn::Mul(x, x)));
  Floats p = splat(3.52624965998911e-2);
  p = hn::MulAdd(p, a, splat(0.700383064443688));
  p = hn::MulAdd(p, a, splat(6.37396220353165));
  p = hn::MulAdd(p, a, splat(33.912866078383));
  p = hn::MulAdd(p, a, splat(112.079291497871));
  p = hn::MulAdd(p, a, splat(221.213596169931));
  p = hn::MulAdd(p, a, splat(220.206867912376));
  Floats q = splat(8.83883476483184e-2);
  q = hn::MulAdd(q, a, splat(1.75566716318264));
  q = hn::MulAdd(q, a, splat(16.064177579207));
  q = hn::MulAdd(q, a, splat(86.7807322029461));
  q = hn::MulAdd(q, a, splat(296.564248779674));
  q = hn::MulAdd(q, a, splat(637.333633378831));
  q = hn::MulAdd(q, a, splat(793.826512519948));
  q = hn::MulAdd(q, a, splat(440.413735824752));
  const Floats tail = hn::Mul(gauss, hn::Div(p, q));
  return {hn::IfThenElse(hn::Gt(x, hn::Zero(f32_tag)), hn::Sub(splat(1.0), tail), tail),
          hn::Mul(gauss, splat(0.398942280401432678))};
}

/// Calls f(float{}) or f(bf16{}): the body of a kernel as a template over the storage type.
template <class F>
HWY_INLINE void with_storage(DType dtype, const F& f) {
  if (dtype == DType::bf16) {
    f(bf16{});
  } else {
    f(float{});
  }
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
