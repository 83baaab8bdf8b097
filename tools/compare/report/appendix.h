// The sections at the end of a report: what its numbers rest on.
#pragma once

#include <vector>

#include "tools/compare/report/page.h"
#include "tools/compare/report/verdict.h"

namespace monge::compare {

/// Settings and configurations, every run, build and machine, method.
std::vector<Section> appendix(const Results& results, const Verdict& verdict);

}  // namespace monge::compare
