#include "core/profile/profile.h"

#include <atomic>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "core/error.h"

namespace monge::profile {
namespace {

std::atomic<bool> is_active{false};

struct Record {
  std::mutex mutex;
  Clock::time_point start;
  std::vector<std::thread::id> threads;
  std::vector<Event> events;

  /// Call with the mutex held.
  int number_of(std::thread::id thread) {
    for (std::size_t i = 0; i < threads.size(); ++i) {
      if (threads[i] == thread) return static_cast<int>(i);
    }
    threads.push_back(thread);
    return static_cast<int>(threads.size()) - 1;
  }
};

Record& record() {
  static auto* const the_only = new Record;  // outlives threads that are still in a span at exit
  return *the_only;
}

}  // namespace

double KernelCall::bytes() const {
  return std::accumulate(operands.begin(), operands.end(), 0.0,
                         [](double sum, const Operand& operand) { return sum + operand.bytes(); });
}

void start() {
  constexpr std::size_t many = 1 << 14;  // no reallocation in the middle of a span, for a few steps of a small model
  Record& r = record();
  const std::lock_guard lock(r.mutex);
  require(!is_active, "[profile] a profile is already active");
  r.threads = {std::this_thread::get_id()};
  r.events.clear();
  r.events.reserve(many);
  r.start = Clock::now();
  is_active = true;
}

bool active() { return is_active.load(std::memory_order_relaxed); }

std::vector<Event> stop() {
  Record& r = record();
  const std::lock_guard lock(r.mutex);
  is_active = false;
  return std::exchange(r.events, {});
}

Span::Span(const char* name, KernelCall&& call) {
  if (!active()) return;
  name_ = name;
  call_ = std::move(call);
  begin_ = Clock::now();
}

Span::~Span() {
  if (name_ == nullptr) return;
  const Clock::time_point end = Clock::now();
  Record& r = record();
  const std::lock_guard lock(r.mutex);
  if (!is_active || begin_ < r.start) return;
  r.events.push_back({name_, r.number_of(std::this_thread::get_id()), begin_, end, std::move(call_)});
}

}  // namespace monge::profile
