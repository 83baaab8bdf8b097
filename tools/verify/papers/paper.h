// What a paper claims, checked: its findings, and its figure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/verify/claim.h"

namespace monge::tools {

struct Examined {
  std::vector<Findings> findings;
  std::function<std::string()> figure;  // an SVG document; throws RunError without gnuplot
};

}  // namespace monge::tools
