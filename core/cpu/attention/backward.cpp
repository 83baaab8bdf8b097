// Backward of attention, in the tiles of attention.cpp: the weights come again from q, k and the kept row statistic. A
// tile holds whole rows, so the row sums that a map's Jacobian and its damped inverse ask for cost no pass over q or k.
#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/attention/backward.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/attention/rows.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

// With u_ij = mask_ij <dO_i, v_j>:  dz = H u,  dq = scale dz k,  dk = scale dz^T q,  dv = (mask a)^T dO. The row
// solve puts (H + lambda I)^-1 H u in the place of dz and gives a second pair of dq and dk.

/// Rows of the tile are left factors of scores and right factors of sums over the rows: for f32 that is the same.
template <class T>
struct BackwardScratch {
  BackwardScratch(const Tiling& tiling, bool solves_rows, ScratchArena arena)
      : BackwardScratch(tiling, solves_rows, row_words<T>(tiling.a.head_dim), arena) {}

  float *four_rows, *k, *k_transposed, *v_transposed, *q, *q_right, *dout, *dout_right, *dq, *weights, *dscores,
      *solved, *weights_dot_u, *pairs, *mask, *s;
  std::int64_t size;

 private:
  static constexpr bool paired = per_word<T> == 2;

  BackwardScratch(const Tiling& tiling, bool solves_rows, std::int64_t row, ScratchArena arena)
      : four_rows(arena.take(4 * row)),
        k(arena.take(words<T>(tiling.keys) * tiling.width)),
        k_transposed(arena.take(tiling.keys * row)),
        v_transposed(arena.take(tiling.keys * row)),
        q(arena.take(tiling.tile_rows * row)),
        q_right(paired ? arena.take(words<T>(tiling.tile_rows) * tiling.width) : q),
        dout(arena.take(tiling.tile_rows * row)),
        dout_right(paired ? arena.take(words<T>(tiling.tile_rows) * tiling.width) : dout),
        dq(arena.take(tiling.tile_rows * tiling.width)),
        weights(arena.take(tiling.tile_rows * tiling.stride)),
        dscores(arena.take(tiling.tile_rows * tiling.stride)),
        solved(arena.take(solves_rows ? tiling.tile_rows * tiling.stride : 0)),
        weights_dot_u(arena.take(tiling.tile_rows)),
        pairs(arena.take(paired ? words<T>(tiling.tile_rows) * tiling.stride : 0)),
        mask(arena.take(mask_size(tiling.keys))),
        s(arena.take(tiling.keys)),
        size(arena.used()) {}
};

/// What one item adds up: the gradients of its keys and values, (keys, width) each.
struct ItemSums {
  ItemSums(const kernel::AttentionBackward& args, const Tiling& tiling, ScratchArena arena)
      : dk(arena.take(tiling.a.keys * tiling.width)),
        dv(arena.take(tiling.a.keys * tiling.width)),
        row_dk(arena.take(args.row_dq.data.defined() ? tiling.a.keys * tiling.width : 0)),
        size(arena.used()) {}

  float *dk, *dv, *row_dk;
  std::int64_t size;
};

/// The gradients of one head's prior, side by side.
struct PriorSums {
  PriorSums(const LogPrior& dprior, ScratchArena arena)
      : head(arena.take(dprior.head ? 1 : 0)),
        distance(arena.take(dprior.distance ? dprior.distance.shape().last() : 0)),
        key(arena.take(dprior.key ? dprior.key.shape().last() : 0)),
        size(arena.used()) {}

  float *head, *distance, *key;
  std::int64_t size;
};

HWY_INLINE void add_prior_gradient(const Tiling& tiling, const Tile& tile, const float* dscores, const PriorSums& to) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const kernel::KeySpan seen = tile.span(tiling, r);
    const std::int64_t n = seen.size();
    const float* const dz = dscores + r * tiling.stride + seen.begin;
    if (to.head) *to.head += total(dz, n);
    if (to.key) add_row(dz, n, to.key);
    if (to.distance) add_to_distances(dz, seen.position, n, to.distance);
  }
}

