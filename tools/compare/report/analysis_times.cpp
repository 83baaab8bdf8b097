// What the runs took: times to target, power laws over budgets, profiles over workloads.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "tools/compare/report/analysis_parts.h"

namespace monge::compare {
namespace {

void fit_workload(const Results& results, std::size_t workload, std::span<Table*> tables, Analysis& analysis) {
  const std::vector<double>& budgets = results.workloads[workload].budgets;
  for (std::size_t variant = 0; variant < results.variants.size(); ++variant) {
    Scaling scaling{.workload = workload, .variant = variant, .budgets = budgets};
    for (const Table* table : tables) scaling.means.push_back(table->row_of(variant).mean);
    if (std::ranges::any_of(scaling.means, [](double loss) { return !std::isfinite(loss); })) continue;
    scaling.law = fit_power_law(scaling.budgets, scaling.means);
    analysis.scalings.push_back(scaling);
  }

  std::vector<double> baseline;
  for (const Table* table : tables) baseline.push_back(table->row_of(results.baseline).mean);
  if (std::ranges::any_of(baseline, [](double loss) { return !std::isfinite(loss); })) return;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    for (Row& row : tables[i]->rows) {
      if (row.variant == results.baseline || !std::isfinite(row.mean)) continue;
      row.speed_up = speed_up(budgets, baseline, i, row.mean);
    }
  }
}

/// How far a point is from the workload's target: zero or less when it has reached it.
double distance_to_target(const Workload& workload, const Point& point) {
  return workload.target_is_accuracy ? *workload.target - point.val_accuracy.value_or(0.0)
                                     : point.val_loss - *workload.target;
}

double median_of(std::span<const Run* const> runs, double Run::*member) {
  std::vector<double> values;
  for (const Run* run : runs) values.push_back(run->*member);
  return values.empty() ? 0.0 : median(values);
}

}  // namespace

std::string_view effort_name(Effort effort) {
  switch (effort) {
    case Effort::steps: return "steps";
    case Effort::seconds: return "seconds";
    case Effort::forward_backwards: return "forward-backwards";
  }
  return "";
}

double at(const Point& point, Effort effort) {
  switch (effort) {
    case Effort::steps: return static_cast<double>(point.step);
    case Effort::seconds: return point.seconds;
    case Effort::forward_backwards: return point.forward_backwards;
  }
  return 0.0;
}

void measure_times(const Workload& workload, std::span<const Run* const> runs, Row& row) {
  row.median_to_target.fill(infinity);
  if (!workload.target || runs.empty()) return;
  for (const Run* run : runs) {
    PerEffort& times = row.to_target.emplace_back();
    times.fill(infinity);
    if (run->status != Run::Status::done) continue;
    std::vector<double> distances;
    for (const Point& point : run->points) distances.push_back(distance_to_target(workload, point));
    for (const Effort effort : efforts) {
      std::vector<double> elapsed;
      for (const Point& point : run->points) elapsed.push_back(at(point, effort));
      times[static_cast<std::size_t>(effort)] = time_to_target(elapsed, distances, 0.0);
    }
    row.reached += std::isfinite(times[0]) ? 1 : 0;
  }
  for (std::size_t effort = 0; effort < efforts.size(); ++effort) {
    std::vector<double> times;
    for (const PerEffort& of_seed : row.to_target) times.push_back(of_seed[effort]);
    row.median_to_target[effort] = median(times);
    row.earliest_to_target[effort] = std::ranges::min(times);
    row.latest_to_target[effort] = std::ranges::max(times);
  }
}

Cost cost_of(std::span<const Run* const> runs) {
  Cost cost{.step_milliseconds = median_of(runs, &Run::step_milliseconds),
            .passes_per_step = median_of(runs, &Run::passes_per_step)};
  for (const Run* run : runs) cost.state_bytes = std::max(cost.state_bytes, run->state_bytes);
  return cost;
}

void fit_budgets(const Results& results, Analysis& analysis) {
  for (std::size_t workload = 0; workload < results.workloads.size(); ++workload) {
    if (results.workloads[workload].budgets.size() < 3) continue;
    std::vector<Table*> tables;
    for (Table& table : analysis.tables) {
      if (table.workload == workload) tables.push_back(&table);
    }
    fit_workload(results, workload, tables, analysis);
  }
}

const Table& recipe_table(const Analysis& analysis, std::size_t workload) {
  const Table* least = nullptr;
  for (const Table& table : analysis.tables) {
    if (table.workload != workload) continue;
    if (table.budget == 1.0) return table;
    if (least == nullptr) least = &table;
  }
  require(least != nullptr, "workload {} has no table", workload);
  return *least;
}

void profile_times(const Results& results, Analysis& analysis) {
  Profiles profiles;
  for (std::size_t workload = 0; workload < results.workloads.size(); ++workload) {
    if (!results.workloads[workload].target) continue;
    // A target that an untrained model reaches has no ratio.
    const auto& rows = recipe_table(analysis, workload).rows;
    const bool measurable = std::ranges::all_of(rows, [](const Row& row) {
      return std::ranges::all_of(row.median_to_target, [](double t) { return t > 0.0; });
    });
    if (measurable) profiles.workloads.push_back(workload);
  }
  if (profiles.workloads.size() < 2) return;
  for (std::size_t effort = 0; effort < efforts.size(); ++effort) {
    TimeTable times(results.variants.size());
    for (std::size_t variant = 0; variant < times.size(); ++variant) {
      for (const std::size_t workload : profiles.workloads) {
        times[variant].push_back(recipe_table(analysis, workload).row_of(variant).median_to_target[effort]);
      }
    }
    profiles.ratios[effort] = performance_ratios(times);
    for (const auto& ratios : profiles.ratios[effort]) profiles.scores[effort].push_back(profile_score(ratios));
  }
  analysis.profiles = std::move(profiles);
}

}  // namespace monge::compare
