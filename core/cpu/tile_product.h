// The small products inside attention: c = [c +] factor a b on tiles in cache, single-threaded. A SIMD header, compiled
// for each instruction set like core/cpu/simd.h, which has to be included before it.
//
// The factors are f32 or bf16, c is f32. What the inner index of a product counts are words of 32 bits: one f32, or two
// bf16 which are neighbours in the inner index. So both have the same layouts, and only the multiplication differs.
//
// The matrices are ragged under a causal mask, so each block of rows says how much of it exists: the columns to compute
// and the range of the inner index to sum over.
#if defined(MONGE_CORE_CPU_TILE_PRODUCT_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MONGE_CORE_CPU_TILE_PRODUCT_H_
#undef MONGE_CORE_CPU_TILE_PRODUCT_H_
#else
#define MONGE_CORE_CPU_TILE_PRODUCT_H_
#endif

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

// What is held in registers: 6 rows of c, and of each row 4 vectors with the 32 registers of AVX-512, 2 with 16. Scalar
// code has no registers to spare, but a panel is at least four columns wide.
inline constexpr int block_rows = 6;
inline constexpr int panel_vectors = HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_SCALAR ? 4 : 2;

/// Columns of a panel of the right factor.
HWY_INLINE std::int64_t panel_width() { return panel_vectors * lanes(); }

/// Numbers in a word, and words that hold n numbers.
template <class T>
inline constexpr std::int64_t per_word = static_cast<std::int64_t>(sizeof(float) / sizeof(T));
template <class T>
HWY_INLINE std::int64_t words(std::int64_t n) {
  return (n + per_word<T> - 1) / per_word<T>;
}

/// lanes() words of factors T from numbers of the same type or, for f32 factors, of any type.
template <class T, class Number>
HWY_INLINE Floats load_words(const Number* p) {
  if constexpr (std::is_same_v<T, Number>) {
    return hn::LoadU(f32_tag, reinterpret_cast<const float*>(p));
  } else {
    return load(p);
  }
}

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

/// Word (i, k) of the left factor is data[i * row_stride + k * column_stride]: a matrix or its transpose.
struct LeftFactor {
  const float* data;
  std::int64_t row_stride, column_stride;
};

/// The right factor in panels of panel_width() columns: words k of panel p start at
/// data[p * panel_stride + k * row_stride].
struct RightFactor {
  const float* data;
  std::int64_t row_stride, panel_stride;
};

/// What exists of a block of rows: columns [0, columns), a multiple of lanes(), summed over the words [begin, end).
struct Extent {
  std::int64_t columns, begin, end;
};

/// What is done with a product: c = factor a b, or c += a b.
struct Result {
  double factor = 1.0;
  bool accumulate = false;
};

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

/// c (rows, columns) = [c +] factor a b. `extent(i, j)` gives the Extent of rows [i, j); what lies outside it is not
/// touched. Rows of c are c_stride apart.
template <class T, class ExtentOf>
HWY_INLINE void multiply(std::int64_t rows, std::int64_t columns, LeftFactor a, RightFactor b, float* c,
                         std::int64_t c_stride, Result result, const ExtentOf& extent) {
  with_words<T>([&](auto arithmetic) HWY_ATTR {
    for (std::int64_t column = 0; column < columns; column += panel_width()) {
      const float* panel = b.data + column / panel_width() * b.panel_stride;
      for (std::int64_t i = 0; i < rows; i += block_rows) {
        const std::int64_t count = std::min<std::int64_t>(block_rows, rows - i);
        const Extent e = extent(i, i + count);
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

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