/// What the gradients of a tile's scores give: dq = scale dscores k, and dscores^T q to add to dk / scale.
template <class T>
HWY_INLINE void pass_on(const Tiling& tiling, const Tile& tile, float* dscores, const BackwardScratch<T>& to,
                        const HeadView& dq, float* dk) {
  make_factor<T>(tiling, tile, dscores);
  add_transposed<T>(tiling, tile, dscores, to.q_right, to.pairs, dk);
  multiply_values<T>(tiling, tile, tiling.a.scale, dscores, to.k, tiling.width, to.dq);
  store_rows(to.dq, tiling.width, tile.rows, tiling.a.head_dim, 1.0,
             head<T>(dq, tile.b, tile.first, tile.h, tiling.a.head_dim), dq.token_stride);
}

template <class T>
HWY_INLINE void backward_tile(const kernel::AttentionBackward& args, const Tiling& tiling, const Tile& tile,
                              const BackwardScratch<T>& to, const ItemSums& sums, const PriorSums& prior) {
  const kernel::Attention& a = tiling.a;
  const T* const q = head<T>(a.q, tile.b, tile.first, tile.h, a.head_dim);
  const T* const dout = head<T>(args.dout, tile.b, tile.first, tile.h, a.head_dim);
  load_rows<T>(q, a.q.token_stride, tile.rows, a.head_dim, to.q);
  load_rows<T>(dout, args.dout.token_stride, tile.rows, a.head_dim, to.dout);
  if (to.q_right != to.q) load_right(q, a.q.token_stride, tile.rows, a.head_dim, to.q_right);
  if (to.dout_right != to.dout) load_right(dout, args.dout.token_stride, tile.rows, a.head_dim, to.dout_right);

  compute_scores<T>(tiling, tile, to.q, to.k_transposed, to.weights);
  multiply_scores<T>(tiling, tile, 1.0, to.dout, to.v_transposed, to.dscores);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    to.weights_dot_u[r] = inner(head<T>(a.out, tile.b, tile.first + r, tile.h, a.head_dim),
                                dout + r * args.dout.token_stride, a.head_dim);
  }
  differentiate_rows(args, tiling, tile, {to.weights, to.dscores, to.solved, to.weights_dot_u, to.mask, to.s});
  if (prior.size > 0) add_prior_gradient(tiling, tile, to.dscores, prior);

  make_factor<T>(tiling, tile, to.weights);
  add_transposed<T>(tiling, tile, to.weights, to.dout_right, to.pairs, sums.dv);
  pass_on(tiling, tile, to.dscores, to, args.dq, sums.dk);
  if (args.row_dq.data.defined()) pass_on(tiling, tile, to.solved, to, args.row_dq, sums.row_dk);
}

