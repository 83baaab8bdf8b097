// Plan: all runs of a comparison that can be named, given the losses of those that are finished.
//
// On every workload the variants are tuned, each by its own search; those that needed fewer settings than the others
// spend the difference around their best one; then the best settings are run with fresh seeds on every budget. The plan
// is a function of the losses, which do not depend on what finished first: a comparison that is started again, with
// other jobs, or after a kill asks for the same runs in the same order.
#pragma once

#include <functional>
#include <optional>

#include "tools/compare/comparison.h"

namespace monge::compare {

/// The final loss of a finished run, infinite for one that diverged or failed; nothing while it is not finished.
using LossOf = std::function<std::optional<double>(const PlannedRun&)>;

struct Plan {
  std::vector<PlannedRun> runs;  // in the order of the report; each once
  std::vector<Tuned> tuned;      // for each workload, then variant: as far as its tuning has come
  bool complete = true;          // every run is finished, and the last one is among them
};

Plan make_plan(Comparison& comparison, const LossOf& loss_of);

}  // namespace monge::compare
