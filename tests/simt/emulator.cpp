#include "simt/emulator.h"

#include <cxxabi.h>
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "simt/fiber.h"
#include "simt/shared_memory.h"
#include "simt/xorshift.h"

namespace monge::simt {
namespace {

constexpr std::size_t max_threads = 1024;
constexpr unsigned max_blocks = 65535;  // of a grid in y and z

std::uint64_t chosen_seed() {
  const char* const given = std::getenv("MONGE_SIMT_SEED");
  return given == nullptr ? 1 : std::strtoull(given, nullptr, 10);
}

std::uint64_t current_seed = chosen_seed();
std::uint64_t launches = 0;  // since the seed was set

struct Thread {
  enum class State { ready, waits_for_block, waits_for_warp, ended };

  unsigned number = 0;  // in the block
  uint3 index;
  State state = State::ready;
  Fiber* fiber = nullptr;  // once it has started
  const char* waits_at = "";
  Where where;
  unsigned mask = 0;        // of a warp operation
  void* operand = nullptr;  // of a warp operation
  std::vector<std::vector<PendingCopy>> copies;

  unsigned warp() const { return number / warpSize; }
  unsigned lane() const { return number % warpSize; }
};

class Device {
 public:
  void run(const Launch& launch, const std::function<void()>& body);
  void wait_for_block(const Where& where);
  void wait_for_warp(const char* name, unsigned mask, WarpAct act, void* operand, const Where& where);
  Thread& running() { return *running_; }
  SharedMemory& shared() { return shared_; }
  /// How a thread ends the launch: it says what is wrong, and leaves its stack as it is.
  void report(const std::string& problem) { error_ = std::make_exception_ptr(error_of(problem)); }
  [[noreturn]] void leave();

 private:
  static void live();  // the body of every fiber
  void run_block();
  void abandon();
  LaunchError error_of(const std::string& problem) const;
  std::string who_waits_where() const;

  /// Takes one of the threads that can go on, or null.
  Thread* take();
  void make_ready(Thread& thread);
  /// Lets another thread go on; returns when the running one has been chosen again.
  void give_way();
  void enter(Thread& thread) {
    running_ = &thread;
    threadIdx = thread.index;
  }
  Fiber* idle_fiber();

  const Launch* launch_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  Xorshift random_{0};
  SharedMemory shared_;
  std::vector<Thread> threads_;
  std::vector<std::uint32_t> ready_;  // of each warp, its lanes that can go on
  std::uint32_t ready_warps_ = 0;
  unsigned warp_ = 0;  // that goes on
  std::size_t at_barrier_ = 0, ended_ = 0;
  Thread* running_ = nullptr;
  std::exception_ptr error_;

  Fiber main_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
};

Device& device() {
  static Device it;
  return it;
}

// --- the life of a block ---

void Device::run(const Launch& launch, const std::function<void()>& body) {
  launch_ = &launch;
  body_ = &body;
  const dim3 block = launch.block, grid = launch.grid;
  const std::size_t size = std::size_t{block.x} * block.y * block.z;
  blockIdx = {};
  if (size == 0 || size > max_threads) throw error_of(fmt::format("a block has 1 to 1024 threads, not {}", size));
  if (grid.x > INT_MAX || grid.y > max_blocks || grid.z > max_blocks) throw error_of("the grid is too large");
  if (launch.shared_bytes > max_shared_bytes) {
    throw error_of(
        fmt::format("a block has at most {} bytes of shared memory, not {}", max_shared_bytes, launch.shared_bytes));
  }
  blockDim = block;
  gridDim = grid;
  random_ = Xorshift(current_seed + 1000003 * launches++);
  threads_.resize(size);
  ready_.resize((size + warpSize - 1) / warpSize);
  for (unsigned n = 0; n < size; ++n) {
    threads_[n].number = n;
    threads_[n].index = {n % block.x, n / block.x % block.y, n / block.x / block.y};
  }
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z) {
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y) {
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) run_block();
    }
  }
}

