#include <algorithm>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/attention/tile_product.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/attention/tile_product.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

// How words are multiplied and added to a total.
struct F32Words {
  static HWY_INLINE Floats add_product(Floats a, Floats b, Floats total) { return hn::MulAdd(a, b, total); }
};
struct Bf16Words {
  static HWY_INLINE Floats first(Floats x) { return hn::BitCast(f32_tag, hn::ShiftLeft<16>(hn::BitCast(u32_tag, x))); }
  static HWY_INLINE Floats second(Floats x) {
    return hn::BitCast(f32_tag, hn::And(hn::BitCast(u32_tag, x), hn::Set(u32_tag, 0xffff0000)));
  }
  static HWY_INLINE Floats add_product(Floats a, Floats b, Floats total) {
    return hn::MulAdd(second(a), second(b), hn::MulAdd(first(a), first(b), total));
  }
};
#if HWY_TARGET == HWY_AVX3
struct NativeBf16Words {
  static HWY_INLINE Floats add_product(Floats a, Floats b, Floats total) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(total.raw) : "v"(a.raw), "v"(b.raw));
    return total;
  }
};
#endif

/// Calls f(Words{}) with the arithmetic of factors T on this processor.
template <class T, class F>
HWY_INLINE void with_words(const F& f) {
  if constexpr (std::is_same_v<T, float>) {
    f(F32Words{});
  } else {
#if HWY_TARGET == HWY_AVX3
    if (has_native_bf16) return f(NativeBf16Words{});
#endif
    f(Bf16Words{});
  }
}

// The unrolled loops keep `total` in registers; without them it would live in memory.
template <class Words, int rows, int vectors>
HWY_INLINE void multiply_block(LeftFactor a, const float* HWY_RESTRICT b, std::int64_t b_stride, std::int64_t begin,
                               std::int64_t end, float* HWY_RESTRICT c, std::int64_t c_stride, Result result) {
  Floats total[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      total[r][v] = result.accumulate ? load(c + r * c_stride + v * lanes()) : hn::Zero(f32_tag);
    }
  }
  for (std::int64_t k = begin; k < end; ++k) {
    Floats right[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) right[v] = load(b + k * b_stride + v * lanes());
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Floats left = hn::Set(f32_tag, a.data[r * a.row_stride + k * a.column_stride]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) total[r][v] = Words::add_product(left, right[v], total[r][v]);
    }
  }
  const Floats factor = splat(result.factor);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(hn::Mul(factor, total[r][v]), c + r * c_stride + v * lanes());
  }
}

/// Calls f(std::integral_constant<int, n>) for n in [1, limit].
template <int limit, class F>
HWY_INLINE void with_constant(std::int64_t n, const F& f) {
  if constexpr (limit > 1) {
    if (n < limit) return with_constant<limit - 1>(n, f);
  }
  f(std::integral_constant<int, limit>{});
}

template <class T>
void multiply(std::int64_t rows, std::int64_t columns, LeftFactor a, RightFactor b, float* c, std::int64_t c_stride,
              Result result, Extents extents) {
  with_words<T>([&](auto arithmetic) HWY_ATTR {
    for (std::int64_t column = 0; column < columns; column += panel_width()) {
      const float* panel = b.data + column / panel_width() * b.panel_stride;
      for (std::int64_t i = 0; i < rows; i += block_rows) {
        const std::int64_t count = std::min<std::int64_t>(block_rows, rows - i);
        const Extent e = extents(i, i + count);
        const std::int64_t vectors = std::min(e.columns - column, panel_width()) / lanes();
        if (vectors <= 0) continue;
        const LeftFactor left{a.data + i * a.row_stride, a.row_stride, a.column_stride};
        with_constant<block_rows>(count, [&](auto r) HWY_ATTR {
          with_constant<panel_vectors>(vectors, [&](auto v) HWY_ATTR {
            multiply_block<decltype(arithmetic), r, v>(left, panel, b.row_stride, e.begin, e.end,
                                                       c + i * c_stride + column, c_stride, result);
          });
        });
      }
    }
  });
}
template void multiply<float>(std::int64_t, std::int64_t, LeftFactor, RightFactor, float*, std::int64_t, Result,
                              Extents);
template void multiply<bf16>(std::int64_t, std::int64_t, LeftFactor, RightFactor, float*, std::int64_t, Result,
                             Extents);

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
