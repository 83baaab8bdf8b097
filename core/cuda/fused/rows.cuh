// Between the scores in the registers of a thread and the row maps of core/row_map.
//
// A fragment gives a thread elements in pairs: two keys of one query, or (where keys are rows) one key of each of two
// queries. From a known statistic every map works element by element, so its Row is the two elements of one query.
#pragma once

#include <array>
#include <type_traits>

#include "core/cuda/fused/tile.cuh"
#include "core/cuda/warp_row.h"
#include "core/row_map/row_map.h"

namespace monge::MONGE_GPU {

/// Maps that are exponentials work on scores in bits, times log2(e): then exp is the instruction of the hardware.
template <class Map>
inline constexpr float units = is_exponential<Map> ? 1.4426950408889634f : 1.0f;

/// <s, u> / c (without a symmetric Jacobian <a, u>) is <dO, o>.
template <class Map>
inline constexpr bool baseline_is_in_output = is_exponential<Map> || Map::metric == Metric::none;

/// Two scores of one row of n keys, as the Row of core/row_map/row_map.h for maps that know the row's statistic.
template <class Map>
struct TwoScores : DeviceRow {
  float at[2];
  int n;

  __device__ __forceinline__ TwoScores(float first, float second, int n) : at{first, second}, n(n) {}
  __device__ __forceinline__ int size() const { return n; }
  template <class F>
  __device__ __forceinline__ void apply(F f) {
    at[0] = f(at[0]);
    at[1] = f(at[1]);
  }
  static __device__ __forceinline__ float exp(float x) { return is_exponential<Map> ? exp2f(x) : expf(x); }
};

/// Where the elements of a thread's fragments float[M][N][4] are: their query and key.
template <bool keys_are_rows>
struct Elements {
  int row, column;  // of element [0][0][0]

  /// For the fragments of a warp from `row` and `column` on.
  static __device__ __forceinline__ Elements from(int row, int column) {
    return {row + lane_of() / 4, column + lane_of() % 4 * 2};
  }
  __device__ __forceinline__ int query(int m, int n, int e) const {
    return keys_are_rows ? column + 8 * n + e % 2 : row + 16 * m + e / 2 * 8;
  }
  __device__ __forceinline__ int key(int m, int n, int e) const {
    return keys_are_rows ? row + 16 * m + e / 2 * 8 : column + 8 * n + e % 2;
  }
};

/// Calls f(m, n, e) for the elements of float[M][N][4].
template <int M, int N, class F>
__device__ __forceinline__ void each_element(F f) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) f(m, n, e);
    }
  }
}

/// Scores of one head, as factor * z: what z is before and after.
template <class Map>
struct Scores {
  float factor, tilt;  // slope / scale
  bool tilted;

  __device__ __forceinline__ Scores(const FusedCall& c, int h)
      : factor(c.scale * units<Map>),
        tilt(c.slopes == nullptr ? 0.0f : __ldg(c.slopes + h) / c.scale),
        tilted(c.slopes != nullptr) {}

  /// z = q k^T gets the slope. Where keys are not visible it becomes -infinity, which is a weight of 0 and s = 0 for
  /// every map; not needed when the `whole` block is visible.
  template <int M, int N, bool keys_are_rows>
  __device__ __forceinline__ void finish(float (&z)[M][N][4], const FusedCall& c, Elements<keys_are_rows> at,
                                         bool whole) const {
    if (tilted) {
      each_element<M, N>([&](int m, int n, int e) {
        z[m][n][e] -= tilt * fabsf(static_cast<float>(at.query(m, n, e) - at.key(m, n, e)));
      });
    }
    if (!whole) {
      each_element<M, N>([&](int m, int n, int e) {
        const int i = at.query(m, n, e);
        if (at.key(m, n, e) >= (i < c.queries ? c.visible(i) : 0)) z[m][n][e] = -INFINITY;
      });
    }
  }
};

/// Which of the elements of a thread dropout keeps, a bit for each.
template <int M, int N>
struct DropoutMask {
  static_assert(4 * N <= 32);
  unsigned bits[M];

