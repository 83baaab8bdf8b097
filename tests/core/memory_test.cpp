#include "core/memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "core/error.h"

namespace monge {
namespace {

/// A system that counts what it lends and has `capacity` bytes.
struct System {
  std::size_t capacity = ~std::size_t{0};
  std::size_t lent = 0;
  int allocations = 0, releases = 0;

  MemoryPools pools() {
    return MemoryPools(
        "toy",
        [this](std::size_t bytes) -> void* {
          if (lent + bytes > capacity) return nullptr;
          lent += bytes;
          ++allocations;
          return std::malloc(bytes);
        },
        [this](void* block, std::size_t bytes) {
          lent -= bytes;
          ++releases;
          std::free(block);
        });
  }
};

/// The message of the OutOfMemory that allocating throws; empty when it does not throw.
std::string refusal(MemoryPools& memory, std::size_t bytes, Pool pool) {
  try {
    memory.allocate(bytes, pool);
  } catch (const OutOfMemory& error) {
    return error.what();
  }
  return {};
}

TEST(Memory, CountsActiveAndPeakPerPool) {
  System system;
  MemoryPools memory = system.pools();
  auto weights = memory.allocate(4096, Pool::parameters);
  auto first = memory.allocate(2048, Pool::activations);
  auto second = memory.allocate(1024, Pool::activations);
  first.reset();
  const MemoryUsage usage = memory.usage();
  EXPECT_EQ(usage[Pool::parameters].active, 4096u);
  EXPECT_EQ(usage[Pool::activations].active, 1024u);
  EXPECT_EQ(usage[Pool::activations].peak, 3072u);
  EXPECT_EQ(usage[Pool::scratch].peak, 0u);
  EXPECT_EQ(usage.active, 5120u);
  EXPECT_EQ(usage.peak, 7168u);
  EXPECT_EQ(usage.reserved, 7168u);
  EXPECT_EQ(usage.system_allocations, 3u);

  memory.reset_peak();
  EXPECT_EQ(memory.usage().peak, 5120u);
  EXPECT_EQ(memory.usage()[Pool::activations].peak, 1024u);
}

TEST(Memory, ABlockIsBigEnoughAndLittleIsLost) {
  System system;
  MemoryPools memory = system.pools();
  for (std::size_t bytes = 0; bytes < 300000; bytes += 1 + bytes / 7) {
    const auto before = memory.usage().active;
    const auto block = memory.allocate(bytes, Pool::scratch);
    const auto got = memory.usage().active - before;
    EXPECT_GE(got, bytes);
    EXPECT_LE(got, bytes + std::max<std::size_t>(256, bytes / 8)) << bytes;
  }
}

TEST(Memory, TheSecondIdenticalRoundAsksTheSystemForNothing) {
  System system;
  MemoryPools memory = system.pools();
  const auto round = [&] {
    std::vector<std::shared_ptr<void>> blocks;
    for (const std::size_t bytes : {100, 5000, 5000, 70000, 0}) blocks.push_back(memory.allocate(bytes, Pool::scratch));
  };
  round();
  const auto once = memory.usage();
  EXPECT_EQ(once.system_allocations, 5u);
  EXPECT_EQ(once.active, 0u);
  for (int i = 0; i < 10; ++i) round();
  EXPECT_EQ(memory.usage().system_allocations, 5u);
  EXPECT_EQ(system.allocations, 5);
  EXPECT_EQ(memory.usage().reserved, once.reserved);
  EXPECT_EQ(memory.usage().peak, once.peak);
}

TEST(Memory, ACachedBlockServesNearbySizesAndOtherPools) {
  System system;
  MemoryPools memory = system.pools();
  const void* address = memory.allocate(70000, Pool::activations).get();
  const auto again = memory.allocate(69000, Pool::scratch);
  EXPECT_EQ(again.get(), address);
  EXPECT_EQ(memory.usage()[Pool::activations].active, 0u);
  EXPECT_GT(memory.usage()[Pool::scratch].active, 0u);
}

TEST(Memory, TrimReturnsOnlyCachedBlocks) {
  System system;
  MemoryPools memory = system.pools();
  const auto kept = memory.allocate(4096, Pool::parameters);
  memory.allocate(8192, Pool::scratch);
  EXPECT_EQ(memory.usage().reserved, 12288u);
  memory.trim();
  EXPECT_EQ(memory.usage().reserved, 4096u);
  EXPECT_EQ(system.lent, 4096u);
}

TEST(Memory, EverythingGoesBackToTheSystemInTheEnd) {
  System system;
  {
    MemoryPools memory = system.pools();
    for (const std::size_t bytes : {100, 5000, 70000}) memory.allocate(bytes, Pool::data);
  }
  EXPECT_EQ(system.lent, 0u);
  EXPECT_EQ(system.releases, system.allocations);
}

TEST(Memory, TheLimitNamesDevicePoolAndSetting) {
  System system;
  MemoryPools memory = system.pools();
  memory.set_limit(10000);
  const auto held = memory.allocate(8192, Pool::parameters);
  const std::string activations = refusal(memory, 4096, Pool::activations);
  for (const char* part : {"toy", "'activations'", "train.batch"}) {
    EXPECT_NE(activations.find(part), std::string::npos) << activations;
  }
  const std::string optimizer = refusal(memory, 4096, Pool::optimizer);
  for (const char* part : {"'optimizer'", "optimizer.name"}) {
    EXPECT_NE(optimizer.find(part), std::string::npos) << optimizer;
  }
  EXPECT_EQ(memory.usage().active, 8192u);
  EXPECT_EQ(system.allocations, 1);
  memory.set_limit(0);
  EXPECT_TRUE(refusal(memory, 4096, Pool::activations).empty());
}

TEST(Memory, CachedBlocksMakeRoomBeforeTheLimitRefuses) {
  System system;
  MemoryPools memory = system.pools();
  memory.set_limit(10000);
  memory.allocate(8192, Pool::scratch);  // cached from here on
  EXPECT_TRUE(refusal(memory, 4096, Pool::scratch).empty());
  EXPECT_EQ(system.releases, 1);
}

TEST(Memory, CachedBlocksMakeRoomBeforeTheSystemRefuses) {
  System system{.capacity = 10000};
  MemoryPools memory = system.pools();
  memory.allocate(8192, Pool::scratch);
  EXPECT_TRUE(refusal(memory, 4096, Pool::scratch).empty());
  EXPECT_FALSE(refusal(memory, 16384, Pool::scratch).empty());
}

TEST(Memory, AReserveIsOneAllocationThatStays) {
  System system;
  {
    MemoryPools memory = system.pools();
    memory.reserve(8192, Pool::activations);
    EXPECT_EQ(system.allocations, 1);
    auto a = memory.allocate(4096, Pool::activations), b = memory.allocate(4096, Pool::scratch);
    EXPECT_EQ(static_cast<std::byte*>(b.get()) - static_cast<std::byte*>(a.get()), 4096);
    EXPECT_EQ(system.allocations, 1);
    auto beyond = memory.allocate(256, Pool::scratch);
    EXPECT_EQ(system.allocations, 2);
    const void* const first = a.get();
    a.reset();
    beyond.reset();
    memory.trim();  // gives back what is not of the reserve
    EXPECT_EQ(system.lent, 8192u);
    EXPECT_EQ(memory.allocate(4096, Pool::activations).get(), first);
    EXPECT_EQ(memory.usage().reserved, 8192u);
  }
  EXPECT_EQ(system.lent, 0u);
}

TEST(Memory, AReserveThatDoesNotFitNamesPoolAndSetting) {
  System system{.capacity = 4096};
  MemoryPools memory = system.pools();
  try {
    memory.reserve(8192, Pool::activations);
    FAIL() << "reserved";
  } catch (const OutOfMemory& error) {
    EXPECT_NE(std::string(error.what()).find("pool 'activations'"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("train.batch"), std::string::npos) << error.what();
  }
}

TEST(Memory, WhatARecordingFreedIsItsOwnUntilItGoes) {
  System system;
  MemoryPools memory = system.pools();
  const void* const cached = memory.allocate(4096, Pool::activations).get();  // back in the cache at once
  std::shared_ptr<void> kept;
  {
    const MemoryPools::Capture capture(memory);
    EXPECT_EQ(memory.allocate(4096, Pool::activations).get(), cached);  // from the cache of before,
    EXPECT_EQ(memory.allocate(4096, Pool::activations).get(), cached);  // then from the recording's own
    kept = capture.blocks();
  }
  EXPECT_NE(memory.allocate(4096, Pool::activations).get(), cached);
  kept.reset();
  const auto one = memory.allocate(4096, Pool::activations), other = memory.allocate(4096, Pool::activations);
  EXPECT_TRUE(one.get() == cached || other.get() == cached);
}

TEST(Memory, ThreadsMayAllocateTogether) {
  MemoryPools memory(
      "toy", [](std::size_t bytes) { return std::malloc(bytes); }, [](void* block, std::size_t) { std::free(block); });
  const auto work = [&] {
    for (std::size_t i = 0; i < 2000; ++i) {
      const auto a = memory.allocate(64 * (i % 17), Pool::scratch);
      const auto b = memory.allocate(1000 * (i % 5), Pool::activations);
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(memory.usage().active, 0u);
  EXPECT_EQ(memory.usage()[Pool::scratch].active, 0u);
}

}  // namespace
}  // namespace monge
