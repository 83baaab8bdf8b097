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

/// The Extent of rows [i, j) for each block of them: calls a function object, which must outlive this.
class Extents {
 public:
  template <class F>
  HWY_INLINE explicit Extents(const F& f)
      : f_(&f), call_([](const void* g, std::int64_t i, std::int64_t j) HWY_ATTR {
          return (*static_cast<const F*>(g))(i, j);
        }) {}
  HWY_INLINE Extent operator()(std::int64_t i, std::int64_t j) const { return call_(f_, i, j); }

 private:
  const void* f_;
  Extent (*call_)(const void*, std::int64_t, std::int64_t);
};

/// c (rows, columns) = [c +] factor a b for factors of type T. What lies outside the extents is not touched. Rows of c
/// are c_stride apart. For float and bf16, in tile_product.cpp.
template <class T>
void multiply(std::int64_t rows, std::int64_t columns, LeftFactor a, RightFactor b, float* c, std::int64_t c_stride,
              Result result, Extents extents);

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
