// What a report says, section by section; what it rests on is in appendix.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "tools/compare/report/appendix.h"
#include "tools/compare/report/figures.h"
#include "tools/compare/report/report.h"
#include "tools/compare/report/wording.h"

namespace monge::compare {
namespace {

class PageBuilder {
 public:
  PageBuilder(const Results& results, const Analysis& analysis, const std::vector<Lint>& lints)
      : results_(results),
        analysis_(analysis),
        lints_(lints),
        baseline_(results.variants[results.baseline].name),
        noun_(variant_noun(results)) {}

  Page page() {
    page_.title = results_.title;
    summary();
    final_losses();
    curves();
    sensitivity();
    targets();
    budgets();
    profiles();
    costs();
    std::ranges::move(appendix(results_, analysis_), std::back_inserter(page_.sections));
    return std::move(page_);
  }

 private:
  const std::string& variant(std::size_t i) const { return results_.variants[i].name; }
  const Workload& workload(const Table& table) const { return results_.workloads[table.workload]; }
  std::string confidence() const { return percent(1.0 - results_.level); }
  Section& section(const std::string& title) { return page_.sections.emplace_back(Section{.title = title}); }

  // Summary

  /// "Muon ended with a lower loss than AdamW on a and b; it was not distinguishable from AdamW on c."
  std::string sentence(std::size_t which) const {
    std::vector<std::string> lower, higher, equivalent, solved, same, diverged, untested;
    for (const Table& table : analysis_.tables) {
      const Row& row = table.row_of(which);
      const std::string place = table_name(results_, table);
      if (row.diverged > 0) diverged.push_back(fmt::format("{} ({} of {})", place, row.diverged, row.losses.size()));
      if (!row.contrast) {
        untested.push_back(place);
        continue;
      }
      switch (row.contrast->verdict) {
        case Contrast::Verdict::lower: lower.push_back(place); break;
        case Contrast::Verdict::higher: higher.push_back(place); break;
        case Contrast::Verdict::equivalent: equivalent.push_back(place); break;
        case Contrast::Verdict::solved: solved.push_back(place); break;
        case Contrast::Verdict::open: same.push_back(place); break;
      }
    }
    std::vector<std::string> parts;
    const auto say = [&](const std::string& what, const std::vector<std::string>& places) {
      if (!places.empty()) parts.push_back(fmt::format("{} on {}", what, listing(places)));
    };
    say(fmt::format("ended with a lower loss than {}", baseline_), lower);
    say(fmt::format("ended with a higher loss than {}", baseline_), higher);
    say(fmt::format("was equivalent to {} within {} nats", baseline_, results_.margin), equivalent);
    say(fmt::format("ended, like {}, at the best possible loss", baseline_), solved);
    say(fmt::format("was not distinguishable from {}", baseline_), same);
    say("had runs that diverged", diverged);
    say("could not be tested", untested);
    std::string text = variant(which);
    for (std::size_t i = 0; i < parts.size(); ++i) text += (i == 0 ? " " : "; it ") + parts[i];
    return text + ".";
  }

