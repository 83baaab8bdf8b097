// The emulated device: runs a kernel's threads as fibers, the blocks of a grid one after another, on one operating
// system thread.
//
// It is made to find mistakes, not to be fast.
//   - Threads run in a random order between barriers, and one warp may run far ahead of the others, so that a missing
//     barrier gives wrong numbers for most seeds. A result that is bitwise equal for several seeds does not depend on
//     the order.
//   - Shared memory holds NaN (bytes 0xFF) when a block starts, and a page that cannot be touched follows it.
//   - All threads of a block have to come to the same __syncthreads, and all lanes of a mask to the same warp
//     operation. A thread that has ended cannot, so no thread may leave early before a barrier.
// Each violation ends the launch with a LaunchError that says which kernel, block and threads, and the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <vector>

#include "simt/vector_types.h"

namespace monge::simt {

inline constexpr int warpSize = 32;
inline constexpr std::size_t max_shared_bytes = 99 * 1024;  // of a block on sm_86, which has least

/// A kernel did what a device would punish with wrong numbers, a hang or a crash.
struct LaunchError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Starts the random orders of the following launches anew. The environment variable MONGE_SIMT_SEED goes first.
void set_seed(std::uint64_t seed);
std::uint64_t seed();

struct Launch {
  std::string kernel;  // for messages
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

/// Calls `thread` once as each thread of the grid. Throws LaunchError, or what `thread` throws.
void run(const Launch& launch, const std::function<void()>& thread);

// --- what a running thread sees ---

inline uint3 threadIdx, blockIdx;  // those of the running thread: set whenever another one continues
inline dim3 blockDim, gridDim;

/// The block's dynamic shared memory, aligned to 16 bytes.
template <class T>
T* shared_memory();

using Where = std::source_location;

/// Place of the running thread in its warp.
unsigned lane_of_thread();

void __syncthreads(Where where = Where::current());

/// An operation of a warp: every lane of `mask` comes with its operand, and when the last one is there `act` is called
/// once with the operands of all lanes (null for those outside the mask), which it may change. `name` is for messages.
using WarpAct = void (*)(void* const (&operands)[warpSize]);
void warp_operation(const char* name, unsigned mask, WarpAct act, void* operand, const Where& where);

/// Copies of the running thread that have been asked for but not yet made: groups of them, the open one last.
struct PendingCopy {
  void* to;
  const void* from;  // null: zeros
  std::size_t bytes;
};
std::vector<std::vector<PendingCopy>>& pending_copies();

// --- implementation ---

void* shared_bytes_of_block();
std::string name_of_type(const std::type_info& type);

template <class T>
T* shared_memory() {
  return static_cast<T*>(shared_bytes_of_block());
}

}  // namespace monge::simt
