// Tiles in shared memory, and the two products of attention on them.
//
// A warp holds a block of 16 M rows as M fragments c of core/cuda/tensor_core.h side by side, N of them for 8 N
// columns: float c[M][N][4]. The factors on the left of a product are such blocks rounded to bf16: unsigned p[M][N /
// 2][4].
#pragma once

#include "core/cuda/fused/call.cuh"
#include "core/cuda/tensor_core.h"

namespace monge::MONGE_GPU {

__device__ __forceinline__ int lane_of() { return static_cast<int>(threadIdx.x & 31); }
__device__ __forceinline__ int warp_of() { return static_cast<int>(threadIdx.x / 32); }

/// Rows of D bf16 in shared memory, in chunks of eight. The chunks of a row are permuted, so that the same chunk of
/// eight rows in turn lies in different banks.
template <int D>
struct Tile {
  static constexpr int chunks = D / 8;
  bf16* data;

  __device__ __forceinline__ bf16* chunk(int row, int i) const { return data + row * D + 8 * (i ^ (row & 7)); }

  /// The block starts to copy `rows` rows; those from `there` on become 0. Not unrolled: the compiler would keep the
  /// address of every step in registers.
  template <int rows>
  __device__ __forceinline__ void fill(const bf16* from, std::int64_t stride, int there) const {
    constexpr int step = fused_threads / chunks;  // rows
    static_assert(rows % step == 0 && step % 8 == 0);
    const int i = static_cast<int>(threadIdx.x) % chunks, first = static_cast<int>(threadIdx.x) / chunks;
    bf16* to = chunk(first, i);
    from += first * stride + 8 * i;
#pragma unroll 1
    for (int row = first; row < rows; row += step) {
      const bool valid = row < there;
      copy_async<16>(to, valid ? from : from - row * stride, valid);
      to += step * D;
      from += step * stride;
    }
  }

  // In the operands `row` is a multiple of 8 and `k` and `column` are multiples of 16, so that their part of the
  // address is an exclusive or with that of the lane.

  /// Operand a: the rows row .. row + 15 and the columns k .. k + 15.
  __device__ __forceinline__ void left(unsigned (&a)[4], int row, int k) const {
    load_matrices(a, data + row * D + (lane_part(lane_of() & 15, lane_of() / 16) ^ k));
  }
  /// Two operands b of the transposed tile: its columns are the rows row .. row + 15 here.
  __device__ __forceinline__ void right_of_transposed(unsigned (&b)[4], int row, int k) const {
    load_matrices(b, data + row * D + (lane_part((lane_of() & 7) + lane_of() / 16 * 8, lane_of() >> 3 & 1) ^ k));
  }
  /// Two operands b: the rows row .. row + 15 and the columns column .. column + 15.
  __device__ __forceinline__ void right(unsigned (&b)[4], int row, int column) const {
    load_matrices_transposed(b, data + row * D + (lane_part(lane_of() & 15, lane_of() / 16) ^ column));
  }

  /// The warp writes factor * c, through the rows of the tile from `row` on, which nobody else may use any more, to the
  /// `there` first of the rows at `to`.
  template <int M>
  __device__ __forceinline__ void store(const float (&c)[M][D / 8][4], float factor, int row, bf16* to,
                                        std::int64_t stride, int there) const {
    const int lane = lane_of();
    __syncwarp();
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          bf16* const at = chunk(row + 16 * m + 8 * half + lane / 4, n) + lane % 4 * 2;
          *reinterpret_cast<unsigned*>(at) = pack_bf16(factor * c[m][n][2 * half], factor * c[m][n][2 * half + 1]);
        }
      }
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 16 * M * chunks; i += 32) {
      if (i / chunks < there) {
        *reinterpret_cast<uint4*>(to + i / chunks * stride + i % chunks * 8) =
            *reinterpret_cast<const uint4*>(chunk(row + i / chunks, i % chunks));
      }
    }
  }

 private:
  static_assert(D == 64 || D == 128);

  static __device__ __forceinline__ int lane_part(int row, int i) { return row * D + 8 * (i ^ (row & 7)); }
};

/// c = left right^T: the rows of `left` from `left_row` on with those of `right` from `right_row` on.
template <int M, int N, int D>
__device__ __forceinline__ void multiply_rows(float (&c)[M][N][4], Tile<D> left, int left_row, Tile<D> right,
                                              int right_row) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0.0f;
  }
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    unsigned a[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) left.left(a[m], left_row + 16 * m, k);
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      unsigned b[4];
      right.right_of_transposed(b, right_row + 8 * n, k);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiply_add(c[m][n], a[m], b[0], b[1]);
        multiply_add(c[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// c = c + p right, with the 8 N rows of `right` from `right_row` on.
template <int M, int N, int D>
__device__ __forceinline__ void multiply_weights(float (&c)[M][D / 8][4], const unsigned (&p)[M][N / 2][4],
                                                 Tile<D> right, int right_row) {
#pragma unroll
  for (int k = 0; k < N / 2; ++k) {
#pragma unroll
    for (int n = 0; n < D / 8; n += 2) {
      unsigned b[4];
      right.right(b, right_row + 16 * k, 8 * n);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiply_add(c[m][n], p[m][k], b[0], b[1]);
        multiply_add(c[m][n + 1], p[m][k], b[2], b[3]);
      }
    }
  }
}

/// Rounds a block of rows to the left factor of a product.
template <int M, int N>
__device__ __forceinline__ void pack(unsigned (&p)[M][N / 2][4], const float (&c)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      p[m][n / 2][n % 2 * 2] = pack_bf16(c[m][n][0], c[m][n][1]);
      p[m][n / 2][n % 2 * 2 + 1] = pack_bf16(c[m][n][2], c[m][n][3]);
    }
  }
}

/// Runs f(i, i % 2) for i = 0 .. count - 1 while fill(i + 1, (i + 1) % 2) is copying. One barrier a step: it shows the
/// copies of all threads to all, and that the buffers of step i - 1 are free. What was copied before is there as well,
/// also afterwards.
template <class Fill, class F>
__device__ __forceinline__ void pipeline(int count, Fill fill, F f) {
  __syncthreads();  // the last use of the buffers
  if (count > 0) fill(0, 0);
  commit_copies();
  for (int i = 0; i < count; ++i) {
    wait_for_copies<0>();
    __syncthreads();
    if (i + 1 < count) fill(i + 1, (i + 1) % 2);
    commit_copies();
    f(i, i % 2);
  }
  if (count == 0) {
    wait_for_copies<0>();
    __syncthreads();
  }
}

}  // namespace monge::MONGE_GPU
