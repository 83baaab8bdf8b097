// Queue: a stream of the emulated device. Work is done in the order of its queue, at any time after it was asked for:
// some of it at once, some of it when somebody waits, at random. A result that is right for several seeds does
// not need the device to be quick or slow.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace monge::simt {

/// A point in the work of a queue (cudaEvent_t).
struct Event {
  std::uint64_t recorded = 0;  // how often it was asked for
  std::uint64_t reached = 0;   // the last time of these that the device has come to
  double seconds = 0.0;        // when that was
};

class Queue {
 public:
  using Work = std::function<void()>;

  explicit Queue(int device = 0);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  int device() const { return device_; }

  /// Later work of this queue, or part of the recording under way.
  void enqueue(Work work);
  void record(Event& event);
  /// Later work of this queue begins when the event has come to where it is now.
  void wait_for(const Event& event);

  /// Does the next piece of work; false when there is none or it has to wait.
  bool step();
  /// Does all work of this queue, and what it waits for. Throws what the work throws.
  void finish();

  void start_recording() { recording_ = true; }
  bool recording() const { return recording_; }
  /// What has been enqueued since.
  std::vector<Work> stop_recording();

 private:
  struct Item {
    Work work;
    const Event* gate = nullptr;
    std::uint64_t opens_at = 0;
  };
  void push(Item item);

  const int device_;
  std::deque<Item> items_;
  bool recording_ = false;
  std::vector<Work> recorded_;
};

/// Does the work of all queues.
void finish_all();
/// Does work until the event has come to where it is now.
void finish(const Event& event);

}  // namespace monge::simt
