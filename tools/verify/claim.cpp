#include "tools/verify/claim.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace monge::tools {
namespace {

constexpr const char* row = "{:<38} {:<15} {:>8}  {:<10} {}\n";

/// A power of ten where it is small.
std::string number_text(double x, int digits) {
  return std::abs(x) >= 0.01 ? fmt::format("{:.2f}", x) : fmt::format("{:.{}e}", x, digits);
}

/// `text` broken into lines of at most 79 columns, those after the first indented.
std::string wrapped(const std::string& text) {
  std::string out, line;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t space = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, space - at);
    if (!line.empty() && line.size() + 1 + word.size() > 79) {
      out += line + "\n";
      line = "  " + word;
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
    at = space + 1;
  }
  return out + line + "\n";
}

}  // namespace

std::vector<Claim> missed(const std::vector<Findings>& all) {
  std::vector<Claim> out;
  for (const Findings& findings : all) {
    for (const Claim& claim : findings.claims) {
      if (!claim.ok()) out.push_back(claim);
    }
  }
  return out;
}

std::string table_text(const Findings& findings) {
  std::string out = wrapped(findings.title) + "\n";
  if (!findings.claims.empty()) {
    out += fmt::format(row, "claim", "source", "measured", "bound", "ok");
    out += std::string(79, '-') + "\n";
  }
  for (const Claim& claim : findings.claims) {
    const std::string bound = (claim.at_least ? ">= " : "<= ") + number_text(claim.bound, 0);
    out += fmt::format(row, claim.text, claim.source.name, number_text(claim.measured, 1), bound,
                       claim.ok() ? "yes" : "NO");
  }
  if (!findings.claims.empty() && !findings.notes.empty()) out += "\n";
  for (const std::string& note : findings.notes) out += wrapped(note);
  return out;
}

std::string references_text(const std::vector<Findings>& all) {
  std::map<std::string, std::string> references;
  for (const Findings& findings : all) {
    for (const Claim& claim : findings.claims) {
      if (!claim.source.reference.empty()) references[claim.source.name] = claim.source.reference;
    }
  }
  std::string out;
  for (const auto& [name, reference] : references) out += wrapped(fmt::format("{}: {}", name, reference));
  return out;
}

Json to_json(const std::vector<Findings>& all) {
  Json out{{"ok", missed(all).empty()}, {"findings", Json::array()}};
  for (const Findings& findings : all) {
    Json claims = Json::array();
    for (const Claim& c : findings.claims) {
      const std::string source =
          c.source.reference.empty() ? c.source.name : fmt::format("{}: {}", c.source.name, c.source.reference);
      claims.push_back({{"claim", c.text},
                        {"source", source},
                        {"measured", c.measured},
                        {c.at_least ? "lower_bound" : "upper_bound", c.bound},
                        {"ok", c.ok()}});
    }
    out["findings"].push_back({{"title", findings.title}, {"claims", claims}, {"notes", findings.notes}});
  }
  return out;
}

}  // namespace monge::tools
