// The beginning of a report.
#pragma once

#include <vector>

#include "tools/compare/report/analysis.h"
#include "tools/compare/report/page/page.h"

namespace monge::compare {

std::vector<Block> summary(const Results& results, const Analysis& analysis, const std::vector<Lint>& lints);

}  // namespace monge::compare
