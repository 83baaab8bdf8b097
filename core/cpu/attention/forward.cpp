// Attention in tiles of rows: a work item packs the keys and values of one head once, then walks over its query tiles.
// Scores exist for one tile at a time. A few queries, as in sampling, would not repay the packing: they read keys and
// values where they are.
#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/attention/forward.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/attention/rows.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

struct ForwardScratch {
  ForwardScratch(const Tiling& tiling, std::int64_t row, ScratchArena arena)
      : four_rows(arena.take(4 * row)),
        k_transposed(arena.take(tiling.keys * row)),
        v(arena.take(tiling.keys * tiling.width)),
        q(arena.take(tiling.tile_rows * row)),
        out(arena.take(tiling.tile_rows * tiling.width)),
        scores(arena.take(tiling.tile_rows * tiling.stride)),
        mask(arena.take(mask_size(tiling.keys))),
        size(arena.used()) {}

  float *four_rows, *k_transposed, *v, *q, *out, *scores, *mask;
  std::int64_t size;
};

/// The tile's rows straight from the tensors.
template <class T>
HWY_INLINE void attend_unpacked(const Tiling& tiling, const Tile& tile, const Item& item, const ForwardScratch& to) {
  const kernel::Attention& a = tiling.a;
  const T* const k = head<T>(a.k, item.b, 0, item.g, a.head_dim);
  const T* const v = head<T>(a.v, item.b, 0, item.g, a.head_dim);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const T* const q = head<T>(a.q, tile.b, tile.first + r, tile.h, a.head_dim);
    float* const row = to.scores + r * tiling.stride;
    const kernel::KeySpan seen = tile.span(tiling, r);
    for (std::int64_t j = seen.begin; j < seen.end; ++j) {
      row[j] = static_cast<float>(a.scale) *
               sum_of(
                   a.head_dim, [](Floats x, Floats y) HWY_ATTR { return hn::Mul(x, y); }, q, k + j * a.k.token_stride);
    }
  }
  add_priors(tiling, tile, to.scores);
  weigh_rows(tiling, tile, to.scores, to.mask);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const float* const weights = to.scores + r * tiling.stride;
    const kernel::KeySpan seen = tile.span(tiling, r);
    for (std::int64_t c = 0; c < a.head_dim; c += lanes()) {
      const std::int64_t count = std::min(lanes(), a.head_dim - c);
      Floats even = hn::Zero(f32_tag), odd = even;  // two sums hide the latency of the addition
      for (std::int64_t j = seen.begin; j < seen.end; ++j, std::swap(even, odd)) {
        const T* const from = v + j * a.v.token_stride + c;
        even = hn::MulAdd(hn::Set(f32_tag, weights[j]), count == lanes() ? load(from) : load_n(from, count), even);
      }
      store(hn::Add(even, odd), to.out + r * tiling.width + c);
    }
  }
}

template <class T>
HWY_INLINE void attend(const Tiling& tiling, const Tile& tile, const ForwardScratch& to) {
  const kernel::Attention& a = tiling.a;
  load_rows<T>(head<T>(a.q, tile.b, tile.first, tile.h, a.head_dim), a.q.token_stride, tile.rows, a.head_dim, to.q);
  compute_scores<T>(tiling, tile, to.q, to.k_transposed, to.scores);
  weigh_rows(tiling, tile, to.scores, to.mask);
  make_factor<T>(tiling, tile, to.scores);
  multiply_values<T>(tiling, tile, 1.0, to.scores, to.v, tiling.width, to.out);
}

template <class T>
void forward(const Tiling& tiling) {
  const kernel::Attention& a = tiling.a;
  const std::int64_t row = row_words<T>(a.head_dim);
  const bool packs = tiling.group * a.queries >= block_rows;
  const std::int64_t size = ForwardScratch(tiling, row, ScratchArena(nullptr)).size;
  const Tensor space = scratch(thread_count() * size);
  parallel_items(tiling.items(), [&](std::int64_t index, int worker) HWY_ATTR {
    const Item item(tiling, index);
    const ForwardScratch to(tiling, row, ScratchArena(space.data_as<float>() + worker * size));
    if (packs) {
      load_transposed<T>(tiling, head<T>(a.k, item.b, 0, item.g, a.head_dim), a.k.token_stride, to.four_rows,
                         to.k_transposed);
      load_right(head<T>(a.v, item.b, 0, item.g, a.head_dim), a.v.token_stride, a.keys, a.head_dim, to.v);
    }
    for_each_tile(tiling, item, [&](const Tile& tile) HWY_ATTR {
      packs ? attend<T>(tiling, tile, to) : attend_unpacked<T>(tiling, tile, item, to);
      store_rows(to.out, tiling.width, tile.rows, a.head_dim, 1.0,
                 head<T>(a.out, tile.b, tile.first, tile.h, a.head_dim), a.out.token_stride);
    });
  });
}

void Forward(const kernel::Attention& args) {
  const Tiling tiling(args);
  with_storage(args.q.data.dtype(), [&](auto zero) HWY_ATTR { forward<decltype(zero)>(tiling); });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(Forward);

void CpuBackend::compute(const kernel::Attention& args) { HWY_DYNAMIC_DISPATCH(Forward)(args); }

}  // namespace monge::cpu
#endif
