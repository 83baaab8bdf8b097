// Lints: what a reader must know before believing a comparison.
#pragma once

#include <vector>

#include "tools/compare/report/analysis.h"
#include "tools/compare/report/page/page.h"

namespace monge::compare {

/// The most severe first.
std::vector<Lint> find_lints(const Results& results, const Analysis& analysis);

}  // namespace monge::compare
