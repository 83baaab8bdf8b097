// What a report says first: a matrix of verdicts, what they are about, and what to know before believing them.
#include "tools/compare/report/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/compare/report/loss_table.h"
#include "tools/compare/report/page/wording.h"

namespace monge::compare {
namespace {

class SummaryBuilder {
 public:
  SummaryBuilder(const Results& results, const Analysis& analysis, const std::vector<Lint>& lints)
      : results_(results),
        analysis_(analysis),
        lints_(lints),
        baseline_(results.variants[results.baseline].name),
        noun_(variant_noun(results)) {}

  std::vector<Block> blocks() const {
    std::vector<Block> blocks;
    if (!results_.description.empty()) blocks.push_back(Paragraph{results_.description});
    const auto errors = std::ranges::count(lints_, Severity::error, &Lint::severity);
    if (errors > 0) {
      blocks.push_back(
          Paragraph{fmt::format("Read this first: {} below {} why this comparison is not yet fair or not finished.",
                                count(static_cast<std::size_t>(errors), "error"), errors == 1 ? "says" : "say")});
    }
    blocks.push_back(matrix());
    blocks.push_back(Paragraph{matrix_key()});
    blocks.push_back(Paragraph{scope()});
    if (std::ranges::any_of(results_.tuned, [](const Tuned& tuned) { return tuned.budget != 1.0; })) {
      blocks.push_back(Paragraph{"Settings were tuned anew at every budget, and are those of that budget."});
    }
    if (kept_at_other_budgets()) {
      blocks.push_back(Paragraph{
          "Settings were tuned at the budget 1 and kept at the others: what is claimed there is of these settings, "
          "which another tuning at that budget may beat (tune.at)."});
    }
    for (const Variant& v : results_.variants) {
      if (v.unlike.empty()) continue;
      blocks.push_back(Paragraph{fmt::format("Not like with like: {} also differs in {}.", v.name, listing(v.unlike))});
    }
    if (const std::string text = findings(); !text.empty()) blocks.push_back(Paragraph{text});
    std::string limits =
        "Lower and higher are claims about the final loss of typical runs after the same number of steps. Not "
        "distinguishable does not mean equal. This report says nothing about other workloads, sizes or budgets.";
    if (analysis_.comparisons > 0) {
      limits += fmt::format(
          " All claims, verdicts, letters and intervals, come from one family of {}, corrected together: the chance "
          "of any false claim is at most {}.",
          count(analysis_.comparisons, "pair"), percent(results_.level));
    }
    blocks.push_back(Paragraph{limits});
    if (!lints_.empty()) blocks.push_back(lints_);
    return blocks;
  }

 private:
  const std::string& variant(std::size_t i) const { return results_.variants[i].name; }

  // The matrix

  /// A sign for each verdict, so that colour is not needed.
  static const char* sign_of(const Row& row) {
    if (!row.contrast) return row.diverged > 0 ? "✕" : "–";
    switch (row.contrast->verdict) {
      case Contrast::Verdict::lower: return "▼";
      case Contrast::Verdict::higher: return "▲";
      case Contrast::Verdict::equivalent: return "≈";
      case Contrast::Verdict::solved: return "✓";
      case Contrast::Verdict::open: return row.diverged > 0 ? "✕" : "·";
    }
    return "";
  }

  Cell matrix_cell(const Table& table, std::size_t which) const {
    const Row& row = table.row_of(which);
    if (row.losses.empty()) return {"no runs", Tone::bad};
    if (which == results_.baseline) return {row.diverged > 0 ? "✕" : fixed(row.mean, 3), Tone::quiet};
    std::string size;
    if (row.excess_ratio) {
      size = " " + factor(row.excess_ratio->ratio, ratio_decimals(row.excess_ratio->interval));
    } else if (row.contrast && std::isfinite(row.contrast->difference)) {
      size = " " + difference(row.contrast->difference, std::min(decimals_of(table), 4));
    }
    return {sign_of(row) + size, result_cell(results_, row).tone};
  }

  /// Those most often better than the baseline first, and it among them.
  std::vector<std::size_t> by_claims() const {
    std::vector<std::pair<int, std::size_t>> order;
    for (std::size_t i = 0; i < results_.variants.size(); ++i) {
      int worse = 0;
      for (const Table& table : analysis_.tables) {
        const std::optional<Contrast>& c = table.row_of(i).contrast;
        if (c && c->differs()) worse += c->verdict == Contrast::Verdict::higher ? 1 : -1;
      }
      order.emplace_back(worse, i);
    }
    std::ranges::stable_sort(order, {}, [&](const auto& entry) {
      return std::pair(entry.first, entry.second == results_.baseline ? 0 : 1);
    });
    std::vector<std::size_t> variants;
    for (const auto& [worse, i] : order) variants.push_back(i);
    return variants;
  }

