// Attention in tiles of rows: a work item packs the keys and values of one head once, then walks over its query tiles.
// Scores exist for one tile at a time; backward computes them again from q, k and the kept row statistic.
#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/cpu/kernels.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/attention.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/attention_tile.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// f32 work space from the scratch pool.
HWY_INLINE Tensor scratch(std::int64_t n) { return Tensor::empty({n}, DType::f32, here, Pool::scratch); }

/// The scores of a tile: scale <q_i, k_j> + prior_ij; `q` is already scaled.
HWY_INLINE void compute_scores(const Plan& plan, const Tile& tile, const float* q, RightFactor k, float* scores) {
  multiply_scores(plan, tile, q, k, scores);
  if (!plan.a.slopes) return;
  const float slope = plan.a.slopes.data_as<float>()[tile.h];
  const Floats ramp = hn::Mul(splat(slope), hn::Iota(f32_tag, 0.0f));
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const std::int64_t i = tile.first + r;
    float* const row = scores + r * plan.stride;
    for (std::int64_t j = 0; j < plan.visible(i); j += lanes()) {
      const auto prior = hn::Add(ramp, splat(-slope * static_cast<double>(plan.a.start + i - j)));
      store(hn::Add(load(row + j), prior), row + j);
    }
  }
}

/// The place of row (b, h, i) in row_stat.
HWY_INLINE std::int64_t row_index(const Plan& plan, const Tile& tile, std::int64_t r) {
  return (tile.b * plan.a.heads + tile.h) * plan.a.queries + tile.first + r;
}

/// mask_j = what dropout multiplies the weight of key j by, for the `n` visible keys of a row.
HWY_INLINE void draw_mask(const Attention& a, std::int64_t row, std::int64_t n, float* mask) {
  const auto step = a.random.step ? static_cast<std::uint32_t>(*a.random.step.data_as<std::int32_t>()) : 0u;
  const auto dropped = static_cast<std::uint32_t>(std::ceil(a.dropout * 0x1.0p24));  // to_unit(word) < p, in integers
  const auto kept = static_cast<float>(1.0 / (1.0 - a.dropout));
  const std::int64_t first = row * a.keys;
  for (std::int64_t block = first / 4; block * 4 < first + n; ++block) {
    const auto words = random_words(a.random.seed, a.random.stream, step, static_cast<std::uint64_t>(block));
    for (std::int64_t w = 0; w < 4; ++w) {
      const std::int64_t j = block * 4 + w - first;
      if (j >= 0 && j < n) mask[j] = (words[static_cast<std::size_t>(w)] >> 8) >= dropped ? kept : 0.0f;
    }
  }
}

HWY_INLINE void multiply_by(float* row, const float* mask, std::int64_t n) {
  map(
      n, row, [](Floats x, Floats m) HWY_ATTR { return hn::Mul(x, m); }, row, mask);
}

// --- forward ---

struct ForwardScratch {
  ForwardScratch(const Plan& plan, Carver carver)
      : four_rows(carver.take(4 * plan.width)),
        k_transposed(carver.take(plan.keys * plan.width)),
        v(carver.take(plan.keys * plan.width)),
        q(carver.take(plan.tile_rows * plan.width)),
        out(carver.take(plan.tile_rows * plan.width)),
        scores(carver.take(plan.tile_rows * plan.stride)),
        mask(carver.take(plan.keys)),
        size(carver.used()) {}

  float *four_rows, *k_transposed, *v, *q, *out, *scores, *mask;
  std::int64_t size;
};

template <class Map, class T>
HWY_INLINE void forward_tile(const Plan& plan, const Tile& tile, const ForwardScratch& to) {
  const Attention& a = plan.a;
  load_rows(head<T>(a.q, tile.b, tile.first, tile.h, a.head_dim), a.q.token_stride, tile.rows, a.head_dim, a.scale,
            to.q, plan.width);
  compute_scores(plan, tile, to.q, transposed(plan, to.k_transposed), to.scores);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const std::int64_t n = plan.visible(tile.first + r), index = row_index(plan, tile, r);
    float* const weights = to.scores + r * plan.stride;
    SimdRow row(weights, n);
    a.row_stat.data_as<float>()[index] = Map::weights(row);
    if (a.dropout > 0.0) {
      draw_mask(a, index, n, to.mask);
      multiply_by(weights, to.mask, n);
    }
    clear_hidden(weights, n);
  }
  multiply_values(plan, tile, to.scores, row_major(plan, to.v), to.out);
  store_rows(to.out, plan.width, tile.rows, a.head_dim, head<T>(a.out, tile.b, tile.first, tile.h, a.head_dim),
             a.out.token_stride);
}

