// Fiber: a stack of its own and where its code stands on it. Switching costs a few nanoseconds: the registers that the
// calling convention preserves are exchanged, nothing else (x86-64 and AArch64). For one operating system thread.
#pragma once

#include <cstddef>

namespace monge::simt {

class Fiber {
 public:
  /// The fiber of the caller: whoever switches away from it can be switched back to.
  Fiber();
  /// A fiber that enters `body` when it is first switched to. `body` must not return.
  explicit Fiber(void (*body)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves this fiber, which must be the running one, for `next`; returns when somebody switches back.
  void switch_to(Fiber& next);
  /// Forgets where the fiber stood: it will enter its body again. What lived on its stack is not destroyed.
  void restart();

 private:
  static void enter();

  void (*body_)() = nullptr;  // null: the caller's own fiber
  void* stack_ = nullptr;     // lowest address
  std::size_t bytes_ = 0;
  void* top_ = nullptr;     // stack pointer while another fiber runs
  void* shadow_ = nullptr;  // the address sanitizer's record of the stack
};

}  // namespace monge::simt