  /// What the claims are about.
  std::string scope() const {
    const std::string seeds = count(results_.report_seeds.size() / std::max<std::size_t>(1, results_.studies), "seed");
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

  void summary() {
    if (!results_.description.empty()) page_.summary.push_back(Paragraph{results_.description});
    const auto errors = std::ranges::count(lints_, Severity::error, &Lint::severity);
    if (errors > 0) {
      page_.summary.push_back(
          Paragraph{fmt::format("Read this first: {} below {} why this comparison is not yet fair or not finished.",
                                count(static_cast<std::size_t>(errors), "error"), errors == 1 ? "says" : "say")});
    }
    page_.summary.push_back(Paragraph{scope()});
    const bool other_budgets = std::ranges::any_of(results_.workloads, [](const Workload& w) {
      return std::ranges::any_of(w.budgets, [](double budget) { return budget != 1.0; });
    });
    if (other_budgets) {
      page_.summary.push_back(Paragraph{
          "Settings were tuned at the budget 1 and kept at the others: what is claimed there is of these settings, "
          "which another tuning at that budget may beat."});
    }
    for (const Variant& v : results_.variants) {
      if (v.unlike.empty()) continue;
      page_.summary.push_back(
          Paragraph{fmt::format("Not like with like: {} also differs in {}.", v.name, listing(v.unlike))});
    }
    page_.summary.push_back(
        Paragraph{fmt::format("{} on {}, each against the baseline {}:", count(results_.variants.size(), noun_),
                              count(results_.workloads.size(), "workload"), baseline_)});
    Bullets found;
    for (std::size_t i = 0; i < results_.variants.size(); ++i) {
      if (i != results_.baseline) found.items.push_back(sentence(i));
    }
    page_.summary.push_back(found);
    std::string limits =
        "Lower and higher are claims about the final loss of typical runs after the same number of steps. Not "
        "distinguishable does not mean equal. This report says nothing about other workloads, sizes or budgets.";
    if (analysis_.comparisons > 0) {
      limits += fmt::format(
          " All claims, verdicts, letters and intervals, come from one family of {}, corrected together: the chance "
          "of any false claim is at most {}.",
          count(analysis_.comparisons, "pair"), percent(results_.level));
    }
    page_.summary.push_back(Paragraph{limits});
    if (!lints_.empty()) page_.summary.push_back(lints_);
  }

  // Final losses

  /// Decimals for the losses of a table: two significant digits of the smallest spread between seeds.
  int decimals(const Table& table) const {
    double least = 0.0;
    for (const Row& row : table.rows) {
      if (row.deviation && *row.deviation > 0.0 && (least == 0.0 || *row.deviation < least)) least = *row.deviation;
    }
    return std::max(decimals_for(least), 3);
  }

  Cell result_cell(const Row& row) const {
    if (row.variant == results_.baseline) return {"baseline", Tone::quiet};
    if (row.losses.empty()) return {"no runs", Tone::bad};
    if (!row.contrast) return row.diverged > 0 ? Cell("diverged", Tone::bad) : Cell("not tested", Tone::quiet);
    const Contrast::Verdict verdict = row.contrast->verdict;
    if (row.diverged > 0 && !row.contrast->differs()) return {"diverged", Tone::bad};
    return {std::string(verdict_name(verdict)), verdict == Contrast::Verdict::lower    ? Tone::good
                                                : verdict == Contrast::Verdict::higher ? Tone::bad
                                                                                       : Tone::quiet};
  }

  static bool has_accuracy(const Table& table) {
    return std::ranges::any_of(table.rows, [](const Row& row) { return row.accuracy.has_value(); });
  }

  static std::string seeds_of(const Row& row) {
    std::string text = fmt::format("{}", row.losses.size());
    if (row.diverged > 0) text += fmt::format(", {} diverged", row.diverged);
    if (row.failed > 0) text += fmt::format(", {} failed", row.failed);
    return text;
  }

  static std::string detectable_text(const Contrast& c, int digits) {
    return c.on_excess ? factor(c.detectable) : fixed(c.detectable, digits);
  }

  std::vector<Cell> loss_cells(const Table& table, const Row& row, int digits) const {
    const std::optional<double> optimum = workload(table).optimum;
    const auto text_if = [](bool present, auto make) { return present ? make() : std::string("–"); };
    const std::optional<Contrast>& c = row.contrast;
    std::vector<Cell> cells = {variant(row.variant), result_cell(row)};
    if (has_accuracy(table)) {
      cells.push_back(text_if(row.accuracy.has_value(), [&] { return accuracy_text(*row.accuracy); }));
    }
    cells.push_back(row.diverged > 0 ? "diverged" : text_if(!row.losses.empty(), [&] {
      return row.deviation ? with_error(row.mean, *row.deviation, digits) : fixed(row.mean, digits);
    }));
    cells.push_back(text_if(row.interval.has_value(), [&] { return interval(*row.interval, digits); }));
    if (optimum) {
      cells.push_back(text_if(std::isfinite(row.mean), [&] { return fixed(row.mean - *optimum, digits); }));
      cells.push_back(text_if(row.excess_ratio.has_value(), [&] {
        return fmt::format("{} {}", factor(row.excess_ratio->ratio), factor_interval(row.excess_ratio->interval));
      }));
    }
    cells.push_back(text_if(c && !std::isnan(c->difference), [&] { return difference(c->difference, digits); }));
    cells.push_back(text_if(c.has_value(), [&] { return difference_interval(c->interval, digits); }));
    cells.push_back(text_if(c.has_value(), [&] { return p_value(c->p) + (c->paired ? "" : " (not paired)"); }));
    cells.push_back(text_if(c.has_value(), [&] { return detectable_text(*c, digits); }));
    cells.push_back(text_if(!row.group.empty(), [&] { return row.group; }));
    cells.push_back(seeds_of(row));
    return cells;
  }

  void final_losses() {
    Section& s = section("Final loss");
    s.blocks.push_back(Paragraph{fmt::format(
        "Mean ± standard deviation over {0}, in nats per token. Differences are relative to {1}, {2} by {2}; p values "
        "and intervals are corrected for all {3} pairs on this page, and a difference is claimed where its interval "
        "excludes zero. Where the best possible loss is known and everything lies above it, the ratio of the excess "
        "losses is tested instead: what counts is whether its interval excludes one, and the difference is there to be "
        "read. Those that share a letter are not distinguishable.",
        results_.studies > 1 ? "studies" : "seeds", baseline_, results_.studies > 1 ? "study" : "seed",
        analysis_.comparisons)});
    if (std::vector<Figure> figures = difference_figures(results_, analysis_); !figures.empty()) {
      s.blocks.push_back(
          Paragraph{fmt::format("Filled: the mean of what is tested and its {} interval, corrected; open: single {}.",
                                confidence(), results_.studies > 1 ? "studies" : "seeds")});
      s.blocks.push_back(Figures{std::move(figures)});
    }
    for (const Table& table : analysis_.tables) {
      const Workload& w = workload(table);
      s.blocks.push_back(Heading{table_name(results_, table)});
      std::string about = fmt::format("{}; {} parameters.", w.data, amount(static_cast<double>(w.parameters)));
      if (w.optimum) about += fmt::format(" The best possible loss is {}.", fixed(*w.optimum, 4));
      if (!w.data.empty() && table.budget == w.budgets.front()) s.blocks.push_back(Paragraph{about});
      const std::string level = confidence();
      Grid grid{.columns = {{noun_, false}, {"result", false}}};
      if (has_accuracy(table)) grid.columns.push_back({"accuracy"});
      grid.columns.push_back({"final loss"});
      grid.columns.push_back({level + " interval"});
      if (w.optimum) {
        grid.columns.push_back({"excess"});
        grid.columns.push_back({"excess ratio"});
      }
      for (const std::string& title :
           {std::string("difference"), level + " interval", std::string("p"), std::string("detectable")}) {
        grid.columns.push_back({title});
      }
      grid.columns.push_back({"group", false});
      grid.columns.push_back({"seeds", false});
      for (const Row& row : table.rows) grid.rows.push_back(loss_cells(table, row, decimals(table)));
      s.blocks.push_back(std::move(grid));
    }
  }

  void curves() {
    std::vector<Figure> figures = curve_figures(results_, analysis_);
    if (figures.empty()) return;
    section("Loss curves").blocks = {
        Paragraph{
            "Mean over the seeds and their range. A line ends where the first of its seeds diverged. Where the best "
            "possible loss is known the excess over it is shown, on a logarithmic axis; elsewhere the first steps "
            "are cut off."},
        Figures{std::move(figures)}};
  }

  void sensitivity() {
    if (analysis_.sensitivities.empty()) return;
    Section& s = section("Sensitivity to the learning rate");
    s.blocks.push_back(
        Paragraph{"From the tuning runs, each rate at the best of the other settings tried with it. A cross at the "
                  "top is a rate at which a run diverged. Where the best possible loss is known the excess over it is "
                  "shown, on a logarithmic axis. In the tolerated range the loss is at most 0.02 nats above that of "
                  "the best rate."});
    s.blocks.push_back(Figures{sensitivity_figures(results_, analysis_)});
    Grid grid{.columns = {{noun_, false},
                          {"workload", false},
                          {"best rate"},
                          {"loss there"},
                          {"tolerated range"},
                          {"octaves"},
                          {"vertex of parabola"},
                          {"diverged from"},
                          {"optimum inside", false}}};
    for (const Sensitivity& entry : analysis_.sensitivities) {
      std::vector<Cell> cells = {variant(entry.variant), results_.workloads[entry.workload].name};
      if (!entry.study) {
        for (std::size_t i = cells.size(); i + 1 < grid.columns.size(); ++i) cells.push_back({"–"});
        cells.push_back({"all diverged", Tone::bad});
      } else {
        const LearningRateStudy& study = *entry.study;
        cells.push_back(significant_digits(entry.points[study.best].lr));
        cells.push_back(fixed(study.losses[study.best], 4));
        cells.push_back(fmt::format("{} to {}", significant_digits(study.tolerated.low, 2),
                                    significant_digits(study.tolerated.high, 2)));
        cells.push_back(fixed(std::log2(study.tolerated.high / study.tolerated.low), 1));
        cells.push_back(study.parabola ? significant_digits(study.parabola->optimum) : "–");
        cells.push_back(study.divergence ? significant_digits(*study.divergence) : "–");
        cells.push_back(study.bracketed() ? Cell("yes") : Cell("no: at the edge", Tone::bad));
      }
      grid.rows.push_back(std::move(cells));
    }
    s.blocks.push_back(std::move(grid));
  }

  // Times

  /// The median and, where it differs, the range over seeds.
  static std::string steps_text(const Row& row) {
    constexpr auto steps = static_cast<std::size_t>(Effort::steps);
    const double low = row.earliest_to_target[steps], high = row.latest_to_target[steps];
    const std::string middle = amount(row.median_to_target[steps]);
    return low == high ? middle
                       : fmt::format("{} [{}, {}]", middle, amount(low), std::isinf(high) ? "∞" : amount(high));
  }

  void targets() {
    Section s{.title = "Time to target"};
    Bullets sources;
    Grid grid{.columns = {{noun_, false},
                          {"workload", false},
                          {"target"},
                          {"reached", false},
                          {"steps"},
                          {"forward-backwards"},
                          {"time"},
                          {"time relative to baseline"}}};
    for (const Table& table : analysis_.tables) {
      const Workload& w = workload(table);
      if (!w.target) continue;
      const std::string target = w.target_is_accuracy ? accuracy_text(*w.target) : fixed(*w.target, 4);
      const std::string source = fmt::format("{}: {}. {}", w.name, target, w.target_source);
      if (std::ranges::find(sources.items, source) == sources.items.end()) sources.items.push_back(source);
      const auto get = [](const Row& row, Effort effort) {
        return row.median_to_target[static_cast<std::size_t>(effort)];
      };
      const double reference = get(table.row_of(results_.baseline), Effort::seconds);
      for (const Row& row : table.rows) {
        const double seconds = get(row, Effort::seconds);
        grid.rows.push_back({variant(row.variant), table_name(results_, table), target,
                             fmt::format("{} of {}", row.reached, row.to_target.size()), steps_text(row),
                             amount(get(row, Effort::forward_backwards)), duration(seconds),
                             std::isfinite(seconds) && std::isfinite(reference) && reference > 0.0
                                 ? factor(seconds / reference)
                                 : std::string("–")});
      }
    }
    if (grid.rows.empty()) return;
    s.blocks = {
        Paragraph{
            "Medians over seeds of when the loss came to the target, linear between evaluations, and for steps the "
            "range. A seed that missed it, or diverged later, counts as infinitely late: where half of them did, "
            "the median is not reached."},
        std::move(sources), std::move(grid)};
    page_.sections.push_back(std::move(s));
  }

  void budgets() {
    if (analysis_.scalings.empty()) return;
    Section& s = section("Budgets and speed-up");
    s.blocks.push_back(
        Paragraph{fmt::format("Each budget is a full schedule of its own. The lines are L(D) = E + A D^-b, fitted to "
                              "the means. The speed-up is "
                              "how much more budget {} would need for the same loss, read off its own line; outside "
                              "the budgets that were measured it is a bound. It has no interval.",
                              baseline_)});
    s.blocks.push_back(Figures{budget_figures(results_, analysis_)});
    Grid speeds{.caption = "Speed-up over " + baseline_,
                .columns = {{noun_, false}, {"workload", false}, {"speed-up"}}};
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (!row.speed_up) continue;
        const char* bound = row.speed_up->bound == SpeedUp::Bound::more_than   ? "more than "
                            : row.speed_up->bound == SpeedUp::Bound::less_than ? "less than "
                                                                               : "";
        speeds.rows.push_back(
            {variant(row.variant), table_name(results_, table), bound + factor(row.speed_up->factor)});
      }
    }
    if (!speeds.rows.empty()) s.blocks.push_back(std::move(speeds));
    Grid laws{.caption = "Fitted lines", .columns = {{noun_, false}, {"workload", false}, {"E"}, {"A"}, {"b"}}};
    for (const Scaling& scaling : analysis_.scalings) {
      laws.rows.push_back({variant(scaling.variant), results_.workloads[scaling.workload].name,
                           fixed(scaling.law.floor, 4), fixed(scaling.law.scale, 4), fixed(scaling.law.exponent, 3)});
    }
    s.blocks.push_back(std::move(laws));
  }

