// The parts that analysis.cpp and analysis_times.cpp share; for others, analysis.h is the way in.
#pragma once

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "tools/compare/report/analysis.h"

namespace monge::compare {

inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// The report runs that did not fail, by seed.
std::vector<const Run*> report_runs(const Results& results, const Table& table, std::size_t variant);

/// What its run counts as part of: its study, or where there is one study, its seed.
inline std::int64_t unit_of(const Results& results, const Run& run) {
  return results.studies > 1 ? static_cast<std::int64_t>(run.study) : run.seed;
}

/// Infinite unless the run ended as it should.
inline double loss_of(const Run& run) {
  return run.status == Run::Status::done && std::isfinite(run.final_loss) ? run.final_loss : infinity;
}

/// Fills the times to the workload's target.
void measure_times(const Workload& workload, std::span<const Run* const> runs, Row& row);
Cost cost_of(std::span<const Run* const> runs);
/// Fills Analysis::sensitivities and choices.
void study_tuning(const Results& results, Analysis& analysis);
/// Fills Analysis::scalings and the speed-ups of the rows.
void fit_budgets(const Results& results, Analysis& analysis);
/// Fills Row::catch_up.
void catch_up(const Results& results, Analysis& analysis);
/// Fills Analysis::profiles.
void profile_times(const Results& results, Analysis& analysis);

}  // namespace monge::compare
