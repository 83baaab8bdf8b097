// Results from a plan and the folders of its runs.
#pragma once

#include "tools/compare/runs/results.h"
#include "tools/compare/runs/runs.h"
#include "tools/compare/search/plan.h"

namespace monge::compare {

/// Everything that is finished. `build` says which program this is.
Results collect_results(Comparison& comparison, const RunPlan& plan, Runs& runs, const std::string& build);

}  // namespace monge::compare
