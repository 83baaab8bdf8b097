// Queue: the stream of the emulated device. Work is done while it is asked for, except during a recording, which keeps
// it.
#pragma once

#include <functional>
#include <stdexcept>
#include <vector>

namespace monge::simt {

class Queue {
 public:
  using Work = std::function<void()>;

  void enqueue(Work work) {
    if (recording_) {
      recorded_.push_back(std::move(work));
    } else {
      work();
    }
  }
  void start_recording() { recording_ = true; }
  /// What has been enqueued since.
  std::vector<Work> stop_recording() {
    recording_ = false;
    return std::move(recorded_);
  }
  /// Throws when there is a recording: a device cannot be waited for then.
  void wait() const {
    if (recording_) throw std::logic_error("the device is waited for in a recording");
  }

 private:
  bool recording_ = false;
  std::vector<Work> recorded_;
};

}  // namespace monge::simt
