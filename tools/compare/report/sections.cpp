// What a report says, section by section; what it rests on is in appendix.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

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
    searches();
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

  // The matrix

  /// A sign for each verdict, so that colour is not needed.
  static const char* sign_of(const Row& row) {
    if (!row.contrast) return row.diverged > 0 ? "✕" : "?";
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
    if (which == results_.baseline) return {fixed(row.mean, 3), Tone::quiet};
    std::string size;
    if (row.excess_ratio) {
      size = " " + factor(row.excess_ratio->ratio);
    } else if (row.contrast && std::isfinite(row.contrast->difference)) {
      size = " " + difference(row.contrast->difference, std::min(decimals(table), 4));
    }
    return {sign_of(row) + size, result_cell(row).tone};
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
        "both "
        "at the best possible loss; ✕ runs diverged. With × the ratio of excess losses, else the difference in nats.",
        baseline_);
  }

  // Summary

  /// "muon (a and b)", where there are many tables "muon (5 of 8)".
  std::string with_places(std::size_t which, const std::vector<std::string>& places) const {
    constexpr std::size_t few = 4;
    const std::size_t all = analysis_.tables.size();
    if (all == 1) return variant(which);
    if (all <= few) return fmt::format("{} ({})", variant(which), listing(places));
    return fmt::format("{} ({} of {})", variant(which), places.size(), all);
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
    say(fmt::format("Equivalent within {} nats", results_.margin), is(Contrast::Verdict::equivalent), text);
    say(fmt::format("At the best possible loss, like {}", baseline_), is(Contrast::Verdict::solved), text);
    say("Not distinguishable", is(Contrast::Verdict::open), text);
    say(
        "Not tested", [](const Row& row) { return !row.contrast; }, text);
    say(
        "With runs that diverged", [](const Row& row) { return row.diverged > 0; }, text);
    return text;
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

  /// Whether budgets were reported that nothing was tuned at.
  bool kept_at_other_budgets() const {
    return std::ranges::any_of(analysis_.tables,
                               [&](const Table& table) { return tuned_budget(results_, table) != table.budget; });
  }

  void summary() {
    if (!results_.description.empty()) page_.summary.push_back(Paragraph{results_.description});
    const auto errors = std::ranges::count(lints_, Severity::error, &Lint::severity);
    if (errors > 0) {
      page_.summary.push_back(
          Paragraph{fmt::format("Read this first: {} below {} why this comparison is not yet fair or not finished.",
                                count(static_cast<std::size_t>(errors), "error"), errors == 1 ? "says" : "say")});
    }
    page_.summary.push_back(matrix());
    page_.summary.push_back(Paragraph{matrix_key()});
    page_.summary.push_back(Paragraph{scope()});
    if (kept_at_other_budgets()) {
      page_.summary.push_back(Paragraph{
          "Settings were tuned at the budget 1 and kept at the others: what is claimed there is of these settings, "
          "which another tuning at that budget may beat (tune.at)."});
    }
    for (const Variant& v : results_.variants) {
      if (v.unlike.empty()) continue;
      page_.summary.push_back(
          Paragraph{fmt::format("Not like with like: {} also differs in {}.", v.name, listing(v.unlike))});
    }
    if (const std::string text = findings(); !text.empty()) page_.summary.push_back(Paragraph{text});
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

  /// What is tested, with its interval: a ratio of excess losses, or a difference.
  static std::string tested_text(const Row& row, int digits) {
    if (row.excess_ratio) {
      return fmt::format("{} {}", factor(row.excess_ratio->ratio), factor_interval(row.excess_ratio->interval));
    }
    if (!row.contrast || std::isnan(row.contrast->difference)) return "–";
    return fmt::format("{} {}", difference(row.contrast->difference, digits),
                       difference_interval(row.contrast->interval, digits));
  }

  std::vector<Cell> loss_cells(const Table& table, const Row& row, int digits) const {
    const auto text_if = [](bool present, auto make) { return present ? make() : std::string("–"); };
    const std::optional<Contrast>& c = row.contrast;
    std::vector<Cell> cells = {variant(row.variant), result_cell(row)};
    if (has_accuracy(table)) {
      cells.push_back(text_if(row.accuracy.has_value(), [&] { return accuracy_text(*row.accuracy); }));
    }
    cells.push_back(row.diverged > 0 ? "diverged" : text_if(!row.losses.empty(), [&] {
      return row.deviation ? with_error(row.mean, *row.deviation, digits) : fixed(row.mean, digits);
    }));
    cells.push_back(tested_text(row, digits));
    cells.push_back(text_if(c.has_value(), [&] { return p_value(c->p) + (c->paired ? "" : " (not paired)"); }));
    cells.push_back(text_if(!row.group.empty(), [&] { return row.group; }));
    cells.push_back(seeds_of(row));
    return cells;
  }

  /// The rest of a row's numbers.
  std::string loss_details(const Table& table, const Row& row, int digits) const {
    const std::optional<double> optimum = workload(table).optimum;
    const std::optional<Contrast>& c = row.contrast;
    std::vector<std::string> parts;
    if (row.interval) parts.push_back(fmt::format("mean within {}", interval(*row.interval, digits)));
    if (optimum && std::isfinite(row.mean)) parts.push_back("excess " + fixed(row.mean - *optimum, digits));
    if (c && row.excess_ratio && !std::isnan(c->difference)) {
      parts.push_back(
          fmt::format("difference {} {}", difference(c->difference, digits), difference_interval(c->interval, digits)));
    }
    if (c && std::isfinite(c->detectable)) parts.push_back("detectable " + detectable_text(*c, digits));
    return fmt::format("{}", fmt::join(parts, "; "));
  }

  void final_losses() {
    Section& s = section("Final loss");
    s.blocks.push_back(Paragraph{fmt::format(
        "Mean ± standard deviation over {0}, in nats per token. Relative to {1}, {2} by {2}: the difference, or where "
        "the "
        "best possible loss is known and everything lies above it, the ratio of the excess losses (×). p values and "
        "intervals are corrected for all {3} pairs on this page: a difference is claimed where its interval excludes "
        "zero, a ratio where it excludes one. Those that share a letter are not distinguishable. Below each row the "
        "{4} interval of its mean, and what a repetition would find with a probability of 80% at least.",
        results_.studies > 1 ? "studies" : "seeds", baseline_, results_.studies > 1 ? "study" : "seed",
        analysis_.comparisons, confidence())});
    if (std::vector<Figure> figures = difference_figures(results_, analysis_); !figures.empty()) {
      s.blocks.push_back(
          Paragraph{fmt::format("Filled: the mean of what is tested and its {} interval, corrected; open: single {}.",
                                confidence(), results_.studies > 1 ? "studies" : "seeds")});
      add(s, std::move(figures));
    }
    for (const Table& table : analysis_.tables) {
      const Workload& w = workload(table);
      s.blocks.push_back(Heading{table_name(results_, table)});
      std::string about = fmt::format("{}; {} parameters.", w.data, amount(static_cast<double>(w.parameters)));
      if (w.optimum) about += fmt::format(" The best possible loss is {}.", fixed(*w.optimum, 4));
      if (!w.data.empty() && table.budget == w.budgets.front()) s.blocks.push_back(Paragraph{about});
      Grid grid{.columns = {{noun_, false}, {"result", false}}};
      if (has_accuracy(table)) grid.columns.push_back({"accuracy"});
      for (const Column& column : {Column{"final loss"}, Column{"relative to " + baseline_}, Column{"p"},
                                   Column{"group", false}, Column{"seeds", false}}) {
        grid.columns.push_back(column);
      }
      for (const Row& row : table.rows) {
        grid.rows.push_back(loss_cells(table, row, decimals(table)));
        grid.details.push_back(loss_details(table, row, decimals(table)));
      }
      s.blocks.push_back(std::move(grid));
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
    if (analysis_.sensitivities.empty()) return;
    Section& s = section("Sensitivity to the learning rate");
    s.blocks.push_back(
        Paragraph{"From the tuning runs, each rate at the best of the other settings tried with it. A cross at the "
                  "top is a rate at which a run diverged. Where the best possible loss is known the excess over it is "
                  "shown, on a logarithmic axis. In the tolerated range the loss is at most 0.02 nats above that of "
                  "the best rate."});
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
    return analysis_.timed ? ""
                           : " Seconds are not reported: they compare only where every run had cores of its own on one "
                             "machine.";
  }

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
      const std::string source = fmt::format("{}: {}. {}", w.name, target, w.target_source);
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
