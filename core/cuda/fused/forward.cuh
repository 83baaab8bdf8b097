// The fused forward pass: out = map(scale q k^T + slopes) v.
//
// A block of 128 threads takes 64 M queries of one head, each warp 16 M of them, and goes over the keys in tiles of 64,
// two in shared memory at a time. Maps that are exponentials find the statistic of the row on the way (Milakov &
// Gimelshein 2018, arXiv:1805.02867), separable ones have none, all others are given it.
#pragma once

#include "core/cuda/fused/rows.cuh"
#include "core/cuda/fused/tile.cuh"

namespace monge::MONGE_GPU {

/// 16 M queries of a warp meet `span` keys at a time: as many as the registers hold beside the outputs.
template <int D>
struct ForwardShape {
  static constexpr int M = 2;
  static constexpr int span = D <= 64 ? 64 : 32;
  static constexpr std::size_t shared_bytes = (fused_warps * 16 * M + 4 * staged) * D * sizeof(bf16);
};

/// Maximum and sum of the rows of a thread: sum_j exp2(z_j - top), each of the four lanes of a row with its own keys.
template <int M>
struct OnlineRows {
  float top[M][2], total[M][2];

  /// `null_key`: with a key of score 0 that has no value.
  __device__ __forceinline__ explicit OnlineRows(bool null_key) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        top[m][half] = null_key ? 0.0f : -INFINITY;
        total[m][half] = null_key && lane_of() % 4 == 0 ? 1.0f : 0.0f;
      }
    }
  }

  /// Scores factor * z of more keys become weights relative to the new maximum; what has been summed follows it.
  template <int N, int D8>
  __device__ __forceinline__ void add(float (&z)[M][N][4], float factor, float (&out)[M][D8][4]) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float highest = -INFINITY;
#pragma unroll
        for (int n = 0; n < N; ++n) highest = fmaxf(highest, fmaxf(z[m][n][2 * half], z[m][n][2 * half + 1]));
        const float next = fmaxf(top[m][half], factor * max_of_row(highest));
        const float shrink = exp2f(top[m][half] - next);
        top[m][half] = next;
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < N; ++n) {
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) sum += z[m][n][e] = exp2f(factor * z[m][n][e] - next);
        }
        total[m][half] = total[m][half] * shrink + sum;
#pragma unroll
        for (int d = 0; d < D8; ++d) {
          out[m][d][2 * half] *= shrink;
          out[m][d][2 * half + 1] *= shrink;
        }
      }
    }
  }
};

template <class Map, int D>
__global__ void __launch_bounds__(fused_threads, 2) fused_forward_kernel(Map map, FusedCall c) {
  using Shape = ForwardShape<D>;
  constexpr int M = Shape::M, span = Shape::span, N = span / 8;
  constexpr bool online = is_exponential<Map>;
  using Row = TwoScores<Map>;

  const QueryRows<M> rows(c, static_cast<int>(gridDim.y - 1 - blockIdx.y));  // the longest rows first
  const int b = rows.b, h = rows.h, kv = h / c.group(), pair = lane_of() % 4 * 2;
  bf16* const shared = shared_memory<bf16>();
  const Tile<D> queries{shared};
  const auto keys = [&](int stage) { return Tile<D>{shared + (rows.rows + stage * staged) * D}; };
  const auto values = [&](int stage) { return Tile<D>{shared + (rows.rows + (2 + stage) * staged) * D}; };
  const int warp_row = rows.first - rows.block_first;
  const Scores<Map> scores(c, h);

  float out[M][D / 8][4] = {};
  OnlineRows<M> state(Map::statistic == RowStatistic::log1p_sum_exp);
  float stat[M][2] = {};
  if constexpr (!online && !is_separable<Map>) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int i = rows.query(m, half);
        if (i < c.queries) stat[m][half] = __ldg(c.row_stat + c.row(b, h, i));
      }
    }
  }

  queries.template fill<rows.rows>(c.q.at<D>(b, rows.block_first, h), c.q.token_stride, c.queries - rows.block_first);
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
          float z[M][N][4];
          multiply_rows(z, queries, warp_row, keys(stage), part);
          scores.finish(z, c, at, rows.sees_all(c, first, span));
          if constexpr (online) {
            state.add(z, scores.factor, out);
          } else {
#pragma unroll
            for (int m = 0; m < M; ++m) {
#pragma unroll
              for (int n = 0; n < N; ++n) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                  float* const two = &z[m][n][2 * half];
                  Row row(scores.factor * two[0], scores.factor * two[1], c.visible(rows.query(m, half)));
                  map.recompute(row, stat[m][half]);
                  two[0] = row.at[0];
                  two[1] = row.at[1];
                }
              }
            }
          }
          mask.apply(z, c);
          unsigned weights[M][N / 2][4];
          pack(weights, z);
          multiply_weights<M, N, D>(out, weights, values(stage), part);
        }
      });

#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = rows.query(m, half);
      float statistic = 0.0f;
      if constexpr (online) {
        const float total = sum_of_row(state.total[m][half]), share = 1.0f / total;
        statistic = (state.top[m][half] + log2f(total)) / units<Map>;
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
          out[m][d][2 * half] *= share;
          out[m][d][2 * half + 1] *= share;
        }
      }
      if ((online || is_separable<Map>)&&pair == 0 && i < c.queries) c.row_stat[c.row(b, h, i)] = statistic;
    }
  }
  queries.store(out, 1.0f, warp_row, c.out.at<D>(b, rows.first, h), c.out.token_stride, c.queries - rows.first);
}

}  // namespace monge::MONGE_GPU
