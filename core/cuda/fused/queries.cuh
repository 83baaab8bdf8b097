// The fused backward pass for the queries: dq = scale dz k, and row_dq with the natural gradient of each row in the
// place of dz. The loop of the forward pass with another end: scores and u = dO v^T are computed again.
#pragma once

#include "core/cuda/fused/rows.cuh"
#include "core/cuda/fused/tile.cuh"

namespace monge::MONGE_GPU {

/// 16 M queries of a warp meet `span` keys at a time: as many as the registers hold beside the gradients.
template <int D, bool solves>
struct QueriesShape {
  static constexpr int M = D <= 64 ? 2 : 1;
  static constexpr int span = D > 64 ? (solves ? 32 : 64) : solves ? 16 : 32;
  static constexpr std::size_t shared_bytes = (2 * fused_warps * 16 * M + 4 * staged) * D * sizeof(bf16);
};

template <class Map, int D, bool solves>
__global__ void __launch_bounds__(fused_threads, 2) queries_backward_kernel(Map map, FusedCall c) {
  using Shape = QueriesShape<D, solves>;
  constexpr int M = Shape::M, span = Shape::span, N = span / 8;

  const QueryRows<M> rows(c, static_cast<int>(gridDim.y - 1 - blockIdx.y));
  const int b = rows.b, h = rows.h, kv = h / c.group();
  bf16* const shared = shared_memory<bf16>();
  const Tile<D> queries{shared}, douts{shared + rows.rows * D};
  const auto keys = [&](int stage) { return Tile<D>{shared + (2 * rows.rows + stage * staged) * D}; };
  const auto values = [&](int stage) { return Tile<D>{shared + (2 * rows.rows + (2 + stage) * staged) * D}; };
  const int warp_row = rows.first - rows.block_first;
  const Scores<Map> scores(c, h);

  RowConstants constants[M][2];
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = rows.query(m, half);
      const auto row = c.row(b, h, min(i, c.queries - 1));
      const auto read = [&](const float* from) { return from == nullptr ? 0.0f : __ldg(from + row); };
      RowConstants& own = constants[m][half];
      own.n = c.visible(i);
      own.stat = is_separable<Map> ? 0.0f : units<Map> * __ldg(c.row_stat + row);
      own.baseline = is_separable<Map> ? 0.0f : __ldg(c.baseline + row);
      if constexpr (solves) {
        own.row_baseline = is_separable<Map> ? 0.0f : __ldg(c.row_baseline + row);
        own.lambda = lambda_of(c, own.n, read(c.row_lambda));
      }
    }
  }
  queries.template fill<rows.rows>(c.q.at<D>(b, rows.block_first, h), c.q.token_stride, c.queries - rows.block_first);
  douts.template fill<rows.rows>(c.dout.at<D>(b, rows.block_first, h), c.dout.token_stride,
                                 c.queries - rows.block_first);

  float dq[M][D / 8][4] = {};
  float row_dq[solves ? M : 1][D / 8][4] = {};
  pipeline(
      rows.tiles(c),
      [&](int tile, int stage) {
        const int first = tile * staged;
        keys(stage).template fill<staged>(c.k.at<D>(b, first, kv), c.k.token_stride, c.keys - first);
        values(stage).template fill<staged>(c.v.at<D>(b, first, kv), c.v.token_stride, c.keys - first);
      },
      [&](int tile, int stage) {
#pragma unroll 1
        for (int part = 0; part < staged; part += span) {
          const int first = tile * staged + part;
          if (!rows.sees(c, first)) break;
          const auto at = Elements<false>::from(rows.first, first);
          const DropoutMask<M, N> mask(c, b, h, at);
          float z[M][N][4], u[M][N][4];
          multiply_rows(z, queries, warp_row, keys(stage), part);
          multiply_rows(u, douts, warp_row, values(stage), part);
          scores.finish(z, c, at, rows.sees_all(c, first, span));
          mask.apply(u, c);
#pragma unroll
          for (int m = 0; m < M; ++m) {
#pragma unroll
            for (int n = 0; n < N; ++n) {
#pragma unroll
              for (int half = 0; half < 2; ++half) {
                float *const two_z = &z[m][n][2 * half], *const two_u = &u[m][n][2 * half];
                const TwoGradients g = gradients_of<Map, solves>(map, constants[m][half], scores.factor * two_z[0],
                                                                 scores.factor * two_z[1], two_u[0], two_u[1]);
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                  two_u[e] = g.dz[e];
                  if constexpr (solves) two_z[e] = g.solved[e];
                }
              }
            }
          }
          unsigned dz[M][N / 2][4];
          pack(dz, u);
          multiply_weights<M, N, D>(dq, dz, keys(stage), part);
          if constexpr (solves) {
            pack(dz, z);
            multiply_weights<M, N, D>(row_dq, dz, keys(stage), part);
          }
        }
      });
  const int there = c.queries - rows.first;
  queries.store(dq, c.scale, warp_row, c.dq.at<D>(b, rows.first, h), c.dq.token_stride, there);
  if constexpr (solves) {
    queries.store(row_dq, c.scale, warp_row, c.row_dq.at<D>(b, rows.first, h), c.row_dq.token_stride, there);
  }
}

}  // namespace monge::MONGE_GPU
