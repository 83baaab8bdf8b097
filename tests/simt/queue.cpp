#include "simt/queue.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>

#include "simt/device_memory.h"
#include "simt/emulator.h"
#include "simt/xorshift.h"

namespace monge::simt {
namespace {

std::vector<Queue*>& all_queues() {
  static std::vector<Queue*> queues;
  return queues;
}

/// Of one seed as long as that is in force.
Xorshift& random() {
  static std::uint64_t seeded_with = seed();
  static Xorshift one(seeded_with);
  if (seed() != seeded_with) one = Xorshift(seeded_with = seed());
  return one;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

[[noreturn]] void hang() { throw std::logic_error("the device waits for an event that nobody will record"); }

}  // namespace

Queue::Queue(int device) : device_(device) { all_queues().push_back(this); }
Queue::~Queue() { std::erase(all_queues(), this); }

bool Queue::step() {
  if (items_.empty()) return false;
  const Item& next = items_.front();
  if (next.gate != nullptr && next.gate->reached < next.opens_at) return false;
  const Work work = std::move(items_.front().work);
  items_.pop_front();
  const DeviceMemory::Access access;
  if (work) work();
  return true;
}

void Queue::push(Item item) {
  items_.push_back(std::move(item));
  static const bool blocking = std::getenv("CUDA_LAUNCH_BLOCKING") != nullptr;
  if (blocking) return finish_all();
  while (random().next() % 2 == 0) all_queues()[random().next() % all_queues().size()]->step();
}

void Queue::enqueue(Work work) {
  if (recording_) {
    recorded_.push_back(std::move(work));
  } else {
    push({.work = std::move(work)});
  }
}

void Queue::record(Event& event) {
  enqueue([&event, time = ++event.recorded] {
    event.reached = std::max(event.reached, time);
    event.seconds = now();
  });
}

void Queue::wait_for(const Event& event) { push({.work = {}, .gate = &event, .opens_at = event.recorded}); }

void Queue::finish() {
  const DeviceMemory::Access access;
  while (!items_.empty()) {
    if (step()) continue;
    if (std::ranges::none_of(all_queues(), [](Queue* other) { return other->step(); })) hang();
  }
}

std::vector<Queue::Work> Queue::stop_recording() {
  recording_ = false;
  return std::move(recorded_);
}

void finish_all() {
  for (Queue* const queue : all_queues()) queue->finish();
}

void finish(const Event& event) {
  const DeviceMemory::Access access;
  const std::uint64_t time = event.recorded;
  while (event.reached < time) {
    if (std::ranges::none_of(all_queues(), [](Queue* queue) { return queue->step(); })) hang();
  }
}

}  // namespace monge::simt
