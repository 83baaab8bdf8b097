// SlowWork: long work that nobody should wait for in silence, and that a stop request ends.
#pragma once

#include <chrono>
#include <string>

#include "train/console/progress.h"

namespace monge::train {

class SlowWork {
 public:
  /// `what` for people, and how much there is to do of it.
  SlowWork(std::string what, double all);

  /// Call it often. After some seconds it says how far the work has come, on stderr; throws Interrupted where a stop
  /// has been requested.
  void reached(double done) {
    if (++calls_ % calls_between_looks == 0) look(done);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr unsigned calls_between_looks = 64;
  void look(double done);

  const std::string what_;
  const double all_;
  unsigned calls_ = 0;
  Progress progress_;
  Clock::time_point next_;
};

}  // namespace monge::train
