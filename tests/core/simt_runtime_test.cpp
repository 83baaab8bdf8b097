// Runtime where there is no fitting device, or no memory; and that the emulated CUDA sees what is wrong.
#include "core/cuda/runtime.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"

namespace monge::simt {
namespace {

constexpr std::uint64_t seeds = 20;

class EmulatedCuda : public testing::Test {
 protected:
  void TearDown() override {
    machine() = Machine();
    cudaSetDevice(0);
    set_seed(1);
  }
};

std::string problem_with(int index) {
  try {
    const Runtime runtime(index);
  } catch (const InputError& e) {
    return e.what();
  }
  return "none";
}

TEST_F(EmulatedCuda, SaysWhichDeviceIsMissing) {
  EXPECT_EQ(problem_with(0), "none");
  EXPECT_EQ(problem_with(7), "device 'cuda:7': this machine has 1 GPU; allowed: cuda");
  machine().devices.resize(2);
  EXPECT_EQ(problem_with(1), "none");
  EXPECT_EQ(problem_with(2), "device 'cuda:2': this machine has 2 GPUs; allowed: cuda, up to cuda:1");
  machine().devices[1] = {.name = "Old", .major = 7, .minor = 5};
  EXPECT_EQ(problem_with(1),
            "device 'cuda:1': Old has compute capability 7.5; the kernels need 8.0 or newer. Use device: cpu");
  machine().devices.clear();
  EXPECT_EQ(problem_with(0),
            "device 'cuda': this machine shows no GPU (there is no device; driver for CUDA 13.0, toolkit 13.0); use "
            "device: cpu");
  machine().driver = 12040;
  EXPECT_EQ(problem_with(0),
            "device 'cuda': the driver is missing or too old for this build (driver for CUDA 12.4, toolkit 13.0); "
            "install a newer driver or use device: cpu");
  machine().driver = 0;
  EXPECT_NE(problem_with(0).find("(driver none, toolkit 13.0)"), std::string::npos);
}

TEST_F(EmulatedCuda, DescribesItself) {
  machine().devices[0] = {
      .name = "H", .totalGlobalMem = std::size_t{141} << 30, .major = 9, .multiProcessorCount = 132};
  const Runtime runtime(0);
  EXPECT_EQ(runtime.description(), "H (sm_90, 132 multiprocessors, 141 GiB), driver for CUDA 13.0, toolkit 13.0");
  EXPECT_EQ(runtime.architecture(), 90);
}

TEST_F(EmulatedCuda, NoMemoryLeftIsNull) {
  Runtime runtime(0);
  void* const first = runtime.allocate(1 << 20);
  machine().devices[0].totalGlobalMem = std::size_t{1} << 30;
  EXPECT_EQ(runtime.allocate(std::size_t{1} << 30), nullptr);
  void* const second = runtime.allocate(1 << 20);  // the failure is forgotten
  EXPECT_NE(second, nullptr);
  runtime.zero(second, 1 << 20);
  runtime.synchronize();
  runtime.release(first);
  runtime.release(second);
}

// --- the emulation itself: it must see what is wrong ---

TEST_F(EmulatedCuda, TheHostCannotTouchDeviceMemory) {
  Runtime runtime(0);
  auto* const block = static_cast<volatile char*>(runtime.allocate(64));
  EXPECT_DEATH((void)block[0], "");
  runtime.synchronize();
  EXPECT_DEATH(block[0] = 1, "");
}

__global__ void touch(int* out) { *out = 1; }

TEST_F(EmulatedCuda, AKernelCannotTouchHostMemory) {
  const Runtime runtime(0);
  int on_host = 0;
  EXPECT_THROW(launch(touch, 1, 1, 0, runtime.stream(), &on_host), LaunchError);
}

TEST_F(EmulatedCuda, AKernelNeedsItsDeviceToBeTheCurrentOne) {
  machine().devices.resize(2);
  const Runtime one(0), two(1);
  int* const none = nullptr;
  const Stream stream = one.stream();
  two.make_current();
  EXPECT_THROW(launch(touch, 1, 1, 0, stream, none), LaunchError);
}

TEST_F(EmulatedCuda, PinnedMemoryThatIsReusedTooEarlyGivesWrongNumbers) {
  int wrong = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    set_seed(seed);
    cudaStream_t stream = nullptr;
    void *pinned = nullptr, *block = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    check(cudaMallocHost(&pinned, 1));
    check(cudaMalloc(&block, 1));
    std::memset(pinned, 1, 1);
    check(cudaMemcpyAsync(block, pinned, 1, cudaMemcpyHostToDevice, stream));
    std::memset(pinned, 2, 1);  // without waiting
    char got = 0;
    check(cudaMemcpyAsync(&got, block, 1, cudaMemcpyDeviceToHost, stream));
    check(cudaStreamSynchronize(stream));
    wrong += got != 1;
    check(cudaFree(block));
  }
  EXPECT_GT(wrong, 0);
  EXPECT_LT(wrong, static_cast<int>(seeds));
}

TEST_F(EmulatedCuda, StreamsThatDoNotWaitForEachOtherGiveWrongNumbers) {
  for (const bool waits : {true, false}) {
    int wrong = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      set_seed(seed);
      cudaStream_t one = nullptr, two = nullptr;
      cudaEvent_t ready = nullptr;
      for (cudaStream_t* stream : {&one, &two}) check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
      check(cudaEventCreate(&ready));
      void* block = nullptr;
      check(cudaMalloc(&block, 2));
      auto* const bytes = static_cast<char*>(block);
      check(cudaMemsetAsync(bytes, 1, 1, one));
      check(cudaEventRecord(ready, one));
      if (waits) check(cudaStreamWaitEvent(two, ready));
      check(cudaMemcpyAsync(bytes + 1, bytes, 1, cudaMemcpyDeviceToDevice, two));
      char got = 0;
      check(cudaMemcpyAsync(&got, bytes + 1, 1, cudaMemcpyDeviceToHost, two));
      check(cudaStreamSynchronize(two));
      wrong += got != 1;
      check(cudaEventDestroy(ready));
      check(cudaFree(block));
    }
    EXPECT_EQ(wrong > 0, !waits);
  }
}

}  // namespace
}  // namespace monge::simt
