// The fused backward pass for the keys: dv = weights^T dO, dk = scale dz^T q, and row_dk with the natural gradient of
// each row in the place of dz.
//
// A block takes 64 M keys of one key/value head and goes over the queries of all its heads in tiles of 64, so nothing
// is added up across blocks. Keys are the rows here: scores and u are computed transposed.
#pragma once

#include "core/cuda/fused/rows.cuh"
#include "core/cuda/fused/tile.cuh"

namespace monge::MONGE_GPU {

/// What the queries of a tile bring along, `staged` floats each.
enum FusedConstant { constant_stat, constant_baseline, constant_row_baseline, constant_lambda, fused_constants };

/// 16 M keys of a warp meet `span` queries at a time: as many as the registers hold beside the gradients.
template <int D, bool solves>
struct KeysShape {
  static constexpr int M = D <= 64 && !solves ? 2 : 1;
  static constexpr int span = D > 64 && solves ? 16 : 32;
  static constexpr int rows = fused_warps * 16 * M;
  static constexpr std::size_t shared_bytes =
      (2 * rows + 4 * staged) * D * sizeof(bf16) + 2 * fused_constants * staged * sizeof(float);
};

template <class Map, int D, bool solves>
__global__ void __launch_bounds__(fused_threads, 2) keys_backward_kernel(Map map, FusedCall c) {
  using Shape = KeysShape<D, solves>;
  constexpr int M = Shape::M, span = Shape::span, N = span / 8, block_rows = Shape::rows;

  const int b = static_cast<int>(blockIdx.x) / c.kv_heads, kv = static_cast<int>(blockIdx.x) % c.kv_heads;
  const int block_first = static_cast<int>(blockIdx.y) * block_rows;  // under causal the first keys have most queries
  const int warp_row = warp_of() * 16 * M, first_key = block_first + warp_row, there = c.keys - first_key;
  const int pair = lane_of() % 4 * 2;

  bf16* const shared = shared_memory<bf16>();
  const Tile<D> keys{shared}, values{shared + block_rows * D};
  const auto queries = [&](int stage) { return Tile<D>{shared + (2 * block_rows + stage * staged) * D}; };
  const auto douts = [&](int stage) { return Tile<D>{shared + (2 * block_rows + (2 + stage) * staged) * D}; };
  float* const all_constants = reinterpret_cast<float*>(shared + (2 * block_rows + 4 * staged) * D);
  const auto constants = [&](int stage, FusedConstant which) {
    return all_constants + (stage * fused_constants + which) * staged;
  };

  keys.template fill<block_rows>(c.k.at<D>(b, block_first, kv), c.k.token_stride, c.keys - block_first);
  values.template fill<block_rows>(c.v.at<D>(b, block_first, kv), c.v.token_stride, c.keys - block_first);

  const int first_tile = c.causal ? block_first / staged : 0;
  const int tiles = max(0, pieces(c.queries, staged) - first_tile);
  const auto head_of = [&](int step) { return kv * c.group() + step / tiles; };
  const auto query_of = [&](int step) { return (first_tile + step % tiles) * staged; };

  float dk[M][D / 8][4] = {}, dv[M][D / 8][4] = {};
  float row_dk[solves ? M : 1][D / 8][4] = {};
  pipeline(
      c.group() * tiles,
      [&](int step, int stage) {
        const int h = head_of(step), first = query_of(step), count = c.queries - first;
        queries(stage).template fill<staged>(c.q.at<D>(b, first, h), c.q.token_stride, count);
        douts(stage).template fill<staged>(c.dout.at<D>(b, first, h), c.dout.token_stride, count);
        // One half of the threads copies the first of two constants, one the other. Rows that do not exist borrow
        // those of one that does: their weights are 0.
        static_assert(fused_threads == 2 * staged);
        const bool low = threadIdx.x < staged;
        const int i = static_cast<int>(threadIdx.x) % staged;
        const auto row = c.row(b, h, first) + (i < count ? i : 0);
        const auto copy = [&](FusedConstant which, const float* from) {
          if (from != nullptr) copy_async<4>(constants(stage, which) + i, from + row, true);
        };
        if (!is_separable<Map>) copy(low ? constant_stat : constant_baseline, low ? c.row_stat : c.baseline);
        if (solves) copy(low ? constant_row_baseline : constant_lambda, low ? c.row_baseline : c.row_lambda);
      },
      [&](int step, int stage) {
        const int h = head_of(step);
        const Scores<Map> scores(c, h);
#pragma unroll
        for (int part = 0; part < staged; part += span) {
          const int first = query_of(step) + part;
          if (first >= c.queries) break;
          if (c.causal && first + span - 1 < first_key) continue;
          const bool whole = first + span <= c.queries && (!c.causal || first >= first_key + 16 * M - 1);
          const auto at = Elements<true>::from(first_key, first);
          const DropoutMask<M, N> mask(c, b, h, at);
          float z[M][N][4], u[M][N][4], naturals[solves ? M : 1][N][4];
          multiply_rows(z, keys, warp_row, queries(stage), part);
          multiply_rows(u, values, warp_row, douts(stage), part);
          scores.finish(z, c, at, whole);
          mask.apply(u, c);
#pragma unroll
          for (int n = 0; n < N; ++n) {
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              const int visible = c.visible(at.query(0, n, e)), column = part + 8 * n + pair + e;
              const auto constant = [&](FusedConstant which) { return constants(stage, which)[column]; };
              RowConstants row{visible, 0.0f, 0.0f, 0.0f, 0.0f};
              if constexpr (!is_separable<Map>) {
                row.stat = units<Map> * constant(constant_stat);
                row.baseline = constant(constant_baseline);
              }
              if constexpr (solves) {
                if constexpr (!is_separable<Map>) row.row_baseline = constant(constant_row_baseline);
                row.lambda = lambda_of(c, visible, c.row_lambda == nullptr ? 0.0f : constant(constant_lambda));
              }
#pragma unroll
              for (int m = 0; m < M; ++m) {
                const TwoGradients g = gradients_of<Map, solves>(
                    map, row, scores.factor * z[m][n][e], scores.factor * z[m][n][e + 2], u[m][n][e], u[m][n][e + 2]);
#pragma unroll
                for (int k = 0; k < 2; ++k) {
                  z[m][n][e + 2 * k] = g.weight[k];
                  u[m][n][e + 2 * k] = g.dz[k];
                  if constexpr (solves) naturals[m][n][e + 2 * k] = g.solved[k];
                }
              }
            }
          }
          mask.apply(z, c);
          unsigned weights[M][N / 2][4], dz[M][N / 2][4];
          pack(weights, z);
          pack(dz, u);
          multiply_weights<M, N, D>(dv, weights, douts(stage), part);
          multiply_weights<M, N, D>(dk, dz, queries(stage), part);
          if constexpr (solves) {
            pack(dz, naturals);
            multiply_weights<M, N, D>(row_dk, dz, queries(stage), part);
          }
        }
      });

  values.store(dv, 1.0f, warp_row, c.dv.at<D>(b, first_key, kv), c.dv.token_stride, there);
  keys.store(dk, c.scale, warp_row, c.dk.at<D>(b, first_key, kv), c.dk.token_stride, there);
  if constexpr (solves) {
    values.store(dv, 1.0f, warp_row, c.row_dv.at<D>(b, first_key, kv), c.row_dv.token_stride, there);
    keys.store(row_dk, c.scale, warp_row, c.row_dk.at<D>(b, first_key, kv), c.row_dk.token_stride, there);
  }
}

}  // namespace monge::MONGE_GPU
