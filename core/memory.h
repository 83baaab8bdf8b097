// Memory: one caching allocator per device, with named pools that count what they hold.
//
// Freed blocks are kept per size class and handed out again, so that after its first step a training step makes no
// system allocation. Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace monge {

/// What a block is for. The plan, the accounting and an out-of-memory message are given per pool.
enum class Pool : std::uint8_t { parameters, gradients, optimizer, activations, scratch, data };
inline constexpr std::size_t pool_count = 6;
std::string_view name_of(Pool pool);

struct PoolUsage {
  std::size_t active = 0;  // bytes in use now
  std::size_t peak = 0;    // largest `active` since the last reset_peak()
};

struct MemoryUsage {
  std::array<PoolUsage, pool_count> pools{};
  std::size_t active = 0;                // bytes in use now, all pools
  std::size_t peak = 0;                  // largest `active` since the last reset_peak()
  std::size_t reserved = 0;              // bytes held from the system: in use or cached
  std::uint64_t system_allocations = 0;  // how often the system was asked for memory

  const PoolUsage& operator[](Pool pool) const { return pools[static_cast<std::size_t>(pool)]; }
};

/// A caching allocator over two raw functions of the device.
class MemoryPools {
 public:
  /// `allocate(bytes)` returns aligned memory or nullptr; `release` takes it back.
  MemoryPools(std::string device, std::function<void*(std::size_t)> allocate,
              std::function<void(void*, std::size_t)> release);
  ~MemoryPools();
  MemoryPools(const MemoryPools&) = delete;
  MemoryPools& operator=(const MemoryPools&) = delete;

  /// A block of at least `bytes` bytes, uninitialised. Throws OutOfMemory.
  std::shared_ptr<void> allocate(std::size_t bytes, Pool pool);

  MemoryUsage usage() const;
  void reset_peak();
  /// Gives cached blocks back to the system.
  void trim();
  /// Refuses to hold more than `bytes` from the system (0: no limit).
  void set_limit(std::size_t bytes);

 private:
  void give_back(void* block, std::size_t size_class, Pool pool);
  void trim_locked();

  const std::string device_;
  const std::function<void*(std::size_t)> allocate_;
  const std::function<void(void*, std::size_t)> release_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;  // size class -> cached blocks
  MemoryUsage usage_;
  std::size_t limit_ = 0;
};

}  // namespace monge
