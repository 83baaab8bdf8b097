// The launches of the fused kernels, compiled in the files fused_shard_<shard>.cu.
#pragma once

#include "core/cuda/fused/forward.cuh"
#include "core/cuda/fused/keys.cuh"
#include "core/cuda/fused/queries.cuh"
#include "core/cuda/fused/statistics.cuh"

namespace monge::MONGE_GPU {

template <class Map, int D>
void launch_forward(const Map& map, const FusedCall& c, Stream stream) {
  const auto tiles = pieces(c.queries, QueryRows<ForwardShape<D>::M>::rows);
  launch(fused_forward_kernel<Map, D>, dim3(c.batch * c.heads, tiles), fused_threads, ForwardShape<D>::shared_bytes,
         stream, map, c);
}

template <class Map, int D, bool solves>
void launch_backward(const Map& map, const FusedCall& c, Stream stream) {
  if (baseline_is_in_output<Map>) {
    const auto rows = static_cast<std::int64_t>(c.batch) * c.heads * c.queries;
    launch(output_baseline_kernel<D>, static_cast<unsigned>(pieces<std::int64_t>(rows, fused_warps)), fused_threads, 0,
           stream, c);
  }
  if constexpr (Map::metric != Metric::none) {
    const bool needs_means = !is_separable<Map> && (solves || !baseline_is_in_output<Map>);
    if (needs_means || c.row_lambda != nullptr) {
      const auto tiles = pieces(c.queries, QueryRows<StatisticsShape<D>::M>::rows);
      launch(row_statistics_kernel<Map, D>, dim3(c.batch * c.heads, tiles), fused_threads,
             StatisticsShape<D>::shared_bytes, stream, map, c);
    }
  }
  launch(keys_backward_kernel<Map, D, solves>, dim3(c.batch * c.kv_heads, pieces(c.keys, KeysShape<D, solves>::rows)),
         fused_threads, KeysShape<D, solves>::shared_bytes, stream, map, c);
  const auto tiles = pieces(c.queries, QueryRows<QueriesShape<D, solves>::M>::rows);
  launch(queries_backward_kernel<Map, D, solves>, dim3(c.batch * c.heads, tiles), fused_threads,
         QueriesShape<D, solves>::shared_bytes, stream, map, c);
}

template <class Map>
void launch_backward(const Map& map, const FusedCall& c, std::int64_t head_dim, bool solves, Stream stream) {
  if constexpr (Map::metric != Metric::none) {
    if (solves) {
      head_dim == 64 ? launch_backward<Map, 64, true>(map, c, stream) : launch_backward<Map, 128, true>(map, c, stream);
      return;
    }
  }
  head_dim == 64 ? launch_backward<Map, 64, false>(map, c, stream) : launch_backward<Map, 128, false>(map, c, stream);
}

/// Calls f with the struct of the map, which is one of the shard's.
template <std::size_t shard, class F>
void visit_shard(const RowMap& map, const F& f) {
  RowMaps::visit(map, [&](const auto& of_kind) {
    using Map = std::decay_t<decltype(of_kind)>;
    if constexpr (RowMaps::index_of<Map>() % fused_shards == shard) f(of_kind);
  });
}

template <std::size_t shard>
void fused_forward(const RowMap& map, const FusedCall& c, std::int64_t head_dim, Stream stream) {
  visit_shard<shard>(map, [&](const auto& of_kind) {
    using Map = std::decay_t<decltype(of_kind)>;
    head_dim == 64 ? launch_forward<Map, 64>(of_kind, c, stream) : launch_forward<Map, 128>(of_kind, c, stream);
  });
}

template <std::size_t shard>
void fused_backward(const RowMap& map, const FusedCall& c, std::int64_t head_dim, bool solves, Stream stream) {
  visit_shard<shard>(map, [&](const auto& of_kind) { launch_backward(of_kind, c, head_dim, solves, stream); });
}

#define MONGE_FUSED_SHARD(shard)                                                                      \
  template void fused_forward<shard>(const RowMap&, const FusedCall&, std::int64_t head_dim, Stream); \
  template void fused_backward<shard>(const RowMap&, const FusedCall&, std::int64_t head_dim, bool solves, Stream)

}  // namespace monge::MONGE_GPU
