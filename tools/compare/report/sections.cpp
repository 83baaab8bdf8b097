// What a report says, section by section; what it rests on is in appendix.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "tools/compare/report/appendix.h"
#include "tools/compare/report/figures.h"
#include "tools/compare/report/loss_table.h"
#include "tools/compare/report/page/wording.h"
#include "tools/compare/report/report.h"
#include "tools/compare/report/summary.h"

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
    page_.summary = summary(results_, analysis_, lints_);
    final_losses();
    curves();
    sensitivity();
    searches();
    targets();
    catch_ups();
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

  /// With one legend where it is the same for all; else those of a caption together, each with its own.
  static void add(Section& section, std::vector<Figure> figures) {
    if (figures.empty()) return;
    const Legend legend = figures.front().legend;
    if (std::ranges::all_of(figures, [&](const Figure& figure) { return figure.legend == legend; })) {
      for (Figure& figure : figures) figure.legend.clear();
      section.blocks.push_back(Figures{std::move(figures), legend});
      return;
    }
    std::string caption;
    for (Figure& figure : figures) {
      if (figure.caption != caption || section.blocks.empty() ||
          !std::holds_alternative<Figures>(section.blocks.back())) {
        caption = figure.caption;
        if (!caption.empty()) section.blocks.push_back(Heading{caption});
        section.blocks.push_back(Figures{});
      }
      figure.caption.clear();
      std::get<Figures>(section.blocks.back()).figures.push_back(std::move(figure));
    }
  }

  /// What losses are measured in.
  std::string units() const {
    std::set<std::string> all;
    for (const Workload& workload : results_.workloads) all.insert(workload.unit());
    return fmt::format("{}", fmt::join(all, " or "));
  }

  void final_losses() {
    Section& s = section("Final loss");
    s.blocks.push_back(Paragraph{fmt::format(
        "Mean ± standard deviation over {0}, in {5}. Relative to {1}, {2} by {2}: the difference, or where "
        "the best possible loss is known and everything lies above it, the ratio of the excess losses (×). p values "
        "and "
        "intervals are corrected for the {3} on this page: a difference is claimed where its interval excludes "
        "zero, a ratio where it excludes one. Those that share a letter are not distinguishable. Below each row the "
        "{4} interval of its mean, and what a repetition would find with a probability of 80% at least.",
        results_.studies > 1 ? "studies" : "seeds", baseline_, results_.studies > 1 ? "study" : "seed",
        count(analysis_.comparisons, "pair"), confidence(), units())});
    if (std::vector<Figure> figures = difference_figures(results_, analysis_); !figures.empty()) {
      s.blocks.push_back(
          Paragraph{fmt::format("Left is better. Filled: the mean of what is tested and its {} interval, corrected; "
                                "open: single {}.",
                                confidence(), results_.studies > 1 ? "studies" : "seeds")});
      add(s, std::move(figures));
    }
    for (const Table& table : analysis_.tables) {
      const Workload& w = workload(table);
      s.blocks.push_back(Heading{table_name(results_, table)});
      std::string about = fmt::format("{}; {} parameters.", w.data, amount(static_cast<double>(w.parameters)));
      if (w.optimum) about += fmt::format(" The best possible loss is {}.", fixed(*w.optimum, 4));
      if (!w.data.empty() && table.budget == w.budgets.front()) s.blocks.push_back(Paragraph{about});
      s.blocks.push_back(loss_table(results_, table));
    }
  }

  void curves() {
    std::vector<Figure> figures = curve_figures(results_, analysis_);
    if (figures.empty()) return;
    Section& s = section("Loss curves");
    s.blocks.push_back(Paragraph{
        "Mean over the seeds and their range. A line ends where the first of its seeds diverged. Where the best "
        "possible loss is known the excess over it is shown, on a logarithmic axis; elsewhere the first steps "
        "are cut off."});
    add(s, std::move(figures));
  }

  void sensitivity() {
    if (analysis_.sensitivities.empty() || results_.in_boxes) return;  // in a box, no rate has its points to itself
    Section& s = section("Sensitivity to the learning rate");
    s.blocks.push_back(
        Paragraph{"From the tuning runs, each rate at the best of the other settings tried with it. A cross at the "
                  "top is a rate at which a run diverged. Where the best possible loss is known the excess over it is "
                  "shown, on a logarithmic axis. In the tolerated range the loss is at most 0.02 above that of the "
                  "best rate."});
    add(s, sensitivity_figures(results_, analysis_));
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
      std::vector<Cell> cells = {variant(entry.variant), tuning_name(results_, entry.workload, entry.budget)};
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

  void searches() {
    std::vector<Figure> figures = search_figures(results_, analysis_);
    if (figures.empty()) return;
    Section& s = section("Search");
    s.blocks.push_back(Paragraph{fmt::format(
        "The least loss found after so many settings{}. A line that still falls at its end has not been tuned out.",
        results_.studies > 1 ? ", mean over the studies" : "")});
    add(s, std::move(figures));
  }

  // Times

  /// Why there are no seconds.
  std::string without_seconds() const {
    return analysis_.timed
               ? ""
               : " Seconds are not reported: they compare only where every run had cores of its own, on one "
                 "kind of processor, and one program made them.";
  }

  /// The median and, where it differs, the range over seeds.
  static std::string steps_text(const Row& row) {
    constexpr auto steps = static_cast<std::size_t>(Effort::steps);
    const double low = row.earliest_to_target[steps], high = row.latest_to_target[steps];
    const std::string middle = amount(row.median_to_target[steps]);
    return low == high ? middle
                       : fmt::format("{} [{}, {}]", middle, amount(low), std::isinf(high) ? "∞" : amount(high));
  }

  /// How exact times can be: they are read between two evaluations.
  std::string evaluation_text(const Table& table) const {
    std::int64_t widest = 0;
    for (const Run& run : results_.runs) {
      if (!belongs(run, table, run.variant)) continue;
      for (std::size_t i = 1; i < run.points.size(); ++i) {
        widest = std::max(widest, run.points[i].step - run.points[i - 1].step);
      }
    }
    return widest > 1 ? fmt::format("; evaluated every {} steps", amount(static_cast<double>(widest))) : "";
  }

  void targets() {
    Section s{.title = "Time to target"};
    Bullets sources;
    const std::vector<Effort> shown = shown_efforts(results_, analysis_);
    Grid grid{.columns = {{noun_, false}, {"workload", false}, {"target"}, {"reached", false}}};
    for (const Effort effort : shown) {
      grid.columns.push_back({effort == Effort::seconds ? "time" : std::string(effort_name(effort))});
    }
    grid.columns.push_back({"relative to " + baseline_});
    for (const Table& table : analysis_.tables) {
      const Workload& w = workload(table);
      if (!w.target) continue;
      const std::string target = w.target_is_accuracy ? accuracy_text(*w.target) : fixed(*w.target, 4);
      const std::string source = fmt::format("{}: {}, {}{}", w.name, target, w.target_source,
                                             evaluation_text(recipe_table(analysis_, table.workload)));
      if (std::ranges::find(sources.items, source) == sources.items.end()) sources.items.push_back(source);
      const auto get = [](const Row& row, Effort effort) {
        return row.median_to_target[static_cast<std::size_t>(effort)];
      };
      const Effort last = analysis_.timed ? Effort::seconds : shown.back();
      const double reference = get(table.row_of(results_.baseline), last);
      for (const Row& row : table.rows) {
        std::vector<Cell> cells{variant(row.variant), table_name(results_, table), target,
                                fmt::format("{} of {}", row.reached, row.to_target.size())};
        for (const Effort effort : shown) {
          cells.push_back(effort == Effort::steps     ? steps_text(row)
                          : effort == Effort::seconds ? duration(get(row, effort))
                                                      : amount(get(row, effort)));
        }
        const double relative = get(row, last) / reference;
        cells.push_back(std::isfinite(relative) && relative > 0.0 ? factor(relative) : std::string("–"));
        grid.rows.push_back(std::move(cells));
      }
    }
    if (grid.rows.empty()) return;
    s.blocks = {Paragraph{fmt::format(
                    "Medians over seeds of when the loss came to the target, linear between evaluations, and for "
                    "steps the range. A seed that missed it, or diverged later, counts as infinitely late: where "
                    "half of them did, the median is not reached. Relative to {} by {}.{}",
                    baseline_, analysis_.timed ? "seconds" : effort_name(shown.back()), without_seconds())},
                std::move(sources), std::move(grid)};
    page_.sections.push_back(std::move(s));
  }

  /// "3 of 20: seeds 1103, 2101, 2104", or of all "20 of 20".
  static std::string missed_text(const CatchUp& c) {
    std::string text = fmt::format("{} of {}", c.missed.size(), c.runs);
    if (!c.missed.empty() && c.missed.size() < c.runs)
      text += fmt::format(": {} {}", c.missed.size() == 1 ? "seed" : "seeds", fmt::join(c.missed, ", "));
    return text;
  }

  static std::string ratio_text(const CatchUp& c) {
    const int digits = c.interval ? ratio_decimals(*c.interval) : 2;
    return (c.missed.empty() ? "" : "at least ") + factor(c.ratio, digits) +
           (c.interval ? " " + factor_interval(*c.interval, digits) : "");
  }

  void catch_ups() {
    Grid grid{.columns = {{noun_, false}, {"workload", false}, {"steps"}, {"never got there", false}}};
    if (analysis_.timed) grid.columns.push_back({"time of a step"});
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (!row.catch_up) continue;
        const CatchUp& c = *row.catch_up;
        std::vector<Cell> cells{variant(row.variant), table_name(results_, table), ratio_text(c),
                                Cell(missed_text(c), c.missed.empty() ? Tone::plain : Tone::bad)};
        if (analysis_.timed) cells.push_back(factor(row.cost.slowdown));
        grid.rows.push_back(std::move(cells));
      }
    }
    if (grid.rows.empty()) return;
    Section& s = section(fmt::format("Steps to the loss with which {} ends", baseline_));
    s.blocks.push_back(Paragraph{fmt::format(
        "When a run comes to the loss with which {0} ends at the same seed, linear between evaluations, as a share of "
        "{0}'s steps: the geometric mean over {1} and its {2} interval, which holds for all of this section together. "
        "A run that never got there, or diverged, counts as the whole length, the least that it can have taken: then "
        "the mean is a lower bound, and the interval has no upper end. This describes and claims nothing: what ends "
        "lower, be it by chance, has come to this loss earlier.{3}",
        baseline_, results_.studies > 1 ? "studies" : "seeds", confidence(),
        analysis_.timed ? fmt::format(" The time of a step is a median relative to {}'s.", baseline_)
                        : without_seconds())});
    s.blocks.push_back(std::move(grid));
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
    add(s, budget_figures(results_, analysis_));
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
    add(s, profile_figures(results_, analysis_));
    Grid grid{.columns = {{noun_, false}}};
    const std::vector<Effort> shown = shown_efforts(results_, analysis_);
    for (const Effort effort : shown) grid.columns.push_back({fmt::format("score by {}", effort_name(effort))});
    for (std::size_t i = 0; i < results_.variants.size(); ++i) {
      std::vector<Cell> cells = {variant(i)};
      for (const Effort effort : shown) cells.push_back(fixed(profiles.scores[static_cast<std::size_t>(effort)][i], 3));
      grid.rows.push_back(std::move(cells));
    }
    s.blocks.push_back(std::move(grid));
  }

  void costs() {
    Section& s = section("Cost");
    s.blocks.push_back(Paragraph{"Medians over the reported runs. State is what the optimizer keeps between steps." +
                                 without_seconds()});
    Grid grid{.columns = {{noun_, false}, {"workload", false}}};
    if (analysis_.timed) {
      grid.columns.push_back({"ms per step"});
      grid.columns.push_back({"relative to " + baseline_});
    }
    for (const char* title : {"state", "bytes per parameter", "forward-backwards per step"}) {
      grid.columns.push_back({title});
    }
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (row.losses.empty()) continue;
        const auto parameters = static_cast<double>(workload(table).parameters);
        std::vector<Cell> cells{variant(row.variant), table_name(results_, table)};
        if (analysis_.timed) {
          cells.push_back(fixed(row.cost.step_milliseconds, 2));
          cells.push_back(factor(row.cost.slowdown));
        }
        cells.push_back(bytes(row.cost.state_bytes));
        cells.push_back(parameters > 0.0 ? fixed(static_cast<double>(row.cost.state_bytes) / parameters, 2) : "–");
        cells.push_back(fixed(row.cost.passes_per_step, 2));
        grid.rows.push_back(std::move(cells));
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
