// RunPlan: all runs of a comparison that can be named, given the losses of those that are finished.
//
// On every workload the variants are tuned, each by its own search; those that needed fewer settings than the others
// spend the difference around their best one; then the best settings are run with fresh seeds on every budget. The plan
// is a function of the losses, which do not depend on what finished first: a comparison that is started again, with
// other jobs, or after a kill asks for the same runs in the same order.
//
// A variant is dropped on a workload when one of its tuning runs fails (to diverge is not to fail): it would fail
// again.
#pragma once

#include <functional>
#include <optional>

#include "tools/compare/search/comparison.h"

namespace monge::compare {

/// The loss of a run that has ended.
struct FinishedRun {
  double loss = 0.0;  // infinite: it diverged
  bool failed = false;
};
/// Nothing for a run that has not ended.
using FinishedRuns = std::function<std::optional<FinishedRun>(const PlannedRun&)>;

struct RunPlan {
  std::vector<PlannedRun> runs;  // in the order of the report; each once
  std::vector<Tuned> tuned;      // by workload, then variant, without those dropped: the tuning so far
  bool searching = false;        // a search waits for losses, and will ask for more runs
  bool complete = true;          // every run has ended, and the last one is among them
};

RunPlan plan_runs(Comparison& comparison, const FinishedRuns& finished);

}  // namespace monge::compare
