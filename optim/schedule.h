// Schedule: the learning rate of a step. Registered by name for `optimizer.schedule`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/options/registry.h"

namespace monge::optim {

/// What a schedule is made for.
struct ScheduleContext {
  double lr = 0.0;         // peak
  std::int64_t steps = 0;  // of the whole run
};

class Schedule {
 public:
  virtual ~Schedule() = default;
  /// Learning rate of step 1 <= step <= steps.
  virtual double lr(std::int64_t step) const = 0;
  /// What users should know about these settings for this run, a sentence each.
  virtual std::vector<std::string> notes() const { return {}; }
};

Registry<Schedule, const ScheduleContext&>& schedules();

}  // namespace monge::optim
