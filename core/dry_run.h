// DryRun: what a computation needs of a device, known without doing it.
//
//   const DryRun dry_run(backend);
//   ... build a model, run it ...
//   backend.memory().usage().peak
#pragma once

#include <cstddef>

#include "core/memory.h"

namespace monge {

class Backend;

/// While one lives, the kernels of a device are checked and not computed, and new tensors have addresses but take no
/// memory until the host writes to them. memory() counts them apart from other tensors; the scratch memory of kernels
/// is not among them. Tensors from before may be used; those made meanwhile must be gone by its end. What is read from
/// the device is not set: Tensor::values() are zeros. May be nested.
class DryRun {
 public:
  /// Throws OutOfMemory where the process may not have addresses.
  explicit DryRun(Backend& backend);
  ~DryRun();
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;

 private:
  /// Addresses that no other block has, in memory that the system gives when it is touched.
  class Addresses {
   public:
    Addresses();
    ~Addresses();
    Addresses(const Addresses&) = delete;
    Addresses& operator=(const Addresses&) = delete;
    /// Null when they are used up.
    void* take(std::size_t bytes);

   private:
    std::size_t size_;
    std::byte* begin_ = nullptr;
    std::size_t taken_ = 0;
  };

  Backend& backend_;
  MemoryPools* const outer_;
  Addresses addresses_;
  MemoryPools memory_;
};

}  // namespace monge
