// The emulated device itself (tests/simt): what it computes, and that it sees the mistakes it is there to see.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "simt/simt.h"
#include "support/expect_error.h"

namespace monge::simt {
namespace {

constexpr unsigned whole_warp = 0xffffffffu;

/// How many of the seeds 1 .. 20 make `wrong` return true.
template <class F>
int seeds_with(F wrong) {
  int count = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    set_seed(seed);
    count += wrong() ? 1 : 0;
  }
  return count;
}

__global__ void write_places(unsigned* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += block * 1000 + thread;
}

TEST(Simt, EveryThreadOfEveryBlockRunsOnce) {
  std::vector<unsigned> out(2 * 3 * 2 * 30, 0);
  run(write_places, {2, 3, 2}, {5, 2, 3}, 0, out.data());
  for (unsigned i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i / 30 * 1000 + i % 30);
}

// --- barriers and shared memory ---

/// out_i = the value that thread i + 1 left, after a barrier or without one.
template <bool barrier>
__global__ void read_neighbour(int* out) {
  int* const values = shared_memory<int>();
  const unsigned i = threadIdx.x;
  values[i] = static_cast<int>(i);
  if (barrier) __syncthreads();
  out[i] = values[(i + 1) % blockDim.x];
}

template <bool barrier>
bool neighbours_are_wrong() {
  std::vector<int> out(96), expected(96);
  std::iota(expected.begin(), expected.end(), 1);
  expected.back() = 0;
  run(read_neighbour<barrier>, 1, 96, 96 * sizeof(int), out.data());
  return out != expected;
}

TEST(Simt, MissingBarrierGivesWrongNumbers) {
  EXPECT_EQ(seeds_with(neighbours_are_wrong<true>), 0);
  EXPECT_EQ(seeds_with(neighbours_are_wrong<false>), 20);
}

/// Two warps hand a value to each other in turn. Without the second barrier, one warp writes the next value while the
/// other still has to read.
template <bool second_barrier>
__global__ void take_turns(int* wrong) {
  volatile int* const value = shared_memory<int>();
  for (int turn = 0; turn < 20; ++turn) {
    if (threadIdx.x == 0) *value = turn;
    __syncthreads();
    __syncwarp();
    if (*value != turn) atomicAdd(wrong, 1);
    if (second_barrier) __syncthreads();
  }
}

template <bool second_barrier>
bool turns_are_wrong() {
  int wrong = 0;
  run(take_turns<second_barrier>, 1, 64, sizeof(int), &wrong);
  return wrong > 0;
}

TEST(Simt, WarpThatRunsAheadIsSeen) {
  EXPECT_EQ(seeds_with(turns_are_wrong<true>), 0);
  EXPECT_EQ(seeds_with(turns_are_wrong<false>), 20);
}

__global__ void sum_shared(float* out, int written) {
  float* const values = shared_memory<float>();
  if (static_cast<int>(threadIdx.x) < written) values[threadIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = std::accumulate(values, values + blockDim.x, 0.0f);
}

TEST(Simt, UnwrittenSharedMemoryIsNaNInEveryBlock) {
  std::vector<float> out(3);
  run(sum_shared, 3, 64, 64 * sizeof(float), out.data(), 64);
  EXPECT_EQ(out, std::vector<float>(3, 64.0f));
  run(sum_shared, 3, 64, 64 * sizeof(float), out.data(), 63);
  for (const float x : out) EXPECT_TRUE(std::isnan(x));
}

__global__ void touch(int first, int* out) {
  volatile char* const bytes = shared_memory<char>();
  if (threadIdx.x == 5) *out = bytes[first];
  __syncthreads();
}
__global__ void write_at(int first) {
  if (threadIdx.x == 5) shared_memory<volatile char>()[first] = 1;
}

TEST(Simt, AccessesBeyondTheSharedMemoryAreSeen) {
  int out = 0;
  run(touch, 1, 32, 160, 159, &out);
  const std::string message = error_of<LaunchError>([&] { run(touch, 2, 32, 160, 160, &out); });
  EXPECT_HAS(message, "block (0, 0, 0)");
  EXPECT_HAS(message, "thread 5 touches byte 160");
  EXPECT_HAS(message, "MONGE_SIMT_SEED=");
  // The memory starts on a multiple of 16: behind an odd size, and in front of it, only what is written is seen.
  for (const int wrong : {150, -1}) {
    EXPECT_HAS(error_of<LaunchError>([&] { run(write_at, 1, 32, 150, wrong); }), "outside of its 150 bytes");
  }
  run(write_at, 1, 32, 150, 149);
}

TEST(Simt, LaunchesThatNoDeviceTakesAreRefused) {
  int out = 0;
  run(touch, 1, 32, max_shared_bytes, 0, &out);
  EXPECT_HAS(error_of<LaunchError>([&] { run(touch, 1, 32, max_shared_bytes + 1, 0, &out); }), "shared memory");
  EXPECT_HAS(error_of<LaunchError>([&] { run(touch, 1, 1025, 0, 0, &out); }), "1 to 1024 threads");
  EXPECT_HAS(error_of<LaunchError>([&] { run(touch, dim3(1, 65536), 32, 0, 0, &out); }), "the grid is too large");
}

// --- threads that do not come ---

__global__ void some_wait(unsigned from) {
  if (threadIdx.x >= from) __syncthreads();
}
__global__ void wait_in_two_places() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void warp_and_block() {
  if (threadIdx.x == 3) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}
__global__ void foreign_mask() { __syncwarp(1u << 7); }
__global__ void throw_in(unsigned thread) {
  __syncwarp();
  if (threadIdx.x == thread) throw std::out_of_range("from a kernel");
  __syncthreads();
}

TEST(Simt, DivergentBarriersEndTheLaunch) {
  run(some_wait, 1, 64, 0, 0u);
  const std::string message = error_of<LaunchError>([] { run(some_wait, 1, 64, 0, 33u); });
  EXPECT_HAS(message, "threads 0-32 have ended");
  EXPECT_HAS(message, "threads 33-63 at __syncthreads (simt_test.cpp:");
  EXPECT_HAS(message, "some_wait");
  EXPECT_HAS(error_of<LaunchError>([] { run(wait_in_two_places, 1, 32, 0); }), "divergent __syncthreads: threads 0-15");
  EXPECT_HAS(error_of<LaunchError>([] { run(warp_and_block, 1, 32, 0); }), "thread 3 at __syncthreads");
  EXPECT_HAS(error_of<LaunchError>([] { run(foreign_mask, 1, 32, 0); }), "outside of its mask");
  EXPECT_HAS(error_of<std::out_of_range>([] { run(throw_in, 1, 64, 0, 40u); }), "from a kernel");
  EXPECT_FALSE(neighbours_are_wrong<true>());  // the device is as good as new
}

// --- warps ---

struct Shuffles {
  int at, up, down, across;
  unsigned ballot;
  int any, all;
};

__global__ void shuffle_all(Shuffles* out, int lane, int width) {
  const int i = static_cast<int>(threadIdx.x);
  out[i] = {__shfl_sync(whole_warp, i, lane, width),
            __shfl_up_sync(whole_warp, i, static_cast<unsigned>(lane), width),
            __shfl_down_sync(whole_warp, i, static_cast<unsigned>(lane), width),
            __shfl_xor_sync(whole_warp, i, lane, width),
            __ballot_sync(whole_warp, i % 3 == 0),
            __any_sync(whole_warp, i == 40),
            __all_sync(whole_warp, i < 40)};
}

TEST(Simt, ShufflesAndVotesFollowTheirDefinitions) {
  for (const int width : {8, 32}) {
    for (const int lane : {0, 1, 5, 7}) {
      std::array<Shuffles, 64> out;
      run(shuffle_all, 1, 64, 0, out.data(), lane, width);
      for (int i = 0; i < 64; ++i) {
        const int first = i / width * width, last = first + width - 1;
        const auto& got = out[static_cast<std::size_t>(i)];
        EXPECT_EQ(got.at, first + lane);
        EXPECT_EQ(got.up, i - lane >= first ? i - lane : i);
        EXPECT_EQ(got.down, i + lane <= last ? i + lane : i);
        EXPECT_EQ(got.across, i ^ lane);
        unsigned ballot = 0;
        for (int other = 0; other < 32; ++other) ballot |= ((i / 32 * 32 + other) % 3 == 0 ? 1u : 0u) << other;
        EXPECT_EQ(got.ballot, ballot);
        EXPECT_EQ(got.any, i >= 32);
        EXPECT_EQ(got.all, i < 32);
      }
    }
  }
}

__global__ void half_warps(float* out) {
  const unsigned i = threadIdx.x, mask = i < 16 ? 0x0000ffffu : 0xffff0000u;
  const float x = static_cast<float>(i);
  out[i] = i < 16 ? __shfl_sync(mask, x, 20) : __shfl_sync(mask, x, 21);
}

TEST(Simt, PartOfAWarpMayShuffleAlone) {
  std::array<float, 32> out;
  run(half_warps, 1, 32, 0, out.data());
  EXPECT_TRUE(std::isnan(out[3]));  // lane 20 is not in its mask
  EXPECT_EQ(out[17], 21.0f);
}

// --- speed ---

__global__ void many_barriers(int n) {
  for (int i = 0; i < n; ++i) __syncwarp();
}
__global__ void axpy(float* y, const float* x) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] += 2.0f * x[i];
}

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Simt, SwitchesAreCheap) {
  const double per_switch = seconds([] { run(many_barriers, 1, 128, 0, 10000); }) / (128.0 * 10000);
  std::vector<float> x(1 << 20, 1.0f), y(1 << 20, 0.0f);
  const double per_thread = seconds([&] { run(axpy, 4096, 256, 0, y.data(), x.data()); }) / (1 << 20);
  RecordProperty("nanoseconds_per_switch", std::to_string(1e9 * per_switch));
  RecordProperty("nanoseconds_per_thread", std::to_string(1e9 * per_thread));
  EXPECT_LT(per_switch, 5e-6);  // far above what it takes: a busy machine must not fail
  EXPECT_LT(per_thread, 5e-6);
  std::printf("%.0f ns for a switch, %.0f ns for a thread without barriers\n", 1e9 * per_switch, 1e9 * per_thread);
}

}  // namespace
}  // namespace monge::simt
