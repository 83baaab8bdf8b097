// Gathering: Results from a plan and the folders of its runs.
#pragma once

#include "tools/compare/runs/runs.h"
#include "tools/compare/search/plan.h"

namespace monge::compare {

/// Everything that is finished. `build` says which program this is.
Results gather(Comparison& comparison, const Plan& plan, Runs& runs, const std::string& build);

}  // namespace monge::compare
