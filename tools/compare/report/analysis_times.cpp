// What the runs took: times to target and to the baseline's loss, power laws over budgets, profiles over workloads.
#include <algorithm>
#include <cmath>
#include <map>

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

/// When a run comes to a loss; infinite when it does not, or diverges.
double steps_to(const Run& run, double loss) {
  if (run.status != Run::Status::done) return infinity;
  std::vector<double> steps, losses;
  for (const Point& point : run.points) {
    steps.push_back(static_cast<double>(point.step));
    losses.push_back(point.val_loss);
  }
  return time_to_target(steps, losses, loss);
}

/// The logarithms of its shares, means over the runs of each unit; empty, and no CatchUp, where no run has a pair.
std::vector<double> catch_up(const Results& results, const Table& table, Row& row) {
  const std::vector<const Run*> baseline = report_runs(results, table, results.baseline);
  CatchUp found;
  std::map<std::int64_t, std::vector<double>> together;
  for (const Run* run : report_runs(results, table, row.variant)) {
    const auto pair = std::ranges::find_if(
        baseline, [run](const Run* other) { return other->study == run->study && other->seed == run->seed; });
    // One that diverged has no loss to come to.
    if (pair == baseline.end() || !std::isfinite(loss_of(**pair)) || (*pair)->points.empty()) continue;
    ++found.runs;
    const double all = std::max(1.0, at((*pair)->points.back(), Effort::steps));
    const double share = std::max(1.0, steps_to(*run, (*pair)->final_loss)) / all;
    if (std::isinf(share)) found.missed.push_back(run->seed);
    together[unit_of(results, *run)].push_back(std::isinf(share) ? 0.0 : std::log(share));
  }
  if (found.runs > 0) row.catch_up = std::move(found);
  std::vector<double> units;
  for (const auto& [id, logs] : together) units.push_back(mean(logs));
  return units;
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

/// A run that never got there counts as the baseline's whole length, the least it can have taken: so the mean is a
/// lower bound, and the interval has no upper end.
void catch_up(const Results& results, Analysis& analysis) {
  std::vector<Contenders> shares;
  std::vector<CatchUp*> of_shares;
  for (Table& table : analysis.tables) {
    for (Row& row : table.rows) {
      if (row.variant == results.baseline) continue;
      const std::vector<double> units = catch_up(results, table, row);
      if (units.empty()) continue;
      row.catch_up->ratio = std::exp(mean(units));
      shares.push_back({.values = {units, std::vector(units.size(), 0.0)}});
      of_shares.push_back(&*row.catch_up);
    }
  }
  const Family family = test_family(shares, results.level);
  for (std::size_t i = 0; i < of_shares.size(); ++i) {
    for (const PairTest& pair : family.pairs[i]) {
      const double high = of_shares[i]->missed.empty() ? std::exp(pair.interval.high) : infinity;
      of_shares[i]->interval = {std::exp(pair.interval.low), high};
    }
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
