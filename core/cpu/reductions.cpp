// Sums over one dimension and their backward.
#include <numeric>
#include <vector>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"
#include "core/cpu/reductions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/reductions.cpp"
#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// Columns that are summed at a time, in a buffer that stays in the first-level cache.
inline constexpr std::int64_t tile_width = 256;

/// acc[0 .. width) = sum of `n` rows of x that lie `stride` apart.
template <class X>
HWY_INLINE void sum_rows(const X* x, std::int64_t n, std::int64_t stride, std::int64_t width, float* acc) {
  if (stride == 1) {
    constexpr std::int64_t piece = 1024;  // short, so that float adds numbers of like size
    double total = 0.0;
    for (std::int64_t i = 0; i < n; i += piece) {
      total += sum_of(
          std::min(piece, n - i), [](Floats v) HWY_ATTR { return v; }, x + i);
    }
    acc[0] = static_cast<float>(total);
    return;
  }
  std::fill_n(acc, width, 0.0f);
  for (std::int64_t i = 0; i < n; ++i) {
    map(
        width, acc, [](Floats a, Floats v) HWY_ATTR { return hn::Add(a, v); }, acc, x + i * stride);
  }
}

/// out = [out +] factor * acc
template <class Y>
HWY_INLINE void write_sum(const float* acc, std::int64_t n, double factor, bool accumulate, Y* out) {
  const Floats k = splat(factor);
  if (accumulate) {
    map(
        n, out, [&](Floats old, Floats a) HWY_ATTR { return hn::MulAdd(k, a, old); }, out, acc);
  } else {
    map(
        n, out, [&](Floats a) HWY_ATTR { return hn::Mul(k, a); }, acc);
  }
}

void AddParts(const Tensor& parts, double factor, const Tensor& out, bool accumulate) {
  const float* p = parts.data_as<float>();
  const std::int64_t n = parts.size(0), width = parts.size(1);
  with_storage(out.dtype(), [&](auto zero) HWY_ATTR {
    auto* y = out.data_as<decltype(zero)>();
    parallel_chunks(width, tile_width, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      HWY_ALIGN float acc[tile_width];
      std::fill_n(acc, end - begin, 0.0f);
      for (std::int64_t i = 0; i < n; ++i) {
        map(
            end - begin, acc, [](Floats a, Floats v) HWY_ATTR { return hn::Add(a, v); }, acc, p + i * width + begin);
      }
      write_sum(acc, end - begin, factor, accumulate, y + begin);
    });
  });
}

/// Sums one (outer, chunk of n, tile of inner) after the other and hands each to write(outer, chunk, column, acc,
/// width).
template <class X, class F>
void sum_chunks(const X* x, std::int64_t outer, std::int64_t n, std::int64_t inner, std::int64_t chunk,
                const F& write) {
  const std::int64_t width = std::min(inner, tile_width), tiles = chunk_count(inner, tile_width);
  const std::int64_t chunks = std::max<std::int64_t>(1, chunk_count(n, chunk));
  parallel_rows(outer * chunks * tiles, width * std::min(n, chunk), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    HWY_ALIGN float acc[tile_width];
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t column = item % tiles * tile_width, c = item / tiles % chunks, o = item / tiles / chunks;
      const std::int64_t first = c * chunk, w = std::min(width, inner - column);
      sum_rows(x + (o * n + first) * inner + column, std::min(chunk, n - first), inner, w, acc);
      write(o, c, column, acc, w);
    }
  });
}