template <class Map, class T>
void forward(const Plan& plan) {
  const Attention& a = plan.a;
  const std::int64_t size = ForwardScratch(plan, Carver(nullptr)).size;
  const Tensor space = scratch(thread_count() * size);
  parallel_items(plan.items(), [&](std::int64_t index, int worker) HWY_ATTR {
    const Item item(plan, index);
    const ForwardScratch to(plan, Carver(space.data_as<float>() + worker * size));
    load_transposed(plan, head<T>(a.k, item.b, 0, item.g, a.head_dim), a.k.token_stride, to.four_rows, to.k_transposed);
    load_rows(head<T>(a.v, item.b, 0, item.g, a.head_dim), a.v.token_stride, a.keys, a.head_dim, 1.0, to.v, plan.width);
    for_each_tile(plan, item, [&](const Tile& tile) HWY_ATTR { forward_tile<Map, T>(plan, tile, to); });
  });
}

// --- backward ---
//
// With u_ij = mask_ij <dO_i, v_j>:  dz = s (u - baseline),  dq = scale dz k,  dk = dz^T (scale q),  dv = (mask a)^T dO.

struct BackwardScratch {
  BackwardScratch(const Plan& plan, Carver carver)
      : four_rows(carver.take(4 * plan.width)),
        k(carver.take(plan.keys * plan.width)),
        k_transposed(carver.take(plan.keys * plan.width)),
        v_transposed(carver.take(plan.keys * plan.width)),
        q(carver.take(plan.tile_rows * plan.width)),
        dout(carver.take(plan.tile_rows * plan.width)),
        dq(carver.take(plan.tile_rows * plan.width)),
        weights(carver.take(plan.tile_rows * plan.stride)),
        dscores(carver.take(plan.tile_rows * plan.stride)),
        mask(carver.take(plan.keys)),
        size(carver.used()) {}

  float *four_rows, *k, *k_transposed, *v_transposed, *q, *dout, *dq, *weights, *dscores, *mask;
  std::int64_t size;
};

/// dk and dv of one item: (keys, width) each, one after the other.
HWY_INLINE std::int64_t gradient_size(const Plan& plan) { return 2 * plan.a.keys * plan.width; }

template <class Map, class T>
HWY_INLINE void backward_tile(const AttentionBackward& args, const Plan& plan, const Tile& tile,
                              const BackwardScratch& to, float* dk, float* dv) {
  const Attention& a = plan.a;
  load_rows(head<T>(a.q, tile.b, tile.first, tile.h, a.head_dim), a.q.token_stride, tile.rows, a.head_dim, a.scale,
            to.q, plan.width);
  load_rows(head<T>(args.dout, tile.b, tile.first, tile.h, a.head_dim), args.dout.token_stride, tile.rows, a.head_dim,
            1.0, to.dout, plan.width);
  compute_scores(plan, tile, to.q, transposed(plan, to.k_transposed), to.weights);
  multiply_scores(plan, tile, to.dout, transposed(plan, to.v_transposed), to.dscores);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const std::int64_t n = plan.visible(tile.first + r), index = row_index(plan, tile, r);
    float* const weights = to.weights + r * plan.stride;
    float* const dscores = to.dscores + r * plan.stride;
    SimdRow row(weights, n);
    Map::recompute(row, a.row_stat.data_as<float>()[index]);
    if (a.dropout > 0.0) {
      draw_mask(a, index, n, to.mask);
      multiply_by(dscores, to.mask, n);
    }
    const float weights_dot_u = sum_of(
        a.head_dim, [](Floats o, Floats d) HWY_ATTR { return hn::Mul(o, d); },
        head<T>(a.out, tile.b, tile.first + r, tile.h, a.head_dim),
        head<T>(args.dout, tile.b, tile.first + r, tile.h, a.head_dim));
    const Floats baseline = splat(Map::baseline(weights_dot_u));
    map(
        n, dscores,
        [&](Floats u, Floats w) HWY_ATTR { return hn::Mul(Map::curvature(Lanes(w)).v, hn::Sub(u, baseline)); }, dscores,
        weights);
    if (a.dropout > 0.0) multiply_by(weights, to.mask, n);
    clear_hidden(weights, n);
    clear_hidden(dscores, n);
  }
  multiply_values(plan, tile, to.dscores, row_major(plan, to.k), to.dq);
  add_transposed(plan, tile, to.dscores, row_major(plan, to.q), dk);
  add_transposed(plan, tile, to.weights, row_major(plan, to.dout), dv);

  const Floats scale = splat(a.scale);
  map(
      tile.rows * plan.width, to.dq, [&](Floats x) HWY_ATTR { return hn::Mul(scale, x); }, to.dq);
  store_rows(to.dq, plan.width, tile.rows, a.head_dim, head<T>(args.dq, tile.b, tile.first, tile.h, a.head_dim),
             args.dq.token_stride);
}

