// Claims: statements of theory, each with what was measured, as tables for people and JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"

namespace monge::tools {

/// Where a claim comes from: a short name for the table and the full reference below it. Without a reference the claim
/// is this project's own.
struct Source {
  std::string name = "this project";
  std::string reference;
};

/// One claim, over all problems that it was tried on.
struct Claim {
  std::string text;
  Source source;
  double measured = 0.0;  // the worst error, or what the text says
  double bound = 0.0;
  bool at_least = false;  // the bound is a lower one

  /// NaN is not ok.
  bool ok() const { return at_least ? measured >= bound : measured <= bound; }
};

/// The claims about one set of problems.
struct Findings {
  std::string title;
  std::vector<Claim> claims;
  std::vector<std::string> notes;  // what was left out, and figures without a bound
};

/// Claims of all findings that missed their bound.
std::vector<Claim> missed(const std::vector<Findings>& all);

/// The table *claim, source, measured, bound, ok*, 79 columns wide, with its notes.
std::string table_text(const Findings& findings);
/// The full references of the sources, a line each.
std::string references_text(const std::vector<Findings>& all);
Json to_json(const std::vector<Findings>& all);

}  // namespace monge::tools