void Sum(const kernel::Sum& args) {
  // Long enough that the parts are a small share of x, short enough to share one long sum among threads.
  const std::int64_t chunk = 4 * rows_per_chunk(std::min(args.inner, tile_width));
  with_storage(args.x.dtype(), [&](auto x_zero) HWY_ATTR {
    const auto* px = args.x.data_as<const decltype(x_zero)>();
    if (args.n > chunk) {
      const Tensor parts = Tensor::empty({chunk_count(args.n, chunk), args.outer * args.inner}, DType::f32,
                                         args.x.device(), Pool::scratch);
      float* p = parts.data_as<float>();
      sum_chunks(px, args.outer, args.n, args.inner, chunk,
                 [&](std::int64_t o, std::int64_t c, std::int64_t column, const float* acc, std::int64_t w)
                     HWY_ATTR { std::copy_n(acc, w, p + (c * args.outer + o) * args.inner + column); });
      AddParts(parts, args.factor, args.out, args.accumulate);
      return;
    }
    with_storage(args.out.dtype(), [&](auto y_zero) HWY_ATTR {
      auto* y = args.out.data_as<decltype(y_zero)>();
      sum_chunks(px, args.outer, args.n, args.inner, chunk,
                 [&](std::int64_t o, std::int64_t, std::int64_t column, const float* acc, std::int64_t w)
                     HWY_ATTR { write_sum(acc, w, args.factor, args.accumulate, y + o * args.inner + column); });
    });
  });
}

void Repeat(const kernel::Repeat& args) {
  const Floats k = splat(args.factor);
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const T* px = args.x.data_as<T>();
    T* y = args.out.data_as<T>();
    if (args.inner == 1) {
      parallel_elements(args.outer * args.n, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
        while (begin < end) {
          const std::int64_t o = begin / args.n, stop = std::min(end, (o + 1) * args.n);
          std::fill(y + begin, y + stop, T(static_cast<float>(px[o]) * static_cast<float>(args.factor)));
          begin = stop;
        }
      });
    } else {
      parallel_rows(args.outer * args.n, args.inner, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
        for (std::int64_t r = begin; r < end; ++r) {
          map(
              args.inner, y + r * args.inner, [&](Floats v) HWY_ATTR { return hn::Mul(k, v); },
              px + r / args.n * args.inner);
        }
      });
    }
  });
}

/// <a, b> in double.
double DotProduct(const float* x, const float* y, std::int64_t n) {
  const hn::ScalableTag<double> f64_tag;
  const hn::Rebind<float, decltype(f64_tag)> half_tag;
  const auto step = static_cast<std::int64_t>(hn::Lanes(f64_tag));
  auto a = hn::Zero(f64_tag), b = a, c = a, d = a;
  const auto product = [&](std::int64_t i, auto acc) HWY_ATTR {
    const auto u = hn::PromoteTo(f64_tag, hn::LoadU(half_tag, x + i));
    const auto v = hn::PromoteTo(f64_tag, hn::LoadU(half_tag, y + i));
    return hn::MulAdd(u, v, acc);
  };
  std::int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    a = product(i, a);
    b = product(i + step, b);
    c = product(i + 2 * step, c);
    d = product(i + 3 * step, d);
  }
  double total = hn::GetLane(hn::SumOfLanes(f64_tag, hn::Add(hn::Add(a, b), hn::Add(c, d))));
  for (; i < n; ++i) total += static_cast<double>(x[i]) * y[i];
  return total;
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(AddParts);
HWY_EXPORT(Sum);
HWY_EXPORT(Repeat);
HWY_EXPORT(DotProduct);

void add_parts(const Tensor& parts, double factor, const Tensor& out, bool accumulate) {
  HWY_DYNAMIC_DISPATCH(AddParts)(parts, factor, out, accumulate);
}

void CpuBackend::compute(const kernel::Sum& args) { HWY_DYNAMIC_DISPATCH(Sum)(args); }

void CpuBackend::compute(const kernel::Repeat& args) { HWY_DYNAMIC_DISPATCH(Repeat)(args); }

double dot_product(const float* a, const float* b, std::int64_t n) {
  std::vector<double> parts(static_cast<std::size_t>(chunk_count(n, elements_per_chunk)));
  parallel_elements(n, [&](std::int64_t begin, std::int64_t end) {
    parts[static_cast<std::size_t>(begin / elements_per_chunk)] =
        HWY_DYNAMIC_DISPATCH(DotProduct)(a + begin, b + begin, end - begin);
  });
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

void CpuBackend::compute(const kernel::Dot& args) {
  *args.out.data_as<float>() =
      static_cast<float>(dot_product(args.a.data_as<float>(), args.b.data_as<float>(), args.a.numel()));
}

}  // namespace monge::cpu
#endif
