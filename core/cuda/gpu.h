// The language of kernels: CUDA's own names, for three compilers.
//
// nvcc sees <cuda_runtime.h>, and all code of this folder is in monge::cuda. With MONGE_SIMT defined any C++ compiler
// sees tests/simt/ instead, an emulated device with one fiber for each thread, and the same code is in
// monge::simt: so every kernel, and the backend around it, runs in the tests of every machine.
//
// Shared memory is dynamic: shared_memory<T>() gives the block's bytes, launch() says how many. A kernel must give the
// same bits in any order of its threads and blocks: no atomics on floats. Kernel files do without fmt (core/error.h),
// which nvcc does not compile as C++20.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

#if defined(MONGE_SIMT)
#define MONGE_GPU simt
#include "simt/cuda_runtime.h"
#include "simt/simt.h"
#else
#define MONGE_GPU cuda
#include <cuda_runtime.h>
#endif

#include "core/dtype.h"

namespace monge::MONGE_GPU {

using Stream = cudaStream_t;

/// Throws RunError with the call's place and CUDA's reason when `status` is an error.
void check(cudaError_t status, std::source_location where = std::source_location::current());

inline constexpr unsigned warp_width = 32;
inline constexpr unsigned whole_warp = 0xffffffffu;

/// How many pieces of `size` cover `n`.
template <class T>
constexpr T pieces(T n, T size) {
  return (n + size - 1) / size;
}

#if defined(__CUDACC__)
template <class T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ uint4 monge_shared_memory[];
  return reinterpret_cast<T*>(monge_shared_memory);
}

/// Starts a kernel on `grid` blocks of `block` threads with `shared_bytes` of shared memory. An empty grid is no work.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, Stream stream,
            Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  constexpr std::size_t without_asking = 48 << 10;
  if (shared_bytes > without_asking) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  }
  kernel<<<grid, block, shared_bytes, stream>>>(std::forward<Arguments>(arguments)...);
  check(cudaGetLastError());
}
#elif defined(MONGE_SIMT)
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, Stream stream,
            Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  require_launchable(stream, arguments...);
  stream->enqueue([=] { run(kernel, grid, block, shared_bytes, arguments...); });
  check(cudaGetLastError());
}
#endif

}  // namespace monge::MONGE_GPU
