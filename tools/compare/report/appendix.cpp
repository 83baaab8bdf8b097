#include "tools/compare/report/appendix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "tools/compare/report/wording.h"

namespace monge::compare {
namespace {

const std::string& name_of(const Results& results, const Run& run) { return results.variants[run.variant].name; }

Section settings_section(const Results& results, const Analysis& analysis) {
  Section section{.title = "Settings"};
  Grid grid{.columns = {{variant_noun(results), false},
                        {"workload", false},
                        {"tuned settings", false},
                        {"trials"},
                        {"at the edge", false},
                        {"given, not tuned", false}}};
  const auto or_dash = [](std::string text) { return text.empty() ? std::string("–") : text; };
  for (const Tuned& tuned : results.tuned) {
    grid.rows.push_back({results.variants[tuned.variant].name, results.workloads[tuned.workload].name,
                         or_dash(settings(tuned.axes)), fmt::format("{}", tuned.trials),
                         Cell(or_dash(listing(tuned.on_edge)), tuned.on_edge.empty() ? Tone::plain : Tone::bad),
                         or_dash(listing(tuned.fixed))});
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

Section run_section(const Results& results) {
  Section section{.title = "Every run"};
  for (const Stage stage : {Stage::report, Stage::tune}) {
    Grid grid{.columns = {{variant_noun(results), false},
                          {"workload", false},
                          {"budget"},
                          {"seed"},
                          {"settings", false},
                          {"status", false},
                          {"final loss"},
                          {"steps"},
                          {"time"},
                          {"ms per step"},
                          {"hash", false},
                          {"message", false}}};
    for (const Run& run : results.runs) {
      if (run.stage != stage) continue;
      const Point last = run.points.empty() ? Point{} : run.points.back();
      grid.rows.push_back({name_of(results, run), results.workloads[run.workload].name, significant_digits(run.budget),
                           fmt::format("{}", run.seed), settings(run.axes), status_of(run),
                           run.status == Run::Status::done ? fixed(run.final_loss, 4) : "–",
                           amount(static_cast<double>(last.step)), duration(last.seconds),
                           fixed(run.step_milliseconds, 2), run.hash, run.message});
    }
    if (grid.rows.empty()) continue;
    grid.fold = count(grid.rows.size(), stage == Stage::report ? "reported run" : "tuning run");
    section.blocks.push_back(std::move(grid));
  }
  return section;
}

std::string seeds(const std::vector<std::int64_t>& values) {
  return values.empty() ? "(none)" : fmt::format("{}", fmt::join(values, ", "));
}

Section method_section(const Results& results, const Analysis& analysis) {
  return {
      .title = "Method",
      .blocks = {Bullets{{
          fmt::format("Tuned on the seeds {}; reported on the seeds {}. Seed k gives every {} the same initial "
                      "weights and the same batches, so differences are taken seed by seed.",
                      seeds(results.tune_seeds), seeds(results.report_seeds), variant_noun(results)),
          fmt::format(
              "{} confidence intervals of means and differences are Student's; a t test assumes that differences are "
              "nearly normal. Where seeds differ it is Welch's test (Biometrika 1947).",
              percent(1.0 - results.level)),
          "The sign-flip test assumes only that differences are symmetric about zero (Fisher, The design of "
          "experiments, 1935). It checks the t test, which decides.",
          fmt::format(
              "p values are Holm's (Scand. J. Stat. 1979): over the {} against the baseline, and, for the letters "
              "(Piepho, J. Comput. Graph. Stat. 2004), over all pairs of all tables, which is at least as strict.",
              count(analysis.comparisons, "comparison")),
          "Detectable is the minimum difference that would have been found with a power of 80% at the level that the "
          "correction leaves for the first test.",
          "The excess ratio is the geometric mean over seeds of the ratio of excess losses, with Student's interval of "
          "its logarithm.",
          "Speed-up: D_eff / D with D_eff from the baseline's fitted power law (form: Hestness et al., "
          "arXiv:1712.00409); percentile bootstrap over seeds (Efron, Ann. Stat. 1979), which is a little too narrow "
          "for few seeds.",
          "Profiles: Dolan and Moré (Math. Program. 2002); score: Dahl et al. (arXiv:2306.07179).",
      }}}};
}

}  // namespace

std::vector<Section> appendix(const Results& results, const Analysis& analysis) {
  return {
      settings_section(results, analysis),
      run_section(results),
      {.title = "Build and machine", .blocks = {Bullets{{"Build: " + results.build, "Machine: " + results.machine}}}},
      method_section(results, analysis)};
}

}  // namespace monge::compare
