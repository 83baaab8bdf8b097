// The rows of attention's tiles, for every row map.
#include <cmath>
#include <limits>

#include "core/cpu/cpu_backend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/attention/rows.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/attention/rows.h"

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

// The row maps, compiled for this instruction set.
#define MONGE_LAMBDA HWY_ATTR
#include "core/row_map/maps.h"

#include "core/row_map/custom_map.h"
#undef MONGE_LAMBDA

/// Several neighbouring elements of a row, in the lanes of a vector.
struct Lanes {
  HWY_INLINE Lanes(Floats x) : v(x) {}
  HWY_INLINE Lanes(float x) : v(hn::Set(f32_tag, x)) {}

  friend HWY_INLINE Lanes operator+(Lanes a, Lanes b) { return hn::Add(a.v, b.v); }
  friend HWY_INLINE Lanes operator-(Lanes a, Lanes b) { return hn::Sub(a.v, b.v); }
  friend HWY_INLINE Lanes operator*(Lanes a, Lanes b) { return hn::Mul(a.v, b.v); }
  friend HWY_INLINE Lanes operator/(Lanes a, Lanes b) { return hn::Div(a.v, b.v); }

  Floats v;
};

/// The Row of core/row_map/row_map.h over floats in memory.
class SimdRow {
 public:
  using Number = float;

  HWY_INLINE SimdRow(float* data, std::int64_t size) : data_(data), size_(size) {}

  float* data() const { return data_; }
  std::int64_t size() const { return size_; }
  HWY_INLINE Number max() const { return max_of(size_, data_); }
  template <class F>
  HWY_INLINE Number sum(const F& f) const {
    return sum_of(
        size_, [&](Floats z) HWY_ATTR { return f(Lanes(z)).v; }, data_);
  }
  template <class F>
  HWY_INLINE Number apply(const F& f) {
    Floats total = hn::Zero(f32_tag), other = total;
    std::int64_t j = 0;
    const auto step = [&](Floats& sum, std::int64_t at) HWY_ATTR {
      const Floats y = f(Lanes(load(data_ + at))).v;
      store(y, data_ + at);
      sum = hn::Add(sum, y);
    };
    for (; j + 2 * lanes() <= size_; j += 2 * lanes()) {
      step(total, j);
      step(other, j + lanes());
    }
    if (j + lanes() <= size_) {
      step(total, j);
      j += lanes();
    }
    if (j < size_) {
      const Floats y = f(Lanes(load_n(data_ + j, size_ - j))).v;
      store_n(y, data_ + j, size_ - j);
      other = hn::Add(other, hn::IfThenElseZero(hn::FirstN(f32_tag, static_cast<std::size_t>(size_ - j)), y));
    }
    return sum_lanes(hn::Add(total, other));
  }

  static HWY_INLINE Lanes exp(Lanes x) { return HWY_NAMESPACE::exp(x.v); }
  static HWY_INLINE Lanes log(Lanes x) { return hn::Log(f32_tag, x.v); }
  static HWY_INLINE Lanes expm1(Lanes x) { return hn::Expm1(f32_tag, x.v); }
  static HWY_INLINE Lanes log1p(Lanes x) { return hn::Log1p(f32_tag, x.v); }
  static HWY_INLINE Lanes sqrt(Lanes x) { return hn::Sqrt(x.v); }
  static HWY_INLINE Lanes relu(Lanes x) { return hn::IfThenZeroElse(hn::Lt(x.v, hn::Zero(f32_tag)), x.v); }
  static HWY_INLINE Lanes positive(Lanes x) {
    return hn::IfThenElseZero(hn::Gt(x.v, hn::Zero(f32_tag)), hn::Set(f32_tag, 1.0f));
  }
  static Number exp(Number x) { return std::exp(x); }
  static Number log(Number x) { return std::log(x); }
  template <class F>
  static HWY_INLINE Lanes each(const F& f, Lanes x) {
    HWY_ALIGN float values[hn::MaxLanes(f32_tag)];
    store(x.v, values);
    for (std::int64_t i = 0; i < lanes(); ++i) values[i] = f(values[i]);
    return load(values);
  }

 private:
  float* data_;
  std::int64_t size_;
};

// --- forward ---

template <class Map>
HWY_INLINE void weigh(const Map& row_map, const Tiling& tiling, const Tile& tile, float* scores, float* mask_space) {
  const kernel::Attention& a = tiling.a;
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const kernel::KeySpan seen = tile.span(tiling, r);
    const std::int64_t n = seen.size(), index = row_index(tiling, tile, r);
    float* const weights = scores + r * tiling.stride + seen.begin;
    SimdRow row(weights, n);
    a.row_stat.data_as<float>()[index] = row_map.weights(row);
    if (a.dropout > 0.0) multiply_by(weights, draw_mask(a, index, seen, mask_space), n);
  }
}

void weigh_rows(const Tiling& tiling, const Tile& tile, float* scores, float* mask_space) {
  HWY_NAMESPACE::visit_row_map(tiling.a.map,
                               [&](const auto& row_map) HWY_ATTR { weigh(row_map, tiling, tile, scores, mask_space); });
}

// --- backward ---

/// <w, u> / (<w, 1> + slack), the baseline of a row; 0 where the slack is infinite or nothing weighs.
HWY_INLINE float mean_under(const float* w, float slack, const float* u, std::int64_t n) {
  if (slack == std::numeric_limits<float>::infinity()) return 0.0f;
  const float weight = total(w, n) + slack;
  return weight > 0.0f ? inner(w, u, n) / weight : 0.0f;
}

