#include "core/memory.h"

#include <algorithm>
#include <bit>
#include <string>

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

MemoryPools::~MemoryPools() { trim_locked(); }

std::shared_ptr<void> MemoryPools::allocate(std::size_t bytes, Pool pool) {
  const std::size_t size = size_class_of(bytes);
  void* block = nullptr;
  {
    std::lock_guard lock(mutex_);
    auto& cached = free_[size];
    if (!cached.empty()) {
      block = cached.back();
      cached.pop_back();
    } else {
      const auto fits = [&] { return limit_ == 0 || usage_.reserved + size <= limit_; };
      if (fits()) block = allocate_(size);
      if (block == nullptr) {
        trim_locked();
        if (fits()) block = allocate_(size);
      }
      if (block == nullptr) {
        throw OutOfMemory(fmt::format("out of memory on {}: pool '{}' asked for {:.1f} MiB with {:.1f} MiB in use; {}",
                                      device_, name_of(pool), static_cast<double>(size) / 1048576.0,
                                      static_cast<double>(usage_.active) / 1048576.0, advice_for(pool)));
      }
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
  free_[size_class].push_back(block);
  usage_.pools[static_cast<std::size_t>(pool)].active -= size_class;
  usage_.active -= size_class;
}

void MemoryPools::trim_locked() {
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) {
      release_(block, size);
      usage_.reserved -= size;
    }
    blocks.clear();
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

}  // namespace monge
