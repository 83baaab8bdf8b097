#include "core/memory.h"

#include <algorithm>
#include <bit>
#include <string>
#include <tuple>
#include <utility>

#include "core/error.h"

namespace monge {
namespace {

// Eight classes per power of two: at most 12.5 % is lost to rounding, and the equal shapes of equal steps meet again.
std::size_t size_class_of(std::size_t bytes) {
  constexpr std::size_t smallest = 256;
  if (bytes <= smallest) return smallest;
  const std::size_t step = std::max(smallest, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

std::string_view advice_for(Pool pool) {
  switch (pool) {
    case Pool::activations:
    case Pool::scratch: return "lower train.batch (and raise train.accumulate), model.context or set train.recompute";
    case Pool::parameters:
    case Pool::gradients: return "lower model.width or model.layers";
    case Pool::optimizer: return "choose an optimizer with less state (optimizer.name: sgd) or a smaller model";
    case Pool::data: return "lower train.batch or use a smaller data file";
  }
  return "use a smaller model";
}

}  // namespace

std::string_view name_of(Pool pool) {
  constexpr std::array<std::string_view, pool_count> names{"parameters",  "gradients", "optimizer",
                                                           "activations", "scratch",   "data"};
  return names[static_cast<std::size_t>(pool)];
}

MemoryPools::MemoryPools(std::string device, std::function<void*(std::size_t)> allocate,
                         std::function<void(void*, std::size_t)> release)
    : device_(std::move(device)), allocate_(std::move(allocate)), release_(std::move(release)) {}

MemoryPools::~MemoryPools() {
  trim_locked();
  for (const auto& [begin, end] : reserves_) release_(begin, static_cast<std::size_t>(end - begin));
}

std::shared_ptr<void> MemoryPools::allocate(std::size_t bytes, Pool pool) {
  const std::size_t size = size_class_of(bytes);
  void* block = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (apart_ != nullptr) block = take(*apart_, size);
    if (block == nullptr) block = take(free_, size);
    if (block == nullptr) block = carve(size);
    if (block == nullptr) {
      const auto fits = [&] { return limit_ == 0 || usage_.reserved + size <= limit_; };
      if (fits()) block = allocate_(size);
      if (block == nullptr) {
        trim_locked();
        if (fits()) block = allocate_(size);
      }
      if (block == nullptr) throw_out_of_memory(size, pool);
      usage_.reserved += size;
      ++usage_.system_allocations;
    }
    auto& entry = usage_.pools[static_cast<std::size_t>(pool)];
    entry.active += size;
    entry.peak = std::max(entry.peak, entry.active);
    usage_.active += size;
    usage_.peak = std::max(usage_.peak, usage_.active);
  }
  return {block, [this, size, pool](void* p) { give_back(p, size, pool); }};
}

void MemoryPools::give_back(void* block, std::size_t size_class, Pool pool) {
  std::lock_guard lock(mutex_);
  (apart_ != nullptr ? *apart_ : free_)[size_class].push_back(block);
  usage_.pools[static_cast<std::size_t>(pool)].active -= size_class;
  usage_.active -= size_class;
}

void MemoryPools::throw_out_of_memory(std::size_t bytes, Pool pool) const {
  throw OutOfMemory(fmt::format("out of memory on {}: pool '{}' asked for {:.1f} MiB with {:.1f} MiB in use; {}",
                                device_, name_of(pool), static_cast<double>(bytes) / 1048576.0,
                                static_cast<double>(usage_.active) / 1048576.0, advice_for(pool)));
}

void MemoryPools::reserve(std::size_t bytes, Pool pool) {
  const std::lock_guard lock(mutex_);
  trim_locked();
  const bool fits = limit_ == 0 || usage_.reserved + bytes <= limit_;
  auto* const begin = fits ? static_cast<std::byte*>(allocate_(bytes)) : nullptr;
  if (begin == nullptr) throw_out_of_memory(bytes, pool);
  usage_.reserved += bytes;
  ++usage_.system_allocations;
  reserves_.emplace_back(begin, begin + bytes);
  std::tie(reserved_begin_, reserved_end_) = reserves_.back();
}

void* MemoryPools::carve(std::size_t size) {
  if (static_cast<std::size_t>(reserved_end_ - reserved_begin_) < size) return nullptr;
  return std::exchange(reserved_begin_, reserved_begin_ + size);
}

void* MemoryPools::take(FreeBlocks& blocks, std::size_t size_class) {
  const auto cached = blocks.find(size_class);
  if (cached == blocks.end() || cached->second.empty()) return nullptr;
  void* const block = cached->second.back();
  cached->second.pop_back();
  return block;
}

MemoryPools::Capture::Capture(MemoryPools& pools)
    : pools_(pools), apart_(new FreeBlocks, [&pools](FreeBlocks* apart) {
        const std::lock_guard lock(pools.mutex_);
        for (auto& [size, blocks] : *apart) {
          auto& cached = pools.free_[size];
          cached.insert(cached.end(), blocks.begin(), blocks.end());
        }
        delete apart;
      }) {
  const std::lock_guard lock(pools_.mutex_);
  pools_.apart_ = apart_.get();
}

MemoryPools::Capture::~Capture() {
  const std::lock_guard lock(pools_.mutex_);
  pools_.apart_ = nullptr;
}

std::shared_ptr<void> MemoryPools::Capture::blocks() const { return apart_; }

void MemoryPools::trim_locked() {
  const auto from_reserve = [this](const void* block) {
    return std::ranges::any_of(reserves_, [block](const auto& r) { return block >= r.first && block < r.second; });
  };
  for (auto& [size, blocks] : free_) {
    std::erase_if(blocks, [&, size = size](void* block) {
      if (from_reserve(block)) return false;
      release_(block, size);
      usage_.reserved -= size;
      return true;
    });
  }
}

MemoryUsage MemoryPools::usage() const {
  std::lock_guard lock(mutex_);
  return usage_;
}

void MemoryPools::reset_peak() {
  std::lock_guard lock(mutex_);
  for (auto& pool : usage_.pools) pool.peak = pool.active;
  usage_.peak = usage_.active;
}

void MemoryPools::trim() {
  std::lock_guard lock(mutex_);
  trim_locked();
}

void MemoryPools::set_limit(std::size_t bytes) {
  std::lock_guard lock(mutex_);
  limit_ = bytes;
}

std::size_t MemoryPools::limit() const {
  const std::lock_guard lock(mutex_);
  return limit_;
}

}  // namespace monge