/// lambda of a row of `keys` with H = diag(s) - s s^T / (sum s + slack).
HWY_INLINE float lambda_of(const RowDamping& damping, const float* s, float slack, std::int64_t keys) {
  const auto lambda = static_cast<float>(damping.lambda), n = static_cast<float>(keys);
  switch (damping.scale) {
    case RowDamping::Scale::per_key: return lambda / n;
    case RowDamping::Scale::absolute: return lambda;
    case RowDamping::Scale::trace: {
      const float sum = total(s, keys), trace = sum - inner(s, s, keys) / (sum + slack);
      return lambda * std::max(trace, static_cast<float>(RowDamping::least_trace)) / n;
    }
  }
  return 0.0f;
}

/// solved = (H + lambda I)^-1 H u.
HWY_INLINE void solve_row(const RowDamping& damping, const float* s, float slack, std::int64_t keys, const float* u,
                          float* solved) {
  const float lambda = lambda_of(damping, s, slack, keys);
  const Floats damp = splat(lambda);
  map(
      keys, solved, [&](Floats x) HWY_ATTR { return hn::Div(x, hn::Add(x, damp)); }, s);
  const Floats baseline = splat(mean_under(solved, slack / lambda, u, keys));
  map(
      keys, solved, [&](Floats w, Floats x) HWY_ATTR { return hn::Mul(w, hn::Sub(x, baseline)); }, solved, u);
}

/// One row: u becomes dz = H u in place; `solved`, unless null, the damped natural gradient. `weights_dot_u` is
/// <dO, o>, `s_space` room for the keys.
template <class Map>
HWY_INLINE void differentiate_row(const Map& row_map, const RowDamping& damping, std::int64_t keys,
                                  const float* weights, float stat, float weights_dot_u, float* s_space, float* u,
                                  float* solved) {
  const float slack = row_map.template slack<SimdRow>(stat);
  const float* s = weights;
  if constexpr (!is_exponential<Map>) {
    const auto n = static_cast<float>(keys);
    map(
        keys, s_space, [&](Floats a) HWY_ATTR { return row_map.template curvature<SimdRow>(Lanes(a), n).v; }, weights);
    s = s_space;
  }
  if (solved != nullptr) solve_row(damping, s, slack, keys, u, solved);

  const Floats baseline = splat(is_exponential<Map> ? weights_dot_u : mean_under(s, slack, u, keys));
  map(
      keys, u, [&](Floats x, Floats y) HWY_ATTR { return hn::Mul(y, hn::Sub(x, baseline)); }, u, s);
}

template <class Map>
HWY_INLINE void differentiate(const Map& row_map, const kernel::AttentionBackward& args, const Tiling& tiling,
                              const Tile& tile, const RowGradients& rows) {
  const kernel::Attention& a = tiling.a;
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const kernel::KeySpan seen = tile.span(tiling, r);
    const std::int64_t n = seen.size(), index = row_index(tiling, tile, r), first = r * tiling.stride + seen.begin;
    float* const weights = rows.weights + first;
    float* const u = rows.dscores + first;
    const float stat = a.row_stat.data_as<float>()[index], weights_dot_u = rows.weights_dot_u[r];
    const float* const mask = a.dropout > 0.0 ? draw_mask(a, index, seen, rows.mask_space) : nullptr;
    if (mask != nullptr) multiply_by(u, mask, n);
    SimdRow row(weights, n);
    if constexpr (Map::metric == Metric::none) {
      map(
          n, u,
          [&](Floats z, Floats x)
              HWY_ATTR { return row_map.template backward<SimdRow>(Lanes(z), Lanes(x), stat, weights_dot_u).v; },
          weights, u);
      row_map.recompute(row, stat);
    } else {
      float* const solved = rows.solved == nullptr ? nullptr : rows.solved + first;
      row_map.recompute(row, stat);
      differentiate_row(row_map, args.damping, n, weights, stat, weights_dot_u, rows.s_space, u, solved);
    }
    if (mask != nullptr) multiply_by(weights, mask, n);
  }
}

void differentiate_rows(const kernel::AttentionBackward& args, const Tiling& tiling, const Tile& tile,
                        const RowGradients& rows) {
  HWY_NAMESPACE::visit_row_map(tiling.a.map,
                               [&](const auto& row_map) HWY_ATTR { differentiate(row_map, args, tiling, tile, rows); });
}

// --- metric ---

template <class Map>
HWY_INLINE void measure(const Map& row_map, const Tiling& tiling, const Tile& tile, float* scores, float* column_sums) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const kernel::KeySpan seen = tile.span(tiling, r);
    const std::int64_t keys = seen.size();
    const auto n = static_cast<float>(keys);
    float* const s = scores + r * tiling.stride + seen.begin;
    if constexpr (Map::metric != Metric::none) {
      SimdRow row(s, keys);
      const float stat = row_map.weights(row);
      const float sum = row.apply([&](Lanes a) HWY_ATTR { return row_map.template curvature<SimdRow>(a, n); });
      add_row(s, keys, column_sums + seen.begin);
      const float c = sum + row_map.template slack<SimdRow>(stat);
      const float share = c > 0.0f ? 1.0f / std::sqrt(c) : 0.0f;
      row.apply([share](Lanes x) HWY_ATTR { return x * share; });
    }
  }
}

void measure_rows(const Tiling& tiling, const Tile& tile, float* scores, float* column_sums) {
  HWY_NAMESPACE::visit_row_map(
      tiling.a.map, [&](const auto& row_map) HWY_ATTR { measure(row_map, tiling, tile, scores, column_sums); });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
