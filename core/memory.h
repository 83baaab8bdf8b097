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
  using FreeBlocks = std::map<std::size_t, std::vector<void*>>;  // size class -> cached blocks

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
  /// Takes `bytes` from the system at once; blocks come from there until it is used up, and stay. Throws OutOfMemory,
  /// in the name of `pool`.
  void reserve(std::size_t bytes, Pool pool);
  /// Refuses to hold more than `bytes` from the system (0: no limit).
  void set_limit(std::size_t bytes);
  std::size_t limit() const;

  /// While it lives, blocks that are given back are set apart, and handed out before others: for kernel calls that will
  /// be replayed on the same memory. A block that is still in use at its end stays an ordinary block. The result of
  /// blocks() owns those set apart; dropping it returns them to the pool.
  class Capture {
   public:
    explicit Capture(MemoryPools& pools);
    ~Capture();
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    std::shared_ptr<void> blocks() const;

   private:
    friend MemoryPools;
    MemoryPools& pools_;
    std::shared_ptr<FreeBlocks> apart_;
  };

 private:
  void give_back(void* block, std::size_t size_class, Pool pool);
  /// A cached block, or null.
  static void* take(FreeBlocks& blocks, std::size_t size_class);
  /// A new block of the reserve, or null.
  void* carve(std::size_t size);
  void trim_locked();

  const std::string device_;
  const std::function<void*(std::size_t)> allocate_;
  const std::function<void(void*, std::size_t)> release_;
  mutable std::mutex mutex_;
  [[noreturn]] void throw_out_of_memory(std::size_t bytes, Pool pool) const;

  FreeBlocks free_;
  std::byte* reserved_begin_ = nullptr;  // what is left of the reserve
  std::byte* reserved_end_ = nullptr;
  std::vector<std::pair<std::byte*, std::byte*>> reserves_;
  FreeBlocks* apart_ = nullptr;  // of the capture under way
  MemoryUsage usage_;
  std::size_t limit_ = 0;
};

}  // namespace monge
