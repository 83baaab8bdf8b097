// The sections at the end of a report: what its numbers rest on.
#pragma once

#include <vector>

#include "tools/compare/report/analysis.h"
#include "tools/compare/report/page/page.h"

namespace monge::compare {

/// Settings and configurations, every run, build and machine, method.
std::vector<Section> appendix(const Results& results, const Analysis& analysis);

}  // namespace monge::compare
