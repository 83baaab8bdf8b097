// The language of kernels (core/cuda/gpu.h) for a C++ compiler: CUDA's names for the emulated device of emulator.h.
//
// Not there on purpose: static __shared__ arrays (shared memory is dynamic, so that it can be poisoned and guarded),
// float atomics (their result depends on the order), and the approximations of the fast intrinsics.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <tuple>
#include <typeinfo>
#include <utility>

#include "simt/cuda_runtime.h"
#include "simt/device_memory.h"
#include "simt/emulator.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace monge::simt {

/// Runs kernel(arguments...) as each thread of the grid. Throws LaunchError.
template <class... Parameters, class... Arguments>
void run(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, Arguments&&... arguments) {
  const std::tuple<std::decay_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
  run({name_of_type(typeid(kernel)), grid, block, shared_bytes}, [&] { std::apply(kernel, values); });
}

/// What a launch on a device needs beside its sizes: the stream's device is the current one, and pointers are not to
/// the host's memory.
template <class... Arguments>
void require_launchable(cudaStream_t stream, const Arguments&... arguments) {
  const auto there = [](const auto& argument) {
    if constexpr (std::is_pointer_v<std::decay_t<decltype(argument)>>) {
      return argument == nullptr || device_memory().holds(argument, 1);
    } else {
      return true;
    }
  };
  if (!is_of_current_device(stream)) throw LaunchError("a kernel is launched while another device is current");
  if (!(there(arguments) && ...)) throw LaunchError("a kernel is given a pointer to the host's memory");
}

// --- warps ---

inline void __syncwarp(unsigned mask = 0xffffffffu, Where where = Where::current()) {
  warp_operation("__syncwarp", mask, nullptr, nullptr, where);
}

/// The mask that threads of a warp get that happen to run together: the worst that may come, the thread alone.
inline unsigned __activemask() { return 1u << lane_of_thread(); }

/// One shuffle: every lane reads the value of another. A lane outside of the mask has no value: bytes 0xFF.
template <class T>
T shuffle(const char* name, unsigned mask, T value, int from, const Where& where) {
  struct Operand {
    T given, got;
    int from;
  } operand{value, value, from};
  warp_operation(
      name, mask,
      [](void* const(&lanes)[warpSize]) {
        for (void* const lane : lanes) {
          if (lane == nullptr) continue;
          auto& mine = *static_cast<Operand*>(lane);
          const void* const other = lanes[mine.from];
          if (other == nullptr) {
            std::memset(&mine.got, 0xFF, sizeof(T));
          } else {
            mine.got = static_cast<const Operand*>(other)->given;
          }
        }
      },
      &operand, where);
  return operand.got;
}

/// `lane` where that is in the segment of `width` lanes of the running thread, else the thread's own lane.
inline int lane_in_segment(int lane, int width, bool up = false) {
  const int own = static_cast<int>(lane_of_thread()), first = own / width * width;
  return (up ? lane >= first : lane < first + width) ? lane : own;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize, Where where = Where::current()) {
  const int first = static_cast<int>(lane_of_thread()) / width * width;
  return shuffle("__shfl_sync", mask, value, first + (lane & (width - 1)), where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, Where where = Where::current()) {
  const int lane = static_cast<int>(lane_of_thread()) - static_cast<int>(delta);
  return shuffle("__shfl_up_sync", mask, value, lane_in_segment(lane, width, true), where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, Where where = Where::current()) {
  const int lane = static_cast<int>(lane_of_thread()) + static_cast<int>(delta);
  return shuffle("__shfl_down_sync", mask, value, lane_in_segment(lane, width), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, Where where = Where::current()) {
  const int lane = static_cast<int>(lane_of_thread()) ^ lanes;
  return shuffle("__shfl_xor_sync", mask, value, lane_in_segment(lane, width), where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, Where where = Where::current()) {
  struct Operand {
    bool given;
    unsigned got;
  } operand{predicate != 0, 0};
  warp_operation(
      "__ballot_sync", mask,
      [](void* const(&lanes)[warpSize]) {
        unsigned ballot = 0;
        for (int lane = 0; lane < warpSize; ++lane) {
          if (lanes[lane] != nullptr && static_cast<Operand*>(lanes[lane])->given) ballot |= 1u << lane;
        }
        for (void* const lane : lanes) {
          if (lane != nullptr) static_cast<Operand*>(lane)->got = ballot;
        }
      },
      &operand, where);
  return operand.got;
}
inline int __any_sync(unsigned mask, int predicate, Where where = Where::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, Where where = Where::current()) {
  return __ballot_sync(mask, predicate, where) == mask;
}

// --- memory ---

inline void __threadfence() {}

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T value) {
  *p = value;
}

template <class T>
T atomicAdd(T* p, T value) {
  static_assert(std::is_integral_v<T>, "the order of a float atomic would show in its result");
  return std::exchange(*p, *p + value);
}

// --- arithmetic ---

inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }  // NaN becomes 0

template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((std::uint64_t{a} * b) >> 32); }

}  // namespace monge::simt
