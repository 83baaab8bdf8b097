// Runtime over the emulated CUDA: what it says when there is no fitting device, and that its copies, recordings and
// allocations are right whatever the device's pace.
#include "core/cuda/runtime.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace monge::simt {
namespace {

constexpr std::uint64_t seeds = 20;

class RuntimeTest : public testing::Test {
 protected:
  void TearDown() override {
    machine() = Machine();
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

TEST_F(RuntimeTest, SaysWhichDeviceIsMissing) {
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

TEST_F(RuntimeTest, DescribesItself) {
  machine().devices[0] = {
      .name = "H", .totalGlobalMem = std::size_t{141} << 30, .major = 9, .multiProcessorCount = 132};
  const Runtime runtime(0);
  EXPECT_EQ(runtime.description(), "H (sm_90, 132 multiprocessors, 141 GiB), driver for CUDA 13.0, toolkit 13.0");
  EXPECT_EQ(runtime.architecture(), 90);
}

std::vector<int> numbers(std::size_t n, int first) {
  std::vector<int> out(n);
  std::iota(out.begin(), out.end(), first);
  return out;
}

TEST_F(RuntimeTest, UploadsArriveInOrderAtAnyPace) {
  Runtime runtime(0);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    set_seed(seed);
    constexpr std::size_t n = 64, bytes = n * sizeof(int);
    constexpr int uploads = 100;  // more than there are slots
    auto* const block = static_cast<int*>(runtime.allocate(uploads * bytes));
    auto* const last = static_cast<int*>(runtime.allocate(bytes));
    std::vector<int> host;
    for (int i = 0; i < uploads; ++i) {
      host = numbers(n, i * static_cast<int>(n));  // the same memory each time
      runtime.upload(host.data(), last, bytes);
      runtime.copy(last, block + i * n, bytes);
    }
    std::vector<int> got(uploads * n);
    runtime.download(block, got.data(), uploads * bytes);
    EXPECT_EQ(got, numbers(uploads * n, 0)) << "seed " << seed;
    runtime.release(last);
    runtime.release(block);
  }
}

TEST_F(RuntimeTest, LargeUploads) {
  Runtime runtime(0);
  const std::vector<int> host = numbers(1'000'003, 5);
  void* const block = runtime.allocate(host.size() * sizeof(int));
  runtime.upload(host.data(), block, host.size() * sizeof(int));
  std::vector<int> got(host.size());
  runtime.download(block, got.data(), host.size() * sizeof(int));
  EXPECT_EQ(got, host);
  runtime.release(block);
}

TEST_F(RuntimeTest, ARecordingRunsWhenItIsLaunched) {
  Runtime runtime(0);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    set_seed(seed);
    constexpr std::size_t bytes = 64;
    auto* const a = static_cast<std::byte*>(runtime.allocate(2 * bytes));
    runtime.zero(a, 2 * bytes);
    const auto graph = runtime.record([&] { runtime.copy(a, a + bytes, bytes); });
    EXPECT_FALSE(runtime.recording());
    std::vector<char> text(bytes, 'x'), got(bytes);
    runtime.upload(text.data(), a, bytes);
    runtime.download(a + bytes, got.data(), bytes);
    EXPECT_EQ(got, std::vector<char>(bytes, 0));
    graph->launch();
    runtime.download(a + bytes, got.data(), bytes);
    EXPECT_EQ(got, text);
    runtime.release(a);
  }
}

TEST_F(RuntimeTest, WhatCannotBeRecordedIsAnErrorAndTheRuntimeLivesOn) {
  Runtime runtime(0);
  void* const block = runtime.allocate(64);
  std::vector<std::byte> host(64);
  EXPECT_THROW(runtime.record([&] { runtime.upload(host.data(), block, 64); }), std::invalid_argument);
  EXPECT_THROW(runtime.record([&] { runtime.allocate(64); }), RunError);
  EXPECT_THROW(runtime.record([&] { runtime.release(block); }), RunError);
  EXPECT_THROW(runtime.record([&] { runtime.synchronize(); }), RunError);
  EXPECT_THROW(runtime.record([&] { runtime.download(block, host.data(), 64); }), RunError);
  EXPECT_THROW(runtime.record([&] { throw std::runtime_error("its own"); }), std::runtime_error);
  EXPECT_FALSE(runtime.recording());
  runtime.record([&] { runtime.zero(block, 64); })->launch();
  runtime.download(block, host.data(), 64);
  EXPECT_EQ(host, std::vector<std::byte>(64));
  runtime.release(block);
}

TEST_F(RuntimeTest, NoMemoryLeftIsNull) {
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

TEST_F(RuntimeTest, AnErrorSaysWhereItWasNoticed) {
  Runtime runtime(0);
  int on_host = 0;
  try {
    runtime.zero(&on_host, sizeof(on_host));
    FAIL() << "host memory was set";
  } catch (const RunError& e) {
    EXPECT_NE(std::string(e.what()).find("cuda: invalid argument (cudaErrorInvalidValue), noticed at runtime.cpp:"),
              std::string::npos)
        << e.what();
  }
}

// --- the emulation itself: it must see what is wrong ---

TEST_F(RuntimeTest, TheHostCannotTouchDeviceMemory) {
  Runtime runtime(0);
  auto* const block = static_cast<volatile char*>(runtime.allocate(64));
  EXPECT_EXIT((void)block[0], testing::KilledBySignal(SIGSEGV), "");
  runtime.synchronize();
  EXPECT_EXIT(block[0] = 1, testing::KilledBySignal(SIGSEGV), "");
}

TEST_F(RuntimeTest, PinnedMemoryThatIsReusedTooEarlyGivesWrongNumbers) {
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

TEST_F(RuntimeTest, StreamsThatDoNotWaitForEachOtherGiveWrongNumbers) {
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
