// What the metric of one attention head makes of vectors at its keys, in the tiles of attention.cpp.
#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/attention/metric.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/attention/rows.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// The call of one head alone.
kernel::Attention head_call(const kernel::Attention& a, std::int64_t h) {
  kernel::Attention one = a;
  one.heads = one.kv_heads = 1;
  one.q.offset += h * a.head_dim;
  one.k.offset += h / (a.heads / a.kv_heads) * a.head_dim;
  for (Tensor* table : {&one.prior.head, &one.prior.distance, &one.prior.key, &one.prior.slopes}) {
    if (*table) *table = table->slice(h, h + 1);
  }
  return one;
}

struct MetricScratch {
  MetricScratch(const Tiling& tiling, std::int64_t row, std::int64_t y_width, ScratchArena arena)
      : four_rows(arena.take(4 * row)),
        k_transposed(arena.take(tiling.keys * row)),
        q(arena.take(tiling.tile_rows * row)),
        y(arena.take(tiling.keys * y_width)),
        products(arena.take(tiling.tile_rows * y_width)),
        scores(arena.take(tiling.tile_rows * tiling.stride)),
        size(arena.used()) {}

  float *four_rows, *k_transposed, *q, *y, *products, *scores;
  std::int64_t size;
};

template <class T>
void metric(const kernel::Attention& a, const Tiling& tiling, const kernel::AttentionMetric& args) {
  const std::int64_t E = args.y.shape().last(), y_width = round_up(E, lanes()), row = row_words<float>(a.head_dim);
  const std::int64_t size = MetricScratch(tiling, row, y_width, ScratchArena(nullptr)).size;
  const Tensor space = scratch(thread_count() * size);
  const Tensor sums = scratch(tiling.items() * a.keys);
  parallel_items(tiling.items(), [&](std::int64_t index, int worker) HWY_ATTR {
    const Item item(tiling, index);
    const MetricScratch to(tiling, row, y_width, ScratchArena(space.data_as<float>() + worker * size));
    float* const column_sums = sums.data_as<float>() + index * a.keys;
    std::fill_n(column_sums, a.keys, 0.0f);
    load_transposed<float>(tiling, head<T>(a.k, item.b, 0, 0, a.head_dim), a.k.token_stride, to.four_rows,
                           to.k_transposed);
    load_right(args.y.data_as<float>() + item.b * a.keys * E, E, a.keys, E, to.y);
    for_each_tile(tiling, item, [&](const Tile& tile) HWY_ATTR {
      load_rows<float>(head<T>(a.q, tile.b, tile.first, 0, a.head_dim), a.q.token_stride, tile.rows, a.head_dim, to.q);
      compute_scores<float>(tiling, tile, to.q, to.k_transposed, to.scores);
      measure_rows(tiling, tile, to.scores, column_sums);
      make_factor<float>(tiling, tile, to.scores);
      multiply_values<float>(tiling, tile, 1.0, to.scores, to.y, y_width, to.products);
      store_rows(to.products, y_width, tile.rows, E, 1.0,
                 args.products.data_as<float>() + (tile.b * a.queries + tile.first) * E, E);
    });
  });
  parallel_items(a.batch, [&](std::int64_t b, int) HWY_ATTR {
    float* const to = args.column_sums.data_as<float>() + b * a.keys;
    std::fill_n(to, a.keys, 0.0f);
    for (std::int64_t part = 0; part < tiling.parts; ++part) {
      add_row(sums.data_as<float>() + (b * tiling.parts + part) * a.keys, a.keys, to);
    }
  });
}

void MetricOfHead(const kernel::AttentionMetric& args) {
  const kernel::Attention a = head_call(args.forward, args.head);
  const Tiling tiling(a);
  with_storage(a.q.data.dtype(), [&](auto zero) HWY_ATTR { metric<decltype(zero)>(a, tiling, args); });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(MetricOfHead);

void CpuBackend::compute(const kernel::AttentionMetric& args) { HWY_DYNAMIC_DISPATCH(MetricOfHead)(args); }

}  // namespace monge::cpu
#endif
