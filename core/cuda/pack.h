// Pack: W neighbouring elements as floats, moved as one vector where the addresses allow it.
//
//   kernel<T, W>: for_each_pack<W>(n, [&](std::int64_t i, int count) { ... load<W>(x + i, count) ... });
//   host:         const int w = width_of<T>({x, y});   16 bytes of the widest type, or 1
#pragma once

#include <initializer_list>
#include <type_traits>

#include "core/cuda/gpu.h"
#include "core/tensor.h"

namespace monge::MONGE_GPU {

template <int W>
struct Pack {
  float at[W];
};

template <class T, int W>
struct alignas(sizeof(T) * W) Raw {
  T at[W];
};

/// The first `count` <= W elements at p; the rest is 0.
template <int W, class T>
__device__ __forceinline__ Pack<W> load(const T* p, int count) {
  Pack<W> out;
  if (count == W) {
    const Raw<T, W> raw = *reinterpret_cast<const Raw<T, W>*>(p);
#pragma unroll
    for (int k = 0; k < W; ++k) out.at[k] = static_cast<float>(raw.at[k]);
  } else {
#pragma unroll
    for (int k = 0; k < W; ++k) out.at[k] = k < count ? static_cast<float>(p[k]) : 0.0f;
  }
  return out;
}

template <int W, class T>
__device__ __forceinline__ void store(T* p, int count, const Pack<W>& x) {
  if (count == W) {
    Raw<T, W> raw;
#pragma unroll
    for (int k = 0; k < W; ++k) raw.at[k] = static_cast<T>(x.at[k]);
    *reinterpret_cast<Raw<T, W>*>(p) = raw;
  } else {
#pragma unroll
    for (int k = 0; k < W; ++k) {
      if (k < count) p[k] = static_cast<T>(x.at[k]);
    }
  }
}

/// out_k = f(x_k, ...)
template <int W, class F, class... Packs>
__device__ __forceinline__ Pack<W> each(const F& f, const Packs&... x) {
  Pack<W> out;
#pragma unroll
  for (int k = 0; k < W; ++k) out.at[k] = f(x.at[k]...);
  return out;
}

/// Calls f(i, count) for the packs of 0 .. n that fall to this thread of the whole grid.
template <int W, class F>
__device__ __forceinline__ void for_each_pack(std::int64_t n, const F& f) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; pack * W < n;
       pack += threads) {
    const std::int64_t i = pack * W;
    f(i, n - i < W ? static_cast<int>(n - i) : W);
  }
}

inline constexpr unsigned elementwise_block = 256;

/// Blocks for a kernel that goes over n elements with for_each_pack: one pack for each thread, up to eight full blocks
/// on each multiprocessor of a large device.
inline dim3 elementwise_grid(std::int64_t n, int width) {
  const std::int64_t blocks = pieces<std::int64_t>(pieces<std::int64_t>(n, width), elementwise_block);
  constexpr std::int64_t most = 8 * 132;
  return dim3(static_cast<unsigned>(blocks < most ? blocks : most));
}

/// Whether all defined tensors start at a multiple of `width` of their elements and `step`, the distance of rows, keeps
/// it so.
inline bool aligned_to(std::initializer_list<const Tensor*> tensors, int width, std::int64_t step = 0) {
  if (step % width != 0) return false;
  for (const Tensor* x : tensors) {
    if (x->defined() && reinterpret_cast<std::uintptr_t>(x->data()) % (size_of(x->dtype()) * width) != 0) return false;
  }
  return true;
}

template <class T>
struct Is {
  using type = T;
};

/// f(Is<float>()) or f(Is<bf16>()).
template <class F>
void visit_float(DType dtype, F&& f) {
  if (dtype == DType::bf16) {
    f(Is<bf16>());
  } else {
    f(Is<float>());
  }
}

/// f with the number of elements that a thread moves at once: 16 bytes of T, or 1 where addresses do not allow that.
template <class T, class F>
void visit_width(bool aligned, F&& f) {
  constexpr int widest = 16 / static_cast<int>(sizeof(T));
  if (aligned) {
    f(std::integral_constant<int, widest>());
  } else {
    f(std::integral_constant<int, 1>());
  }
}

}  // namespace monge::MONGE_GPU
