#include "core/dry_run.h"

#include <sys/mman.h>

#include "core/backend.h"
#include "core/error.h"

namespace monge {

DryRun::Addresses::Addresses() : size_(std::size_t{1} << 46) {  // half of what a process has
  // A process may be limited to fewer.
  for (constexpr std::size_t least = std::size_t{1} << 20; size_ >= least; size_ /= 2) {
    void* const begin =
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin == MAP_FAILED) continue;
    begin_ = static_cast<std::byte*>(begin);
    return;
  }
  throw OutOfMemory("the memory of a run cannot be planned: this process may not have addresses (ulimit -v)");
}

DryRun::Addresses::~Addresses() { ::munmap(begin_, size_); }

void* DryRun::Addresses::take(std::size_t bytes) {
  if (size_ - taken_ < bytes) return nullptr;
  void* const block = begin_ + taken_;
  taken_ += bytes;
  return block;
}

DryRun::DryRun(Backend& backend)
    : backend_(backend),
      outer_(backend.dry_memory_),
      memory_(
          backend.device().str(), [this](std::size_t bytes) { return addresses_.take(bytes); },
          [](void*, std::size_t) {}) {
  backend_.dry_memory_ = &memory_;
}

DryRun::~DryRun() { backend_.dry_memory_ = outer_; }

}  // namespace monge