template <class T>
void backward(const kernel::AttentionBackward& args, const Tiling& tiling) {
  const kernel::Attention& a = tiling.a;
  const bool solves_rows = args.row_dq.data.defined();
  const std::int64_t size = BackwardScratch<T>(tiling, solves_rows, ScratchArena(nullptr)).size;
  const Tensor space = scratch(thread_count() * size);
  // Items that share a key/value head keep their sums apart until all are done; otherwise one place per thread will do.
  const bool shared = tiling.parts > 1;
  const std::int64_t sums_size = ItemSums(args, tiling, ScratchArena(nullptr)).size;
  const Tensor sums_space = scratch((shared ? tiling.items() : thread_count()) * sums_size);
  // The prior is shared by the sequences too, so every item keeps its part of that gradient.
  const std::int64_t prior_size = PriorSums(args.dprior, ScratchArena(nullptr)).size;
  const Tensor prior_space = scratch(tiling.items() * tiling.group * prior_size);

  const auto sums_at = [&](std::int64_t place) HWY_ATTR {
    return ItemSums(args, tiling, ScratchArena(sums_space.data_as<float>() + place * sums_size));
  };
  const auto prior_at = [&](std::int64_t index, std::int64_t member) HWY_ATTR {
    return PriorSums(args.dprior,
                     ScratchArena(prior_space.data_as<float>() + (index * tiling.group + member) * prior_size));
  };
  const auto store_gradients = [&](const Item& item, const ItemSums& sums) HWY_ATTR {
    const auto store_one = [&](const float* from, double factor, const HeadView& to) HWY_ATTR {
      store_rows(from, tiling.width, a.keys, a.head_dim, factor, head<T>(to, item.b, 0, item.g, a.head_dim),
                 to.token_stride);
    };
    store_one(sums.dk, a.scale, args.dk);
    store_one(sums.dv, 1.0, args.dv);
    if (!solves_rows) return;
    store_one(sums.row_dk, a.scale, args.row_dk);
    store_one(sums.dv, 1.0, args.row_dv);
  };

  parallel_items(tiling.items(), [&](std::int64_t index, int worker) HWY_ATTR {
    const Item item(tiling, index);
    const BackwardScratch<T> to(tiling, solves_rows, ScratchArena(space.data_as<float>() + worker * size));
    const ItemSums sums = sums_at(shared ? index : worker);
    std::fill_n(sums.dk, sums_size, 0.0f);
    std::fill_n(prior_space.data_as<float>() + index * tiling.group * prior_size, tiling.group * prior_size, 0.0f);
    const T* const k = head<T>(a.k, item.b, 0, item.g, a.head_dim);
    load_right(k, a.k.token_stride, a.keys, a.head_dim, to.k);
    load_transposed<T>(tiling, k, a.k.token_stride, to.four_rows, to.k_transposed);
    load_transposed<T>(tiling, head<T>(a.v, item.b, 0, item.g, a.head_dim), a.v.token_stride, to.four_rows,
                       to.v_transposed);
    for_each_tile(tiling, item, [&](const Tile& tile) HWY_ATTR {
      backward_tile<T>(args, tiling, tile, to, sums, prior_at(index, tile.h % tiling.group));
    });
    if (!shared) store_gradients(item, sums);
  });
  if (shared) {
    parallel_items(a.batch * a.kv_heads, [&](std::int64_t index, int) HWY_ATTR {
      const ItemSums sums = sums_at(index * tiling.parts);
      for (std::int64_t part = 1; part < tiling.parts; ++part) {
        add_row(sums_at(index * tiling.parts + part).dk, sums_size, sums.dk);
      }
      store_gradients(Item(tiling, index * tiling.parts), sums);
    });
  }
  if (prior_size == 0) return;

  parallel_items(a.heads, [&](std::int64_t h, int) HWY_ATTR {
    const auto put = [&](const Tensor& to, float* PriorSums::*part) HWY_ATTR {
      if (!to) return;
      float* const row = table_row(to, h);
      const std::int64_t n = to.shape().last();
      std::fill_n(row, n, 0.0f);
      for (std::int64_t b = 0; b < a.batch; ++b) {
        const std::int64_t first = (b * a.kv_heads + h / tiling.group) * tiling.parts;
        for (std::int64_t p = 0; p < tiling.parts; ++p) add_row(prior_at(first + p, h % tiling.group).*part, n, row);
      }
    };
    put(args.dprior.distance, &PriorSums::distance);
    put(args.dprior.key, &PriorSums::key);
    if (args.dprior.head) put(args.dprior.head.reshape({a.heads, 1}), &PriorSums::head);
  });
}

void Backward(const kernel::AttentionBackward& args) {
  const Tiling tiling(args.forward);
  with_storage(args.forward.q.data.dtype(), [&](auto zero) HWY_ATTR { backward<decltype(zero)>(args, tiling); });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(Backward);

void CpuBackend::compute(const kernel::AttentionBackward& args) { HWY_DYNAMIC_DISPATCH(Backward)(args); }

}  // namespace monge::cpu
#endif
