// Sums and maxima over the threads of a warp and of a block. All threads of the warp or block must call them; every
// thread gets the result, and the order of the sum is fixed.
#pragma once

#include "core/cuda/gpu.h"

namespace monge::MONGE_GPU {

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <class T, class Combine>
__device__ __forceinline__ T warp_reduce(T x, Combine combine) {
#pragma unroll
  for (unsigned lane = warp_width / 2; lane > 0; lane /= 2) {
    x = combine(x, __shfl_xor_sync(whole_warp, x, static_cast<int>(lane)));
  }
  return x;
}

/// `partial`: shared memory for one number of each warp; `nothing` changes no result. The block is whole warps in one
/// dimension.
template <class T, class Combine>
__device__ __forceinline__ T block_reduce(T x, T* partial, Combine combine, T nothing) {
  const unsigned warps = blockDim.x / warp_width, lane = threadIdx.x % warp_width;
  x = warp_reduce(x, combine);
  if (warps == 1) return x;
  __syncthreads();  // the last use of `partial`
  if (lane == 0) partial[threadIdx.x / warp_width] = x;
  __syncthreads();
  return warp_reduce(lane < warps ? partial[lane] : nothing, combine);
}

__device__ __forceinline__ float warp_sum(float x) { return warp_reduce(x, Sum()); }
__device__ __forceinline__ float warp_max(float x) { return warp_reduce(x, Max()); }
template <class T>
__device__ __forceinline__ T block_sum(T x, T* partial) {
  return block_reduce(x, partial, Sum(), T(0));
}
__device__ __forceinline__ float block_max(float x, float* partial) {
  return block_reduce(x, partial, Max(), -INFINITY);
}

/// Shared bytes that the reductions of a block need.
inline constexpr std::size_t reduce_bytes = warp_width * sizeof(double);

}  // namespace monge::MONGE_GPU
