#include "tools/compare/runs/forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "train/console/progress.h"

namespace monge::compare {
namespace {

constexpr double probe_steps = 40.0;

/// Values of all axes; the searches of two axes share a setting.
std::int64_t sweep_of(const std::vector<Axis>& axes) {
  std::int64_t settings = 1;
  for (const Axis& axis : axes) settings += std::ssize(axis.values) - 1;
  return settings;
}

std::string between(const std::string& least, const std::string& most) {
  return least == most ? least : fmt::format("{} to {}", least, most);
}

std::string columns(std::string_view workload, std::string_view variant, std::string_view runs, std::string_view step,
                    std::string_view time) {
  return fmt::format("{:<18} {:<14} {:>14}  {:>9}  {}", workload, variant, runs, step, time);
}

}  // namespace

Trials trials_of(const Comparison& comparison) {
  const TuneOptions& tune = comparison.options().tune;
  Trials trials{.least = 1, .most = tune.max_trials};
  if (tune.search == "quasi_random") return {.least = tune.max_trials, .most = tune.max_trials};
  for (std::size_t v = 0; v < comparison.variants(); ++v) {
    trials.least = std::max(trials.least, sweep_of(comparison.axes(v)));
  }
  trials.least = std::min(trials.least, trials.most);
  return trials;
}

std::vector<Forecast> make_forecast(Comparison& comparison) {
  const std::vector<double>& budgets = comparison.options().budgets;
  const TuneOptions& tune = comparison.options().tune;
  const std::int64_t report_seeds = comparison.options().report.seeds;
  const double reported = static_cast<double>(report_seeds) * std::reduce(budgets.begin(), budgets.end());
  const std::vector<double> tuned = comparison.tuned_budgets();
  const double tuned_lengths = std::reduce(tuned.begin(), tuned.end());
  std::vector<Forecast> forecasts;
  for (std::size_t w = 0; w < comparison.workloads(); ++w) {
    for (std::size_t v = 0; v < comparison.variants(); ++v) {
      PlannedRun probe = comparison.first_run(v, w);
      const auto steps = static_cast<double>(comparison.config(probe).steps);
      probe.budget = std::min(1.0, probe_steps / steps);
      const Trials trials = comparison.axes(v).empty() ? Trials{} : trials_of(comparison);
      const auto tuning = [&](std::int64_t settings) {
        return settings * tune.seeds + (settings > 1 ? std::min(settings, tune.finalists) * tune.final_seeds : 0);
      };
      const auto runs = [&](std::int64_t settings) {
        return tune.studies * (tuning(settings) * std::ssize(tuned) + report_seeds * std::ssize(budgets));
      };
      const auto all_steps = [&](std::int64_t settings) {
        const double tuning_lengths = tuned_lengths * static_cast<double>(tuning(settings));
        return steps * static_cast<double>(tune.studies) * (tuning_lengths + reported);
      };
      forecasts.push_back({.variant = v,
                           .workload = w,
                           .least_runs = runs(trials.least),
                           .most_runs = runs(trials.most),
                           .least_steps = all_steps(trials.least),
                           .most_steps = all_steps(trials.most),
                           .probe = probe});
    }
  }
  return forecasts;
}

void leave_out_known(Comparison& comparison, const RunPlan& plan, Runs& runs, std::vector<Forecast>& forecasts) {
  struct Work {
    std::int64_t runs = 0;
    double steps = 0.0;
  };
  for (Forecast& f : forecasts) {
    Work known, left;
    for (const PlannedRun& run : plan.runs) {
      if (run.variant != f.variant || run.workload != f.workload) continue;
      const RunConfig& config = comparison.config(run);
      Work& work = runs.result(config.yaml) != nullptr || runs.waits(config.yaml) ? known : left;
      ++work.runs;
      work.steps += static_cast<double>(config.steps);
    }
    f.least_runs = std::max(f.least_runs - known.runs, left.runs);
    f.least_steps = std::max(f.least_steps - known.steps, left.steps);
    f.most_runs = std::max(f.most_runs - known.runs, left.runs);
    f.most_steps = std::max(f.most_steps - known.steps, left.steps);
    if (plan.searching) continue;  // it will ask for more
    f.least_runs = f.most_runs = left.runs;
    f.least_steps = f.most_steps = left.steps;
  }
}

std::vector<std::string> forecast_table(Comparison& comparison, const std::vector<Forecast>& forecasts, Runs& runs) {
  std::vector<std::string> lines{columns("workload", "variant", "runs", "step", "time")};
  const auto jobs = static_cast<double>(comparison.options().jobs);
  const auto count = [](std::int64_t n) { return fmt::format("{}", n); };
  std::int64_t least_runs = 0, most_runs = 0;
  double least_seconds = 0.0, most_seconds = 0.0;
  for (const Forecast& f : forecasts) {
    least_runs += f.least_runs;
    most_runs += f.most_runs;
    const std::string& workload = comparison.workload_name(f.workload);
    const std::string& variant = comparison.variant_name(f.variant);
    const std::string between_runs = between(count(f.least_runs), count(f.most_runs));
    const RunResult* probe = runs.result(comparison.config(f.probe).yaml);
    if (probe == nullptr || probe->status == Run::Status::failed) {
      lines.push_back(columns(workload, variant, between_runs, "–",
                              probe == nullptr ? "not measured" : "FAILED: " + probe->message));
      continue;
    }
    const double seconds = 1e-3 * probe->step_milliseconds / jobs;
    least_seconds += seconds * f.least_steps;
    most_seconds += seconds * f.most_steps;
    lines.push_back(
        columns(workload, variant, between_runs, fmt::format("{:.1f} ms", probe->step_milliseconds),
                between(train::duration_text(seconds * f.least_steps), train::duration_text(seconds * f.most_steps))));
  }
  lines.push_back(columns(
      "all", "", between(count(least_runs), count(most_runs)), "",
      between(train::duration_text(least_seconds), train::duration_text(most_seconds)) + ", and the evaluations"));
  return lines;
}

}  // namespace monge::compare