  void profiles() {
    if (!analysis_.profiles) return;
    const Profiles& profiles = *analysis_.profiles;
    std::vector<std::string> names;
    for (const std::size_t w : profiles.workloads) names.push_back(table_name(results_, recipe_table(analysis_, w)));
    Section& s = section("Across workloads");
    s.blocks.push_back(Paragraph{
        fmt::format("The share of {0} whose target {1} {2} reached within a factor of the best "
                    "{2}'s time. The score is the "
                    "mean height of the profile between 1 and 4: 1 is best everywhere, a missed target "
                    "counts 0. It has no interval: "
                    "with {3} it describes these and no others.",
                    listing(names), noun_ == "optimizer" ? "an" : "a", noun_, count(names.size(), "workload"))});
    s.blocks.push_back(Figures{profile_figures(results_, analysis_)});
    Grid grid{.columns = {{noun_, false}, {"score by steps"}, {"by seconds"}, {"by forward-backwards"}}};
    for (std::size_t i = 0; i < results_.variants.size(); ++i) {
      std::vector<Cell> cells = {variant(i)};
      for (const auto& scores : profiles.scores) cells.push_back(fixed(scores[i], 3));
      grid.rows.push_back(std::move(cells));
    }
    s.blocks.push_back(std::move(grid));
  }

