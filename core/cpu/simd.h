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
HWY_INLINE void store_exactly(Floats v, bf16* p) {
  const auto bits = hn::BitCast(u32_tag, v);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(upper, hn::Set(u32_tag, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(u32_tag, 0x7fff))));
  const auto is_nan = hn::RebindMask(u32_tag, hn::Ne(v, v));
  const auto result = hn::IfThenElse(is_nan, hn::Or(upper, hn::Set(u32_tag, 0x40)), rounded);
  hn::StoreU(hn::DemoteTo(u16_tag, hn::BitCast(i32_tag, result)), u16_tag, reinterpret_cast<std::uint16_t*>(p));
}

#if HWY_TARGET == HWY_AVX3
/// AVX512_BF16, which Highway 1.0 does not know: its instructions are written in assembler.
inline const bool has_native_bf16 = __builtin_cpu_supports("avx512bf16");
#endif

/// The same, but that numbers under 2^-126 may become 0.
HWY_INLINE void store(Floats v, bf16* p) {
#if HWY_TARGET == HWY_AVX3
  if (has_native_bf16) {
    __m256i narrow;
    asm("vcvtneps2bf16 %1, %0" : "=v"(narrow) : "v"(v.raw));
    return _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow);
  }
#endif
  store_exactly(v, p);
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

/// f(read, write) for each vector of the range, and once for the rest of it: `read(p)` and `write(v, p)` load and store
/// the elements of the buffer that starts at p.
template <class F>
HWY_INLINE void each_vector(std::int64_t begin, std::int64_t end, const F& f) {
  std::int64_t i = begin;
  for (; i + lanes() <= end; i += lanes()) {
    f([&](const auto* p) HWY_ATTR { return load(p + i); }, [&](Floats v, auto* p) HWY_ATTR { store(v, p + i); });
  }
  if (i < end) {
    f([&](const auto* p) HWY_ATTR { return load_n(p + i, end - i); },
      [&](Floats v, auto* p) HWY_ATTR { store_n(v, p + i, end - i); });
  }
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

/// e^x for -87.3 < x < 88.7, within 2 units in the last place.
/// x = n ln 2 + r with |r| <= ln 2 / 2; polynomial for e^r from Cephes (Moshier 1989, expf).
HWY_INLINE Floats exp_within(Floats x) {
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
  return hn::BitCast(f32_tag, hn::Add(hn::BitCast(i32_tag, y), hn::ShiftLeft<23>(hn::ConvertTo(i32_tag, n))));
}

/// e^x. Below -87.3 (results under 2^-126): 0; above 88.7: infinity.
HWY_INLINE Floats exp(Floats x) {
  const Floats bounded = hn::IfThenZeroElse(hn::Lt(x, splat(-87.33654)), exp_within(x));
  const Floats inf_or_nan = hn::Add(x, splat(std::numeric_limits<double>::infinity()));
  return hn::IfThenElse(hn::Le(x, splat(88.72283)), bounded, inf_or_nan);
}

/// 1 / (1 + e^-x)
HWY_INLINE Floats sigmoid(Floats x) { return hn::Div(splat(1.0), hn::Add(splat(1.0), exp(hn::Neg(x)))); }

/// The standard normal distribution at x: Phi(x) and its density, both with small relative error in the tails.
struct NormalAt {
  Floats cdf, density;
};

/// Phi(-|x|) = e^(-x^2/2) t P(t) with t = 1 / (1 + 0.304 |x|): a fit to erfcx(|x| / sqrt 2) / 2 for |x| < 13.2, where
/// the largest relative error is small (2e-7) and Phi(0) is exactly 1/2. Beyond, where it is under 1e-39, 0.
HWY_INLINE NormalAt normal_at(Floats x) {
  const Floats a = hn::Abs(x);
  const auto inside = hn::Lt(a, splat(13.2));
  const Floats gauss = hn::IfThenElseZero(inside, exp_within(hn::Mul(hn::Mul(splat(-0.5), x), x)));
  const Floats t = hn::Div(splat(1.0), hn::MulAdd(splat(0.304), a, splat(1.0)));
  Floats p = splat(3.68632597e-2);
  p = hn::MulAdd(p, t, splat(-1.553184941e-1));
  p = hn::MulAdd(p, t, splat(1.922219524e-1));
  p = hn::MulAdd(p, t, splat(-4.315993478e-2));
  p = hn::MulAdd(p, t, splat(1.235692874e-1));
  p = hn::MulAdd(p, t, splat(1.024177888e-1));
  p = hn::MulAdd(p, t, splat(1.221715104e-1));
  p = hn::MulAdd(p, t, splat(1.212346303e-1));
  const Floats tail = hn::Mul(hn::Mul(gauss, t), p);
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
