#include "tools/compare/report/appendix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "tools/compare/report/page/wording.h"

namespace monge::compare {
namespace {

const std::string& name_of(const Results& results, const Run& run) { return results.variants[run.variant].name; }

Section settings_section(const Results& results, const Analysis& analysis) {
  Section section{.title = "Settings"};
  Grid grid{.columns = {{variant_noun(results), false}, {"workload", false}}};
  if (results.studies > 1) grid.columns.push_back({"study"});
  for (const Column& column : std::initializer_list<Column>{{"tuned settings", false},
                                                            {"trials"},
                                                            {"tuned loss"},
                                                            {"reported loss"},
                                                            {"gap"},
                                                            {"runner-up"},
                                                            {"at the edge", false},
                                                            {"given, not tuned", false}}) {
    grid.columns.push_back(column);
  }
  const auto or_dash = [](std::string text) { return text.empty() ? std::string("–") : text; };
  constexpr int digits = 4;
  for (const ChosenSetting& choice : analysis.choices) {
    const Tuned& tuned = *choice.tuned;
    std::vector<Cell> cells{results.variants[tuned.variant].name, tuning_name(results, tuned.workload, tuned.budget)};
    if (results.studies > 1) cells.push_back(fmt::format("{}", tuned.study + 1));
    cells.push_back(or_dash(settings(tuned.axes)));
    cells.push_back(fmt::format("{}", tuned.trials));
    cells.push_back(choice.tuned_loss ? fixed(*choice.tuned_loss, digits) : "–");
    cells.push_back(choice.reported_loss ? fixed(*choice.reported_loss, digits) : "–");
    const bool both = choice.reported_loss && choice.tuned_loss;
    const double gap = both ? *choice.reported_loss - *choice.tuned_loss : 0.0;
    cells.push_back(both && std::isfinite(gap) ? difference(gap, digits) : "–");
    cells.push_back(choice.runner_up ? Cell(difference(*choice.runner_up, digits) +
                                                (choice.runner_up_error ? " ± " + fixed(*choice.runner_up_error, digits)
                                                                        : std::string()),
                                            choice.within_noise() ? Tone::quiet : Tone::plain)
                                     : Cell("–"));
    cells.push_back(Cell(or_dash(listing(tuned.on_edge)), tuned.on_edge.empty() ? Tone::plain : Tone::bad));
    cells.push_back(or_dash(listing(tuned.fixed)));
    grid.rows.push_back(std::move(cells));
  }
  if (!grid.rows.empty()) {
    section.blocks.push_back(Paragraph{
        "Tuned loss: mean over the tuning runs of the setting that was chosen, among which it was the best; reported "
        "loss: mean over its fresh seeds; the gap is what choosing has flattered it by. Runner-up: how much more the "
        "next best setting lost on the same seeds, and the standard error of that."});
  }
  if (!grid.rows.empty()) section.blocks.push_back(std::move(grid));
  if (!results.comparison.empty()) section.blocks.push_back(Listing{"the comparison, as given", results.comparison});
  for (const Variant& variant : results.variants) {
    section.blocks.push_back(Listing{variant.name + ": what it changes relative to the base", variant.config});
  }
  for (const Table& table : analysis.tables) {
    for (std::size_t variant = 0; variant < results.variants.size(); ++variant) {
      const auto run = std::ranges::find_if(results.runs, [&](const Run& r) { return belongs(r, table, variant); });
      if (run == results.runs.end()) continue;
      section.blocks.push_back(Listing{
          fmt::format("{} on {}: all settings, seed {}", name_of(results, *run), table_name(results, table), run->seed),
          run->config});
    }
  }
  return section;
}

Cell status_of(const Run& run) {
  switch (run.status) {
    case Run::Status::done: return {"done"};
    case Run::Status::diverged: return {"diverged", Tone::bad};
    case Run::Status::failed: return {"failed", Tone::bad};
  }
  return {""};
}

Section run_section(const Results& results, const Analysis& analysis) {
  Section section{.title = "Every run"};
  for (const Stage stage : {Stage::report, Stage::tune}) {
    Grid grid{.columns = {{variant_noun(results), false},
                          {"workload", false},
                          {"study"},
                          {"budget"},
                          {"seed"},
                          {"settings", false},
                          {"status", false},
                          {"final loss"},
                          {"steps"}}};
    if (analysis.timed) {
      grid.columns.push_back({"time"});
      grid.columns.push_back({"ms per step"});
    }
    grid.columns.push_back({"hash", false});
    grid.columns.push_back({"message", false});
    for (const Run& run : results.runs) {
      if (run.stage != stage) continue;
      const Point last = run.points.empty() ? Point{} : run.points.back();
      std::vector<Cell> cells{name_of(results, run),
                              results.workloads[run.workload].name,
                              fmt::format("{}", run.study + 1),
                              significant_digits(run.budget),
                              fmt::format("{}", run.seed),
                              settings(run.axes),
                              status_of(run),
                              run.status == Run::Status::done ? fixed(run.final_loss, 4) : "–",
                              amount(static_cast<double>(last.step))};
      if (analysis.timed) {
        cells.push_back(duration(last.seconds));
        cells.push_back(fixed(run.step_milliseconds, 2));
      }
      cells.push_back(run.hash);
      cells.push_back(run.message);
      grid.rows.push_back(std::move(cells));
    }
    if (grid.rows.empty()) continue;
    grid.fold = count(grid.rows.size(), stage == Stage::report ? "reported run" : "tuning run");
    section.blocks.push_back(std::move(grid));
  }
  return section;
}

/// "adamw on markov".
std::string name_of(const Verdict& v) { return fmt::format("{} on {}", v.variant, v.workload); }

/// What this program was made from, what it ran on, and what it has taken from others.
Section build_section(const Results& results) {
  Bullets bullets{{"Build: " + results.build, "Machine: " + results.machine}};
  struct Believed {
    std::size_t witnesses = 0;
    std::vector<std::string> kinds;
  };
  std::map<std::string, Believed> believed;  // by program
  for (const Verdict& v : results.verdicts) {
    if (!v.believed()) continue;
    believed[v.made_by].witnesses += v.made_again;
    believed[v.made_by].kinds.push_back(name_of(v));
  }
  for (const auto& [program, b] : believed) {
    const auto runs = std::ranges::count(results.runs, program, &Run::made_by);
    bullets.items.push_back(fmt::format(
        "Borrowed: {} of the {} here, made by {}. They count because {} made again by this program ({}) came out the "
        "same, to the last bit of every evaluated loss.",
        runs, count(results.runs.size(), "run"), program, count(b.witnesses, "run"), listing(b.kinds)));
  }
  for (const Verdict& v : results.verdicts) {
    if (v.believed()) continue;
    bullets.items.push_back(
        fmt::format("Refused: {} of {}, made by {}. Of {} made again by this program, {} came out otherwise or failed: "
                    "none that was borrowed counts.",
                    count(v.borrowed, "run"), name_of(v), v.made_by, v.made_again, v.different));
  }
  return {.title = "Build and machine", .blocks = {std::move(bullets)}};
}

std::string seeds(const std::vector<std::int64_t>& values) {
  return values.empty() ? "(none)" : fmt::format("{}", fmt::join(values, ", "));
}

Section method_section(const Results& results, const Analysis& analysis) {
  return {
      .title = "Method",
      .blocks = {Bullets{{
          fmt::format("Tuned on the seeds {}; reported on the seeds {}. Seed k gives every {} the same initial "
                      "weights and the same batches, so differences are taken {} by {}.",
                      seeds(results.tune_seeds), seeds(results.report_seeds), variant_noun(results),
                      results.studies > 1 ? "study" : "seed", results.studies > 1 ? "study" : "seed"),
          fmt::format(
              "Claims: the differences of all {} of {}s, over all workloads and budgets, are tested as one family. A "
              "pair "
              "is tested by Student's t over {}; where its differences do not all have one sign, the signed-rank test "
              "(Wilcoxon 1945) must reject as well. With four {}s or more the spread of a pair is not taken to be less "
              "than the median spread on its workload. Each pair is tested at {} / {} (Bonferroni), and its interval, "
              "the "
              "hull of Student's and that of the averages of differences (Walsh 1949), is at the same level: a "
              "difference is claimed where it excludes zero.",
              count(analysis.comparisons, "pair"), variant_noun(results), results.studies > 1 ? "studies" : "seeds",
              variant_noun(results), percent(results.level), analysis.comparisons),
          "A pair with a diverged run is judged by the exact rank-sum test (Mann and Whitney 1947), in which it is the "
          "worst, and from five on also as above, with the loss of guessing in its place.",
          "Letters: Piepho, J. Comput. Graph. Stat. 2004, of the same claims. Intervals of single means are Student's.",
          "Detectable is what a repetition would find with a probability of at least 80%, were seeds normally "
          "distributed.",
          "The excess ratio is the geometric mean of the ratio of excess losses; it is what is tested where the best "
          "possible loss is known and no loss lies below it.",
          "Speed-up: D_eff / D with D_eff from the baseline's fitted power law (form: Hestness et al., "
          "arXiv:1712.00409), a bound outside the budgets measured.",
          "Profiles: Dolan and Moré (Math. Program. 2002); score: Dahl et al. (arXiv:2306.07179).",
      }}}};
}

}  // namespace

std::vector<Section> appendix(const Results& results, const Analysis& analysis) {
  return {settings_section(results, analysis), run_section(results, analysis), build_section(results),
          method_section(results, analysis)};
}

}  // namespace monge::compare
