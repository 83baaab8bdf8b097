// Lints: what a reader must know before believing a comparison.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/compare/report/analysis.h"

namespace monge::compare {

/// `error`: the ranking it names is not fair or not finished. `warning`: read the numbers with this in mind. `note`:
/// what the numbers cannot say.
enum class Severity : std::uint8_t { error, warning, note };
std::string_view severity_name(Severity severity);

struct Lint {
  Severity severity = Severity::note;
  std::string text;  // what is the case, what it means, what to do
};

/// The most severe first.
std::vector<Lint> find_lints(const Results& results, const Analysis& analysis);

}  // namespace monge::compare
