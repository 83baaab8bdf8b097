// Rotary positions.
#include <cmath>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/rope.cpp"
#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// (y1, y2) = (x1, x2) rotated by the angles with cosines c and sines s, n elements each; in place where y is x.
template <class T>
HWY_INLINE void rotate(std::int64_t n, const T* x1, const T* x2, const float* c, const float* s, T* y1, T* y2) {
  const auto first = [](Floats a, Floats b, Floats cos, Floats sin)
                         HWY_ATTR { return hn::NegMulAdd(b, sin, hn::Mul(a, cos)); };
  const auto second = [](Floats a, Floats b, Floats cos, Floats sin)
                          HWY_ATTR { return hn::MulAdd(a, sin, hn::Mul(b, cos)); };
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) {
    const Floats a = load(x1 + i), b = load(x2 + i), cos = load(c + i), sin = load(s + i);
    store(first(a, b, cos, sin), y1 + i);
    store(second(a, b, cos, sin), y2 + i);
  }
  if (i < n) {
    const std::int64_t rest = n - i;
    const Floats a = load_n(x1 + i, rest), b = load_n(x2 + i, rest), cos = load_n(c + i, rest),
                 sin = load_n(s + i, rest);
    store_n(first(a, b, cos, sin), y1 + i, rest);
    store_n(second(a, b, cos, sin), y2 + i, rest);
  }
}

/// `angles` (T, 2, D/2): the cosines and sines of each position.
void Rotate(const kernel::Rope& args, const Tensor& angles) {
  const std::int64_t B = args.x.size(0), T = args.x.size(1), W = args.x.size(2);
  const std::int64_t D = args.head_dim, half = D / 2, rotated = args.heads * D;
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    using Storage = decltype(zero);
    const auto* x = args.x.data_as<const Storage>();
    auto* y = args.y.data_as<Storage>();
    parallel_rows(B * T, W, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      for (std::int64_t row = begin; row < end; ++row) {
        const float* cosines = angles.data_as<float>() + row % T * D;
        for (std::int64_t at = row * W; at < row * W + rotated; at += D) {
          rotate(half, x + at, x + at + half, cosines, cosines + half, y + at, y + at + half);
        }
        if (x != y) std::copy(x + row * W + rotated, x + (row + 1) * W, y + row * W + rotated);
      }
    });
  });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(Rotate);

namespace {

/// Each run of positions starts from an exact angle and goes on by rotations in double, which stay exact to 1e-14.
Tensor rope_angles(const kernel::Rope& args) {
  constexpr std::int64_t run = 64;
  const std::int64_t T = args.x.size(1), half = args.head_dim / 2;
  const Tensor angles = Tensor::empty({T, 2, half}, DType::f32, args.x.device(), Pool::scratch);
  float* out = angles.data_as<float>();
  parallel_chunks(T, run, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < half; ++i) {
      const double speed = std::pow(args.base, -2.0 * static_cast<double>(i) / static_cast<double>(args.head_dim));
      const double angle = static_cast<double>(args.start + begin) * speed;
      const double step_cos = std::cos(speed), step_sin = std::sin(speed);
      double cos = std::cos(angle), sin = std::sin(angle);
      for (std::int64_t t = begin; t < end; ++t) {
        out[t * 2 * half + i] = static_cast<float>(cos);
        out[t * 2 * half + half + i] = static_cast<float>(args.inverse ? -sin : sin);
        const double next = cos * step_cos - sin * step_sin;
        sin = sin * step_cos + cos * step_sin;
        cos = next;
      }
    }
  });
  return angles;
}

}  // namespace

void CpuBackend::compute(const kernel::Rope& args) { HWY_DYNAMIC_DISPATCH(Rotate)(args, rope_angles(args)); }

}  // namespace monge::cpu
#endif
