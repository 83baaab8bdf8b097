// SharedMemory: the shared memory of the running block, which ends right before a page that cannot be touched.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>

namespace monge::simt {

class SharedMemory {
 public:
  SharedMemory() {
    void* const memory = mmap(nullptr, room + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    begin_ = static_cast<std::byte*>(memory);
    mprotect(begin_ + room, guard, PROT_NONE);
  }
  ~SharedMemory() { munmap(begin_, room + guard); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// `bytes` of NaN, and a margin on both sides that nobody may write.
  void poison(std::size_t bytes) {
    bytes_ = bytes;
    std::memset(data() - margin, 0xFF, room - offset() + margin);
  }
  std::byte* data() const { return begin_ + offset(); }
  bool guards(const void* address) const { return address >= begin_ + room && address < begin_ + room + guard; }
  std::ptrdiff_t index_of(const void* address) const { return static_cast<const std::byte*>(address) - data(); }
  bool margins_intact() const {
    const auto untouched = [](const std::byte* from, const std::byte* to) {
      return std::all_of(from, to, [](std::byte b) { return b == std::byte{0xFF}; });
    };
    return untouched(data() - margin, data()) && untouched(data() + bytes_, begin_ + room);
  }

 private:
  static constexpr std::size_t guard = 64 * 1024, room = 256 * 1024, margin = 1024;
  std::size_t offset() const { return room - (bytes_ + 15) / 16 * 16; }

  std::byte* begin_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace monge::simt
