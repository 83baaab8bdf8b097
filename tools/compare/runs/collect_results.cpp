#include "tools/compare/runs/collect_results.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <set>

#include "tools/compare/statistics/sample.h"

namespace monge::compare {
namespace {

std::vector<std::pair<std::string, double>> swept(const std::vector<Axis>& axes, const Setting& setting) {
  std::vector<std::pair<std::string, double>> out;
  for (std::size_t a = 0; a < axes.size(); ++a) out.emplace_back(axes[a].key, setting[a]);
  return out;
}

/// What a finished run shows of its workload.
void describe(const train::RunSummary& summary, Workload& workload) {
  workload.data = summary.data;
  workload.parameters = summary.parameters;
  workload.vocab = summary.vocab;
  if (summary.optimum) workload.optimum = summary.optimum;
}

/// What four fifths of the baseline's reported runs end below, on the budget nearest to the recipe's own: a target that
/// the baseline itself misses half of the time says little.
void set_target_by_baseline(const Results& results, std::size_t w, Workload& workload) {
  const double budget =
      *std::ranges::min_element(workload.budgets, {}, [](double b) { return std::abs(std::log2(b)); });
  std::vector<double> losses;
  for (const Run& run : results.runs) {
    const bool counts = run.workload == w && run.variant == results.baseline && run.stage == Stage::report;
    if (counts && run.budget == budget) losses.push_back(run.final_loss);
  }
  workload.target_fixed_before = false;
  constexpr double share = 0.8;
  if (losses.size() < results.report_seeds.size() || !std::isfinite(quantile(losses, share))) {
    workload.target_source = "none: too few runs of the tuned baseline have ended well";
    return;
  }
  workload.target = quantile(losses, share);
  workload.target_source = fmt::format("what 80% of the {} runs of the tuned {} end below, budget {}", losses.size(),
                                       results.variants[results.baseline].name, budget);
}

void set_target(const WorkloadOptions& options, const Results& results, std::size_t w, Workload& workload) {
  if (options.target > 0.0) {
    workload.target = options.target;
    workload.target_source = fmt::format("a loss of {}, as the comparison says", options.target);
  } else if (options.target_accuracy > 0.0) {
    workload.target = options.target_accuracy;
    workload.target_is_accuracy = true;
    workload.target_source = "share of right answers, as the comparison says";
  } else if (options.target_excess > 0.0 && workload.optimum) {
    workload.target = *workload.optimum + options.target_excess;
    workload.target_source =
        fmt::format("{} above the best possible loss, as the comparison says", options.target_excess);
  } else if (options.target_excess > 0.0) {
    workload.target_source = "none yet: no run has shown the best possible loss";
  } else {
    set_target_by_baseline(results, w, workload);
  }
}

}  // namespace

Results collect_results(Comparison& comparison, const RunPlan& plan, Runs& runs, const std::string& build) {
  const ComparisonOptions& options = comparison.options();
  Results results{.title = options.title,
                  .description = options.description,
                  .baseline = comparison.baseline(),
                  .level = options.report.level,
                  .margin = options.report.margin,
                  .in_boxes = options.tune.search == "quasi_random",
                  .studies = comparison.studies(),
                  .tuned = plan.tuned,
                  .complete = plan.complete,
                  .comparison = comparison.text(),
                  .build = build};
  for (std::size_t study = 0; study < comparison.studies(); ++study) {
    std::set<std::int64_t> tuning;  // most variants share them
    for (std::size_t v = 0; v < comparison.variants(); ++v) {
      for (const std::int64_t seed : comparison.tuning_seeds(study, v)) tuning.insert(seed);
      for (const std::int64_t seed : comparison.final_seeds(study, v)) tuning.insert(seed);
    }
    results.tune_seeds.insert(results.tune_seeds.end(), tuning.begin(), tuning.end());
    for (const std::int64_t seed : comparison.report_seeds(study)) results.report_seeds.push_back(seed);
  }
  for (std::size_t v = 0; v < comparison.variants(); ++v) {
    results.variants.push_back({comparison.variant_name(v), comparison.variant_config(v), comparison.unlike(v)});
  }
  for (std::size_t w = 0; w < comparison.workloads(); ++w) {
    results.workloads.push_back({.name = comparison.workload_name(w), .budgets = options.budgets});
  }
  std::string device = "no run yet";
  for (const PlannedRun& planned : plan.runs) {
    const RunConfig& config = comparison.config(planned);
    const RunResult* result = runs.result(config.yaml);
    if (result == nullptr) continue;
    if (result->status != Run::Status::failed) {
      describe(result->summary, results.workloads[planned.workload]);
      device = result->summary.device;
    }
    results.runs.push_back({.variant = planned.variant,
                            .workload = planned.workload,
                            .study = planned.study,
                            .stage = planned.stage,
                            .seed = planned.seed,
                            .budget = planned.budget,
                            .axes = swept(comparison.axes(planned.variant), planned.setting),
                            .status = result->status,
                            .message = result->message,
                            .points = result->points,
                            .final_loss = result->final_loss,
                            .step_milliseconds = result->step_milliseconds,
                            .state_bytes = result->summary.state_bytes,
                            .passes_per_step = result->summary.passes_per_step,
                            .initial_weights = result->summary.initial_weights,
                            .batches = result->summary.batches,
                            .device = result->summary.device,
                            .own_cores = result->summary.own_cores,
                            .made_by = result->made_by,
                            .hash = Runs::hash(config.yaml, result->made_by),
                            .config = config.yaml});
  }
  results.verdicts = runs.verdicts();
  results.machine =
      fmt::format("{}; {} at a time", device, options.jobs == 1 ? "1 run" : fmt::format("{} runs", options.jobs));
  for (std::size_t w = 0; w < comparison.workloads(); ++w) {
    set_target(options.workloads[w], results, w, results.workloads[w]);
  }
  return results;
}

}  // namespace monge::compare