  Grid matrix() const {
    Grid grid{.columns = {{noun_, false}}};
    for (const Table& table : analysis_.tables) grid.columns.push_back({table_name(results_, table)});
    for (const std::size_t i : by_claims()) {
      std::vector<Cell>& cells = grid.rows.emplace_back(std::vector<Cell>{variant(i)});
      for (const Table& table : analysis_.tables) cells.push_back(matrix_cell(table, i));
    }
    return grid;
  }

  std::string matrix_key() const {
    return fmt::format(
        "Against {}, whose mean loss is shown: ▼ lower, ▲ higher final loss; · not distinguishable; ≈ equivalent; ✓ "
        "both at the best possible loss; ✕ runs diverged; – not tested. With × the ratio of excess losses, else the "
        "difference.",
        baseline_);
  }

  // Summary

  /// Whether the places of a verdict can be named; of many the matrix tells.
  bool few_tables() const { return analysis_.tables.size() <= 4; }

  /// "muon (a and b)", where there are many tables "muon (5 of 8)".
  std::string with_places(std::size_t which, const std::vector<std::string>& places) const {
    const std::size_t all = analysis_.tables.size();
    if (all == 1) return variant(which);
    if (few_tables()) return fmt::format("{} ({})", variant(which), listing(places));
    return fmt::format("{} ({} of {})", variant(which), places.size(), all);
  }

  /// "Not distinguishable anywhere: lion and soap."
  std::string indistinct_everywhere() const {
    std::vector<std::string> names;
    for (const std::size_t i : by_claims()) {
      const bool everywhere = std::ranges::all_of(analysis_.tables, [&](const Table& table) {
        const std::optional<Contrast>& c = table.row_of(i).contrast;
        return c && c->verdict == Contrast::Verdict::open;
      });
      if (everywhere) names.push_back(variant(i));
    }
    return names.empty() ? "" : fmt::format("Not distinguishable anywhere: {}.", listing(names));
  }

  /// "Lower final loss than adamw: muon (a and b) and soap (a)."
  template <class Holds>
  void say(const std::string& what, const Holds& holds, std::string& text) const {
    std::vector<std::string> names;
    for (const std::size_t i : by_claims()) {
      if (i == results_.baseline) continue;
      std::vector<std::string> places;
      for (const Table& table : analysis_.tables) {
        if (holds(table.row_of(i))) places.push_back(table_name(results_, table));
      }
      if (!places.empty()) names.push_back(with_places(i, places));
    }
    if (!names.empty()) text += fmt::format("{}{}: {}.", text.empty() ? "" : " ", what, listing(names));
  }

  std::string findings() const {
    const auto is = [](Contrast::Verdict verdict) {
      return [verdict](const Row& row) { return row.contrast && row.contrast->verdict == verdict; };
    };
    std::string text;
    say("Lower final loss than " + baseline_, is(Contrast::Verdict::lower), text);
    say("Higher", is(Contrast::Verdict::higher), text);
    say(fmt::format("Equivalent within {}", results_.margin), is(Contrast::Verdict::equivalent), text);
    say(fmt::format("At the best possible loss, like {}", baseline_), is(Contrast::Verdict::solved), text);
    if (few_tables()) {
      say("Not distinguishable", is(Contrast::Verdict::open), text);
    } else {
      const std::string indistinct = indistinct_everywhere();
      text += (text.empty() || indistinct.empty() ? "" : " ") + indistinct;
    }
    say(
        "Not tested", [](const Row& row) { return !row.contrast && !row.losses.empty(); }, text);
    say(
        "With runs that diverged", [](const Row& row) { return row.diverged > 0; }, text);
    return text;
  }

  /// What the claims are about.
  std::string scope() const {
    const std::string seeds = count(results_.report_seeds.size() / std::max<std::size_t>(1, results_.studies), "seed");
    if (std::ranges::none_of(results_.runs, [](const Run& run) { return run.stage == Stage::report; })) {
      return "No run of the settings found has ended yet: nothing is claimed.";
    }
    if (results_.studies > 1) {
      return fmt::format(
          "Every {} was tuned anew in each of {} studies, with seeds of its own, and the settings found were run on {} "
          "more. What is claimed is of tuned {}s: the luck of tuning is part of the spread.",
          noun_, results_.studies, seeds, noun_);
    }
    return fmt::format(
        "Every {0} was tuned once, and the settings found were run on {1}. What is claimed is of these settings alone: "
        "another tuning may find others, which are better or worse. Claims about tuned {0}s need several studies "
        "(tune.studies).",
        noun_, seeds);
  }

  /// Whether budgets were reported that nothing was tuned at.
  bool kept_at_other_budgets() const {
    return std::ranges::any_of(analysis_.tables,
                               [&](const Table& table) { return tuned_budget(results_, table) != table.budget; });
  }

  const Results& results_;
  const Analysis& analysis_;
  const std::vector<Lint>& lints_;
  const std::string& baseline_;
  const std::string noun_;  // of the variants
};

}  // namespace

std::vector<Block> summary(const Results& results, const Analysis& analysis, const std::vector<Lint>& lints) {
  return SummaryBuilder(results, analysis, lints).blocks();
}

}  // namespace monge::compare
