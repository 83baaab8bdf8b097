#include "simt/device_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>

namespace monge::simt {
namespace {

constexpr std::size_t capacity = std::size_t{1} << 38;  // of addresses: memory is taken where they are used
constexpr std::size_t alignment = 256;
constexpr std::size_t page = std::size_t{2} << 20;  // a large one: few are quickly opened and closed

std::size_t rounded(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

DeviceMemory::DeviceMemory() {
  void* place = mmap(nullptr, capacity + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) throw std::bad_alloc();
  std::size_t room = capacity + page;
  begin_ = static_cast<std::byte*>(std::align(page, capacity, place, room));
  madvise(begin_, capacity, MADV_HUGEPAGE);
}

void* DeviceMemory::take(std::size_t bytes) {
  const std::size_t size = rounded(std::max<std::size_t>(bytes, 1), alignment);
  std::size_t place = top_;
  const auto gap = std::ranges::find_if(gaps_, [size](const auto& each) { return each.second >= size; });
  if (gap != gaps_.end()) {
    place = gap->first;
    if (gap->second > size) gaps_[place + size] = gap->second - size;
    gaps_.erase(gap);
  } else {
    if (size > capacity - top_) return nullptr;
    top_ += size;
  }
  blocks_[place] = size;
  taken_ += size;
  const Access access;
  return std::memset(begin_ + place, 0xFF, size);
}

bool DeviceMemory::give_back(void* block) {
  const auto found = blocks_.find(static_cast<std::size_t>(static_cast<std::byte*>(block) - begin_));
  if (found == blocks_.end()) return false;
  auto [place, size] = *found;
  const Access access;
  std::memset(block, 0xFF, size);  // for those who use it later
  taken_ -= size;
  blocks_.erase(found);
  const auto next = gaps_.find(place + size);
  if (next != gaps_.end()) {
    size += next->second;
    gaps_.erase(next);
  }
  const auto after = gaps_.upper_bound(place);
  if (after != gaps_.begin() && std::prev(after)->first + std::prev(after)->second == place) {
    std::prev(after)->second += size;
  } else {
    gaps_[place] = size;
  }
  return true;
}

bool DeviceMemory::holds(const void* from, std::size_t bytes) const {
  const auto place = static_cast<std::size_t>(static_cast<const std::byte*>(from) - begin_);
  const auto after = blocks_.upper_bound(place);
  if (after == blocks_.begin()) return false;
  const auto [begin, size] = *std::prev(after);
  return place + bytes <= begin + size;
}

void DeviceMemory::protect(int protection) const {
  if (top_ > 0) mprotect(begin_, rounded(top_, page), protection);
}

DeviceMemory::Access::Access() {
  if (device_memory().accesses_++ == 0) device_memory().protect(PROT_READ | PROT_WRITE);
}
DeviceMemory::Access::~Access() {
  if (--device_memory().accesses_ == 0) device_memory().protect(PROT_NONE);
}

DeviceMemory& device_memory() {
  static DeviceMemory one;
  return one;
}

}  // namespace monge::simt
