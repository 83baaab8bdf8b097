#include "train/data/grammar/grammar.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <set>
#include <unordered_map>

#include "core/error.h"

namespace monge::train {
namespace {

/// Reads the notation line by line into rules with weights.
class Reader {
 public:
  explicit Reader(std::string_view notation) {
    while (!notation.empty()) {
      const std::size_t end = std::min(notation.find('\n'), notation.size());
      read_line(notation.substr(0, end));
      notation.remove_prefix(std::min(end + 1, notation.size()));
    }
    for (const Grammar::Rule& rule : rules_) {
      require(!rule.alternatives.empty(), "grammar: '{}' is used but has no rule", rule.name);
    }
    require(!rules_.empty(), "grammar: no rules");
  }

  std::vector<Grammar::Rule> take() { return std::move(rules_); }

 private:
  void read_line(std::string_view line) {
    ++line_;
    rest_ = line;
    const bool goes_on = !rest_.empty() && rest_.front() == ' ';
    skip_spaces();
    if (rest_.empty() || rest_.front() == '#') return;
    if (goes_on) {
      expect(current_ >= 0, "a rule to go on with");
    } else {
      current_ = name();
      skip_spaces();
      expect(take_if('='), "'=' after the name of a rule");
      expect(alternatives().empty(), "each rule once");
      begin_alternative();
    }
    while (skip_spaces(), !rest_.empty()) read_symbol();
  }

  void read_symbol() {
    if (take_if('|')) {
      begin_alternative();
    } else if (take_if('"')) {
      literal();
    } else {
      const std::int32_t rule = name();
      alternatives().back().symbols.push_back({.rule = rule});
    }
  }

  void begin_alternative() {
    alternatives().emplace_back();
    skip_spaces();
    if (rest_.empty() || std::isdigit(static_cast<unsigned char>(rest_.front())) == 0) return;
    double& weight = alternatives().back().probability;
    const auto parsed = std::from_chars(rest_.data(), rest_.data() + rest_.size(), weight);
    expect(parsed.ec == std::errc() && weight > 0.0, "a positive weight");
    rest_.remove_prefix(static_cast<std::size_t>(parsed.ptr - rest_.data()));
  }

  void literal() {
    while (expect(!rest_.empty(), "a closing quote"), !take_if('"')) {
      char character = rest_.front();
      rest_.remove_prefix(1);
      if (character == '\\') {
        expect(take_if('n'), "\\n, the one escape");
        character = '\n';
      }
      expect(static_cast<unsigned char>(character) < 128, "ASCII");
      alternatives().back().symbols.push_back({.character = character});
    }
  }

  std::int32_t name() {
    const auto letters = std::ranges::find_if_not(rest_, [](unsigned char c) { return std::isalpha(c) != 0; });
    const std::string found(rest_.begin(), letters);
    expect(!found.empty(), "a name, a \"text\" or '|'");
    rest_.remove_prefix(found.size());
    const auto [place, fresh] = ids_.try_emplace(found, static_cast<std::int32_t>(rules_.size()));
    if (fresh) rules_.push_back({.name = found, .alternatives = {}, .choice = {}});
    return place->second;
  }

  std::vector<Grammar::Alternative>& alternatives() { return rules_[static_cast<std::size_t>(current_)].alternatives; }
  void skip_spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }
  bool take_if(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(bool ok, std::string_view what) const {
    require(ok, "grammar line {}: expected {} at '{}'", line_, what, rest_);
  }

  std::vector<Grammar::Rule> rules_;
  std::unordered_map<std::string, std::int32_t> ids_;
  int line_ = 0;
  std::string_view rest_;      // of the line
  std::int32_t current_ = -1;  // the rule being read
};

}  // namespace

Grammar::Grammar(std::string_view notation) : rules_(Reader(notation).take()) {
  normalise();
  refuse_left_recursion();
  find_moments();
}

void Grammar::normalise() {
  for (Rule& rule : rules_) {
    double sum = 0.0;
    for (const Alternative& alternative : rule.alternatives) sum += alternative.probability;
    std::vector<double> law;
    for (Alternative& alternative : rule.alternatives) law.push_back(alternative.probability /= sum);
    rule.choice.emplace_back(law);
  }
}

void Grammar::refuse_left_recursion() const {
  const auto rule_of = [](Symbol symbol) { return static_cast<std::size_t>(symbol.rule); };
  std::vector<bool> nullable(rules_.size(), false);  // may derive the empty text
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      const bool now = std::ranges::any_of(rules_[i].alternatives, [&](const Alternative& alternative) {
        return std::ranges::all_of(alternative.symbols, [&](Symbol s) { return s.rule >= 0 && nullable[rule_of(s)]; });
      });
      changed = changed || now != nullable[i];
      nullable[i] = now;
    }
  }

  enum class Visit : std::uint8_t { not_yet, open, done };
  std::vector<Visit> visits(rules_.size(), Visit::not_yet);
  const auto visit = [&](const auto& self, std::size_t i) -> void {
    require(visits[i] != Visit::open, "grammar: rule '{}' refers to itself before any text", rules_[i].name);
    if (visits[i] == Visit::done) return;
    visits[i] = Visit::open;
    for (const Alternative& alternative : rules_[i].alternatives) {
      for (const Symbol symbol : alternative.symbols) {
        if (symbol.rule < 0) break;
        self(self, rule_of(symbol));
        if (!nullable[rule_of(symbol)]) break;
      }
    }
    visits[i] = Visit::done;
  };
  for (std::size_t i = 0; i < rules_.size(); ++i) visit(visit, i);
  require(!nullable.front(), "grammar: a sentence of rule '{}' may be empty", rules_.front().name);
}

void Grammar::find_moments() {
  // With M_ij the mean number of rules j in an alternative of rule i, the mean length solves l = c + M l (c: mean
  // number of characters) and the entropy of the derivation H = h + M H (h: entropy of the choice). Iterated from zero
  // both only grow, rounding included, until nothing grows any more; they end when the spectral radius of M is below
  // one, which is when sentences have a finite mean length.
  constexpr int max_iterations = 100000;
  std::vector<double> length(rules_.size(), 0.0);
  std::vector<double> entropy(rules_.size(), 0.0);
  bool grows = true;
  for (int iteration = 0; iteration < max_iterations && grows; ++iteration) {
    grows = false;
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      double next_length = 0.0;
      double next_entropy = 0.0;
      for (const Alternative& alternative : rules_[i].alternatives) {
        const double p = alternative.probability;
        next_entropy -= p * std::log(p);
        for (const Symbol symbol : alternative.symbols) {
          next_length += p * (symbol.rule < 0 ? 1.0 : length[static_cast<std::size_t>(symbol.rule)]);
          next_entropy += p * (symbol.rule < 0 ? 0.0 : entropy[static_cast<std::size_t>(symbol.rule)]);
        }
      }
      grows = grows || next_length > length[i] || next_entropy > entropy[i];
      length[i] = next_length;
      entropy[i] = next_entropy;
    }
  }
  require(!grows && std::isfinite(length.front()),
          "grammar: sentences of rule '{}' have no finite mean length; give its recursive alternatives less weight",
          rules_.front().name);
  sentence_length_ = length.front();
  sentence_entropy_ = entropy.front();
}

std::string Grammar::characters() const {
  std::set<char> found;
  for (const Rule& rule : rules_) {
    for (const Alternative& alternative : rule.alternatives) {
      for (const Symbol symbol : alternative.symbols) {
        if (symbol.rule < 0) found.insert(symbol.character);
      }
    }
  }
  return {found.begin(), found.end()};
}

}  // namespace monge::train
