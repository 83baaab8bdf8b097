// Runtime: copies, recordings and errors, on the emulated device at any pace or (built without MONGE_SIMT) on a real
// one.
#include "core/cuda/runtime.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/tested_runtime.h"

namespace monge::MONGE_GPU {
namespace {

constexpr std::uint64_t seeds = 20;

void begin([[maybe_unused]] std::uint64_t seed) {
#if defined(MONGE_SIMT)
  set_seed(seed);
#endif
}

class RuntimeTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!tested_runtime().runtime) GTEST_SKIP() << tested_runtime().problem;
  }
  void TearDown() override { begin(1); }
};

Runtime& the_runtime() { return *tested_runtime().runtime; }

std::vector<int> numbers(std::size_t n, int first) {
  std::vector<int> out(n);
  std::iota(out.begin(), out.end(), first);
  return out;
}

TEST_F(RuntimeTest, UploadsArriveInOrderAtAnyPace) {
  Runtime& runtime = the_runtime();
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    begin(seed);
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
  Runtime& runtime = the_runtime();
  const std::vector<int> host = numbers(1'000'003, 5);
  void* const block = runtime.allocate(host.size() * sizeof(int));
  runtime.upload(host.data(), block, host.size() * sizeof(int));
  std::vector<int> got(host.size());
  runtime.download(block, got.data(), host.size() * sizeof(int));
  EXPECT_EQ(got, host);
  runtime.release(block);
}

TEST_F(RuntimeTest, ARecordingRunsWhenItIsLaunched) {
  Runtime& runtime = the_runtime();
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    begin(seed);
    constexpr std::size_t bytes = 64;
    auto* const a = static_cast<std::byte*>(runtime.allocate(2 * bytes));
    runtime.zero(a, 2 * bytes);
    const auto graph = runtime.capture([&] { runtime.copy(a, a + bytes, bytes); });
    EXPECT_FALSE(runtime.capturing());
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
  Runtime& runtime = the_runtime();
  void* const block = runtime.allocate(64);
  std::vector<std::byte> host(64);
  EXPECT_THROW(runtime.capture([&] { runtime.upload(host.data(), block, 64); }), std::invalid_argument);
  EXPECT_THROW(runtime.capture([&] { runtime.allocate(64); }), RunError);
  EXPECT_THROW(runtime.capture([&] { runtime.synchronize(); }), RunError);
  EXPECT_THROW(runtime.capture([&] { runtime.download(block, host.data(), 64); }), RunError);
  EXPECT_THROW(runtime.capture([&] { throw std::runtime_error("its own"); }), std::runtime_error);
  EXPECT_FALSE(runtime.capturing());
  runtime.zero(block, 64);  // a launch after an error is none
  runtime.capture([&] { runtime.zero(block, 64); })->launch();
  runtime.download(block, host.data(), 64);
  EXPECT_EQ(host, std::vector<std::byte>(64));
  runtime.release(block);
}

TEST_F(RuntimeTest, AnErrorSaysWhereItWasNoticed) {
  Runtime& runtime = the_runtime();
  try {
    runtime.copy(nullptr, nullptr, 4);
    FAIL() << "nothing was copied to nowhere";
  } catch (const RunError& e) {
    EXPECT_NE(std::string(e.what()).find("cuda: invalid argument (cudaErrorInvalidValue), noticed at runtime.cpp:"),
              std::string::npos)
        << e.what();
  }
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "the next launch would report it";
}

}  // namespace
}  // namespace monge::MONGE_GPU