void Device::run_block() {
  shared_.poison(launch_->shared_bytes);
  at_barrier_ = ended_ = 0;
  for (Thread& thread : threads_) {
    thread.fiber = nullptr;
    thread.copies.assign(1, {});
    make_ready(thread);
  }
  enter(*take());
  running_->fiber = idle_fiber();
  main_.switch_to(*running_->fiber);
  if (!error_ && ended_ < threads_.size()) {
    error_ = std::make_exception_ptr(error_of("these threads wait for ever: " + who_waits_where()));
  }
  if (error_) {
    abandon();
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
  if (!shared_.margins_intact()) {
    throw error_of(fmt::format("wrote outside of its {} bytes of shared memory", launch_->shared_bytes));
  }
}

/// Runs the thread that was entered; then, as long as nobody has to be switched to, threads that have not started yet.
/// A kernel without barriers needs one fiber and no switch.
void Device::live() {
  Device& self = device();
  for (;;) {
    Fiber* const mine = self.running_->fiber;
    try {
      (*self.body_)();
    } catch (...) {
      self.error_ = std::current_exception();
    }
    if (self.error_) self.leave();
    self.running_->state = Thread::State::ended;
    ++self.ended_;
    Thread* const next = self.take();
    if (next != nullptr) self.enter(*next);
    if (next != nullptr && next->fiber == nullptr) {
      next->fiber = mine;
      continue;
    }
    self.idle_.push_back(mine);
    mine->switch_to(next == nullptr ? self.main_ : *next->fiber);
  }
}

Fiber* Device::idle_fiber() {
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(&Device::live));
    return fibers_.back().get();
  }
  Fiber* const fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

void Device::abandon() {
  idle_.clear();
  for (const auto& fiber : fibers_) {
    fiber->restart();
    idle_.push_back(fiber.get());
  }
  std::fill(ready_.begin(), ready_.end(), 0u);
  ready_warps_ = 0;
}

void Device::leave() {
  running_->fiber->switch_to(main_);
  std::abort();  // nobody switches back
}

// --- whose turn it is ---

void Device::make_ready(Thread& thread) {
  thread.state = Thread::State::ready;
  ready_[thread.warp()] |= 1u << thread.lane();
  ready_warps_ |= 1u << thread.warp();
}

Thread* Device::take() {
  if (ready_warps_ == 0) return nullptr;
  const bool other_turn = random_.next() % 256 == 0;  // a warp goes on for about eight of its operations
  if (other_turn || (ready_warps_ >> warp_ & 1) == 0) warp_ = static_cast<unsigned>(random_.bit_of(ready_warps_));
  const int lane = random_.bit_of(ready_[warp_]);
  ready_[warp_] &= ~(1u << lane);
  if (ready_[warp_] == 0) ready_warps_ &= ~(1u << warp_);
  return &threads_[warp_ * warpSize + static_cast<unsigned>(lane)];
}

void Device::give_way() {
  Fiber& mine = *running_->fiber;
  Thread* const next = take();
  if (next == running_) return;
  if (next == nullptr) return mine.switch_to(main_);
  enter(*next);
  if (next->fiber == nullptr) next->fiber = idle_fiber();
  mine.switch_to(*next->fiber);
}

// --- waiting ---

bool same_place(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

void Device::wait_for_block(const Where& where) {
  Thread& self = *running_;
  self.state = Thread::State::waits_for_block;
  self.waits_at = "__syncthreads";
  self.where = where;
  if (++at_barrier_ == threads_.size()) {
    for (Thread& thread : threads_) {
      if (same_place(thread.where, where)) continue;
      report("divergent __syncthreads: " + who_waits_where());
      leave();
    }
    at_barrier_ = 0;
    for (Thread& thread : threads_) make_ready(thread);
  }
  give_way();
}

void Device::wait_for_warp(const char* name, unsigned mask, WarpAct act, void* operand, const Where& where) {
  Thread& self = *running_;
  self.state = Thread::State::waits_for_warp;
  self.waits_at = name;
  self.where = where;
  self.mask = mask;
  self.operand = operand;
  if ((mask >> self.lane() & 1) == 0) {
    report(fmt::format("{} by a lane outside of its mask: {}", name, who_waits_where()));
    leave();
  }
  void* operands[warpSize] = {};
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = static_cast<unsigned>(std::countr_zero(rest)), number = self.warp() * warpSize + lane;
    const bool there = number < threads_.size() && threads_[number].state == Thread::State::waits_for_warp;
    if (!there) return give_way();
    const Thread& other = threads_[number];
    if (other.mask != mask || !same_place(other.where, where)) return give_way();
    operands[lane] = other.operand;
  }
  if (act != nullptr) act(operands);
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    make_ready(threads_[self.warp() * warpSize + static_cast<unsigned>(std::countr_zero(rest))]);
  }
  give_way();
}