  void costs() {
    Section& s = section("Cost");
    s.blocks.push_back(Paragraph{"Medians over the reported runs. State is what the optimizer keeps between steps."});
    Grid grid{.columns = {{noun_, false},
                          {"workload", false},
                          {"ms per step"},
                          {"relative to baseline"},
                          {"state"},
                          {"bytes per parameter"},
                          {"forward-backwards per step"}}};
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (row.losses.empty()) continue;
        const auto parameters = static_cast<double>(workload(table).parameters);
        grid.rows.push_back({variant(row.variant), table_name(results_, table), fixed(row.cost.step_milliseconds, 2),
                             factor(row.cost.slowdown), bytes(row.cost.state_bytes),
                             parameters > 0.0 ? fixed(static_cast<double>(row.cost.state_bytes) / parameters, 2) : "–",
                             fixed(row.cost.passes_per_step, 2)});
      }
    }
    s.blocks.push_back(std::move(grid));
  }

  const Results& results_;
  const Analysis& analysis_;
  const std::vector<Lint>& lints_;
  const std::string& baseline_;
  const std::string noun_;  // of the variants
  Page page_;
};

}  // namespace

Page make_page(const Results& results, const Analysis& analysis, const std::vector<Lint>& lints) {
  return PageBuilder(results, analysis, lints).page();
}

}  // namespace monge::compare
