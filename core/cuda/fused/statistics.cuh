// What the backward pass has to know about each row before it starts: the means that H u and the row solve take off.
// Where a row's s is its weights, and for softpick, the first is <dO, o>; else it takes a pass over the keys, as the
// means of the row solve and the trace of H always do.
#pragma once

#include "core/cuda/fused/rows.cuh"
#include "core/cuda/fused/tile.cuh"

namespace monge::MONGE_GPU {

/// baseline = <dO, o>, one warp for each row.
template <int D>
__global__ void __launch_bounds__(fused_threads, 2) output_baseline_kernel(FusedCall c) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * fused_warps + warp_of();  // (b, i, h): as in memory
  const std::int64_t token = at / c.heads;
  const int h = static_cast<int>(at % c.heads);
  const int b = static_cast<int>(token / c.queries), i = static_cast<int>(token % c.queries);
  if (b >= c.batch) return;
  const auto* const out = reinterpret_cast<const unsigned*>(c.out.at<D>(b, i, h));
  const auto* const dout = reinterpret_cast<const unsigned*>(c.dout.at<D>(b, i, h));
  float sum = 0.0f;
#pragma unroll
  for (int k = lane_of(); k < D / 2; k += 32) {
    const unsigned x = out[k], y = dout[k];
    sum += __uint_as_float(x << 16) * __uint_as_float(y << 16);
    sum += __uint_as_float(x & 0xffff0000u) * __uint_as_float(y & 0xffff0000u);
  }
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(whole_warp, sum, lanes);
  if (lane_of() == 0) c.baseline[c.row(b, h, i)] = sum;
}

template <int D>
struct StatisticsShape {
  static constexpr int M = 1, span = 64;
  static constexpr std::size_t shared_bytes = (2 * fused_warps * 16 * M + 4 * staged) * D * sizeof(bf16);
};

/// Writes row_lambda when the damping needs the trace, baseline unless it is in the output, and row_baseline when there
/// is one; neither for separable maps.
template <class Map, int D>
__global__ void __launch_bounds__(fused_threads, 2) row_statistics_kernel(Map map, FusedCall c) {
  using Shape = StatisticsShape<D>;
  constexpr int M = Shape::M, span = Shape::span, N = span / 8;
  using Row = TwoScores<Map>;

  const QueryRows<M> rows(c, static_cast<int>(gridDim.y - 1 - blockIdx.y));
  const int b = rows.b, h = rows.h, kv = h / c.group(), pair = lane_of() % 4 * 2;
  bf16* const shared = shared_memory<bf16>();
  const Tile<D> queries{shared}, douts{shared + rows.rows * D};
  const auto keys = [&](int stage) { return Tile<D>{shared + (2 * rows.rows + stage * staged) * D}; };
  const auto values = [&](int stage) { return Tile<D>{shared + (2 * rows.rows + (2 + stage) * staged) * D}; };
  const int warp_row = rows.first - rows.block_first;
  const Scores<Map> scores(c, h);

  float stat[M][2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int i = rows.query(0, half);
    stat[0][half] = is_separable<Map> || i >= c.queries ? 0.0f : units<Map> * __ldg(c.row_stat + c.row(b, h, i));
  }
  queries.template fill<rows.rows>(c.q.at<D>(b, rows.block_first, h), c.q.token_stride, c.queries - rows.block_first);
  douts.template fill<rows.rows>(c.dout.at<D>(b, rows.block_first, h), c.dout.token_stride,
                                 c.queries - rows.block_first);

  /// Calls f(s, u, half) for all elements of the rows, s = 0 where they are not visible; u only with_u.
  const auto sweep = [&](auto with_u, auto f) {
    pipeline(
        rows.tiles(c),
        [&](int tile, int stage) {
          const int first = tile * staged;
          keys(stage).template fill<staged>(c.k.at<D>(b, first, kv), c.k.token_stride, c.keys - first);
          if (with_u) values(stage).template fill<staged>(c.v.at<D>(b, first, kv), c.v.token_stride, c.keys - first);
        },
        [&](int tile, int stage) {
          const int first = tile * staged;
          if (!rows.sees(c, first)) return;
          const auto at = Elements<false>::from(rows.first, first);
          float z[M][N][4], u[M][N][4] = {};
          multiply_rows(z, queries, warp_row, keys(stage), 0);
          scores.finish(z, c, at, rows.sees_all(c, first, span));
          if (with_u) {
            multiply_rows(u, douts, warp_row, values(stage), 0);
            const DropoutMask<M, N> mask(c, b, h, at);
            mask.apply(u, c);
          }
#pragma unroll
          for (int n = 0; n < N; ++n) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              const int visible = c.visible(rows.query(0, half));
              Row row(scores.factor * z[0][n][2 * half], scores.factor * z[0][n][2 * half + 1], visible);
              map.recompute(row, stat[0][half]);
#pragma unroll
              for (int e = 0; e < 2; ++e) {
                f(map.template curvature<Row>(row.at[e], static_cast<float>(visible)), u[0][n][2 * half + e], half);
              }
            }
          }
        });
  };

  float lambda[2] = {};
  if (c.row_lambda != nullptr) {
    float sum[2] = {}, squares[2] = {};
    sweep(std::false_type(), [&](float s, float, int half) {
      sum[half] += s;
      squares[half] += s * s;
    });
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = rows.query(0, half);
      const float total = sum_of_row(sum[half]), all = total + map.template slack<Row>(stat[0][half]);
      const float trace = total - sum_of_row(squares[half]) / all;
      lambda[half] =
          c.damping * fmaxf(trace, static_cast<float>(RowDamping::least_trace)) / static_cast<float>(c.visible(i));
      if (pair == 0 && i < c.queries) c.row_lambda[c.row(b, h, i)] = lambda[half];
    }
  }
  if constexpr (!is_separable<Map>) {
    const bool solves = c.row_baseline != nullptr;
#pragma unroll
    for (int half = 0; half < 2; ++half) lambda[half] = lambda_of(c, c.visible(rows.query(0, half)), lambda[half]);
    float s_sum[2] = {}, su_sum[2] = {}, w_sum[2] = {}, wu_sum[2] = {};
    sweep(std::true_type(), [&](float s, float u, int half) {
      s_sum[half] += s;
      su_sum[half] += s * u;
      if (solves) {
        const float w = s / (s + lambda[half]);
        w_sum[half] += w;
        wu_sum[half] += w * u;
      }
    });
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = rows.query(0, half);
      const float slack = map.template slack<Row>(stat[0][half]);
      const float s = sum_of_row(s_sum[half]) + slack, su = sum_of_row(su_sum[half]);
      const float w = sum_of_row(w_sum[half]) + (solves ? slack / lambda[half] : 0.0f), wu = sum_of_row(wu_sum[half]);
      if (pair == 0 && i < c.queries) {
        const auto row = c.row(b, h, i);
        if (!baseline_is_in_output<Map>) c.baseline[row] = s > 0.0f ? su / s : 0.0f;
        if (solves) c.row_baseline[row] = w > 0.0f ? wu / w : 0.0f;
      }
    }
  }
}

}  // namespace monge::MONGE_GPU