// --- messages ---

LaunchError Device::error_of(const std::string& problem) const {
  return LaunchError(
      fmt::format("kernel {}, grid ({}, {}, {}), block ({}, {}, {}) of ({}, {}, {}) threads: {} [MONGE_SIMT_SEED={}]",
                  launch_->kernel, launch_->grid.x, launch_->grid.y, launch_->grid.z, blockIdx.x, blockIdx.y,
                  blockIdx.z, launch_->block.x, launch_->block.y, launch_->block.z, problem, current_seed));
}

/// "threads 0-31 at __syncthreads (rows.cu:12, in kernel ...); threads 32-63 have ended".
std::string Device::who_waits_where() const {
  const auto place = [](const Thread& thread) -> std::string {
    if (thread.state == Thread::State::ended) return "have ended";
    if (thread.state == Thread::State::ready) return "go on";
    const std::string_view file = thread.where.file_name();
    return fmt::format("at {} ({}:{}, in {})", thread.waits_at, file.substr(file.rfind('/') + 1), thread.where.line(),
                       thread.where.function_name());
  };
  std::string out;
  for (std::size_t first = 0; first < threads_.size();) {
    std::size_t last = first;
    while (last + 1 < threads_.size() && place(threads_[last + 1]) == place(threads_[first])) ++last;
    out += fmt::format("{}{} {}", out.empty() ? "" : "; ",
                       first == last ? fmt::format("thread {}", first) : fmt::format("threads {}-{}", first, last),
                       place(threads_[first]));
    first = last + 1;
  }
  return out;
}

// --- accesses beyond the shared memory ---

/// Runs on the stack of the thread that did it, and leaves it there.
void on_fault(int number, siginfo_t* info, void*) {
  if (device().shared().guards(info->si_addr)) {
    device().report(fmt::format("thread {} touches byte {} of its shared memory, beyond the end",
                                device().running().number, device().shared().index_of(info->si_addr)));
    device().leave();
  }
  signal(number, SIG_DFL);  // the access is tried again and ends the program
}

/// While a kernel runs.
class FaultHandler {
 public:
  FaultHandler() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before_);
  }
  ~FaultHandler() { sigaction(SIGSEGV, &before_, nullptr); }
  FaultHandler(const FaultHandler&) = delete;
  FaultHandler& operator=(const FaultHandler&) = delete;

 private:
  struct sigaction before_ = {};
};

}  // namespace

void set_seed(std::uint64_t seed) {
  if (std::getenv("MONGE_SIMT_SEED") == nullptr) current_seed = seed;
  launches = 0;
}

std::uint64_t seed() { return current_seed; }

void run(const Launch& launch, const std::function<void()>& thread) {
  const FaultHandler handler;
  device().run(launch, thread);
}

void __syncthreads(Where where) { device().wait_for_block(where); }

void warp_operation(const char* name, unsigned mask, WarpAct act, void* operand, const Where& where) {
  device().wait_for_warp(name, mask, act, operand, where);
}

std::vector<std::vector<PendingCopy>>& pending_copies() { return device().running().copies; }

unsigned lane_of_thread() { return device().running().lane(); }

std::string name_of_type(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                    std::free);
  return status == 0 ? name.get() : type.name();
}

void* shared_bytes_of_block() { return device().shared().data(); }

}  // namespace monge::simt