  template <bool keys_are_rows>
  __device__ __forceinline__ DropoutMask(const FusedCall& c, int b, int h, Elements<keys_are_rows> at) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
      bits[m] = 0;
      if (c.dropout.least == 0) continue;
      std::array<std::uint32_t, 4> words{};
      std::int64_t block = -1;  // whose words they are
#pragma unroll 1
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const std::int64_t element = c.row(b, h, at.query(m, n, e)) * c.keys + at.key(m, n, e);
          if (element / 4 != block) words = c.dropout.draw.words(block = element / 4);
          const int i = static_cast<int>(element & 3);
          const std::uint32_t word = i < 2 ? (i == 0 ? words[0] : words[1]) : (i == 2 ? words[2] : words[3]);
          if (word >> 8 >= c.dropout.least) bits[m] |= 1u << (4 * n + e);
        }
      }
    }
  }

  __device__ __forceinline__ void apply(float (&x)[M][N][4], const FusedCall& c) const {
    if (c.dropout.least == 0) return;
    each_element<M, N>([&](int m, int n, int e) { x[m][n][e] *= bits[m] >> (4 * n + e) & 1 ? c.dropout.keep : 0.0f; });
  }
};

/// What the kernels know about a row of the backward pass.
struct RowConstants {
  int n;  // visible keys
  float stat, baseline, row_baseline, lambda;
};

/// Two elements of a row: weights, dL/dz and, in the place of dL/dz, the damped natural gradient.
struct TwoGradients {
  float weight[2], dz[2], solved[2];
};

/// From two scores of a row and their u = dL/da.
template <class Map, bool solves>
__device__ __forceinline__ TwoGradients gradients_of(const Map& map, const RowConstants& row, float z0, float z1,
                                                     float u0, float u1) {
  using Row = TwoScores<Map>;
  const float z[2] = {z0, z1}, u[2] = {u0, u1};
  Row weights(z0, z1, row.n);
  map.recompute(weights, row.stat);
  TwoGradients out;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    out.weight[e] = weights.at[e];
    if constexpr (Map::metric == Metric::none) {
      out.dz[e] = map.template backward<Row>(z[e], u[e], row.stat, row.baseline);
    } else {
      const float s = map.template curvature<Row>(weights.at[e], static_cast<float>(row.n));
      out.dz[e] = s * (u[e] - row.baseline);
      if constexpr (solves) out.solved[e] = s / (s + row.lambda) * (u[e] - row.row_baseline);
    }
  }
  return out;
}

/// lambda of a row of n keys; `of_trace` where it depends on the row.
__device__ __forceinline__ float lambda_of(const FusedCall& c, int n, float of_trace) {
  if (c.damping_scale == RowDamping::Scale::trace) return of_trace;
  return c.damping_scale == RowDamping::Scale::per_key ? c.damping / static_cast<float>(n) : c.damping;
}

/// The rows of a thread in a block of queries: M fragments from the warp's first query on.
template <int M>
struct QueryRows {
  int b, h, block_first, first;  // of the block, of the warp

  __device__ __forceinline__ QueryRows(const FusedCall& c, int block) {
    b = static_cast<int>(blockIdx.x) / c.heads;
    h = static_cast<int>(blockIdx.x) % c.heads;
    block_first = block * rows;
    first = block_first + static_cast<int>(threadIdx.x / 32) * 16 * M;
  }
  static constexpr int rows = fused_warps * 16 * M;

  __device__ __forceinline__ int query(int m, int half) const {
    return first + 16 * m + 8 * half + static_cast<int>(threadIdx.x & 31) / 4;
  }
  /// Key tiles that the block needs.
  __device__ __forceinline__ int tiles(const FusedCall& c) const {
    return pieces(c.visible(min(block_first + rows, c.queries) - 1), staged);
  }
  /// Whether some of the keys from j to j + count - 1 are visible to a query of the warp; to all of them.
  __device__ __forceinline__ bool sees(const FusedCall& c, int j) const { return j < c.visible(first + 16 * M - 1); }
  __device__ __forceinline__ bool sees_all(const FusedCall& c, int j, int count) const {
    return j + count <= c.visible(first) && first + 16 * M <= c.queries;
  }
};

/// The sum over the four lanes that share a row.
__device__ __forceinline__ float sum_of_row(float x) {
  x += __shfl_xor_sync(whole_warp, x, 1);
  return x + __shfl_xor_sync(whole_warp, x, 2);
}
__device__ __forceinline__ float max_of_row(float x) {
  x = fmaxf(x, __shfl_xor_sync(whole_warp, x, 1));
  return fmaxf(x, __shfl_xor_sync(whole_warp, x, 2));
}

}  // namespace monge::MONGE_GPU
