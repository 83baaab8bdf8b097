#include "train/console/slow_work.h"

#include <fmt/format.h>

#include "train/console/interrupt.h"

namespace monge::train {

SlowWork::SlowWork(std::string what, double all)
    : what_(std::move(what)), all_(all), progress_(stderr), next_(Clock::now() + std::chrono::seconds(3)) {}

void SlowWork::look(double done) {
  stop_here_if_interrupted();
  const Clock::time_point now = Clock::now();
  if (now < next_) return;
  progress_.update(fmt::format("{}: {} of {}", what_, count_text(done), count_text(all_)));
  next_ = now + (progress_.rewrites() ? std::chrono::milliseconds(200) : std::chrono::seconds(10));
}

}  // namespace monge::train