template <class Map, class T>
void backward(const AttentionBackward& args, const Plan& plan) {
  const Attention& a = plan.a;
  const std::int64_t size = BackwardScratch(plan, Carver(nullptr)).size, part_size = gradient_size(plan);
  const Tensor space = scratch(thread_count() * size);
  // Items that share a key/value head keep their sums apart until all are done; otherwise one place per thread will do.
  const bool shared = plan.parts > 1;
  const Tensor sums = scratch((shared ? plan.items() : thread_count()) * part_size);

  const auto store_gradients = [&](const Item& item, const float* sum) HWY_ATTR {
    store_rows(sum, plan.width, a.keys, a.head_dim, head<T>(args.dk, item.b, 0, item.g, a.head_dim),
               args.dk.token_stride);
    store_rows(sum + part_size / 2, plan.width, a.keys, a.head_dim, head<T>(args.dv, item.b, 0, item.g, a.head_dim),
               args.dv.token_stride);
  };

  parallel_items(plan.items(), [&](std::int64_t index, int worker) HWY_ATTR {
    const Item item(plan, index);
    const BackwardScratch to(plan, Carver(space.data_as<float>() + worker * size));
    float* const sum = sums.data_as<float>() + (shared ? index : worker) * part_size;
    std::fill_n(sum, part_size, 0.0f);
    const T* const k = head<T>(a.k, item.b, 0, item.g, a.head_dim);
    load_rows(k, a.k.token_stride, a.keys, a.head_dim, 1.0, to.k, plan.width);
    load_transposed(plan, k, a.k.token_stride, to.four_rows, to.k_transposed);
    load_transposed(plan, head<T>(a.v, item.b, 0, item.g, a.head_dim), a.v.token_stride, to.four_rows, to.v_transposed);
    for_each_tile(plan, item, [&](const Tile& tile) HWY_ATTR {
      backward_tile<Map, T>(args, plan, tile, to, sum, sum + part_size / 2);
    });
    if (!shared) store_gradients(item, sum);
  });
  if (!shared) return;

  parallel_items(a.batch * a.kv_heads, [&](std::int64_t index, int) HWY_ATTR {
    float* const sum = sums.data_as<float>() + index * plan.parts * part_size;
    for (std::int64_t part = 1; part < plan.parts; ++part) {
      map(
          part_size, sum, [](Floats x, Floats y) HWY_ATTR { return hn::Add(x, y); }, sum, sum + part * part_size);
    }
    store_gradients(Item(plan, index * plan.parts), sum);
  });
}

void Forward(const Attention& args) {
  const Plan plan(args);
  HWY_NAMESPACE::visit_row_map(args.map, [&](auto row_map) HWY_ATTR {
    with_storage(args.q.data.dtype(), [&](auto zero) HWY_ATTR { forward<decltype(row_map), decltype(zero)>(plan); });
  });
}

void Backward(const AttentionBackward& args) {
  const Plan plan(args.forward);
  HWY_NAMESPACE::visit_row_map(args.forward.map, [&](auto row_map) HWY_ATTR {
    with_storage(args.forward.q.data.dtype(),
                 [&](auto zero) HWY_ATTR { backward<decltype(row_map), decltype(zero)>(args, plan); });
  });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

void attention(const Attention& args) {
  check::attention(here, args);
  HWY_DYNAMIC_DISPATCH(Forward)(args);
}

void attention_backward(const AttentionBackward& args) {
  check::attention_backward(here, args);
  HWY_DYNAMIC_DISPATCH(Backward)(args);
}

}  // namespace monge::cpu
#endif
