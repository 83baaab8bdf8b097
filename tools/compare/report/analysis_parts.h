// The parts that analysis.cpp and analysis_times.cpp share; for others, analysis.h is the way in.
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "tools/compare/report/analysis.h"

namespace monge::compare {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr std::size_t max_sign_flips = 24;  // of sign_flip_test

/// The report runs that did not fail, by seed.
std::vector<const Run*> report_runs(const Results& results, const Table& table, std::size_t variant);

/// The losses of two rows at the seeds that both have, in rising order.
struct CommonSeeds {
  std::vector<std::int64_t> seeds;
  std::vector<double> one, other;
};
CommonSeeds common_seeds(const Row& one, const Row& other);

/// Fills the times to the workload's target.
void measure_times(const Workload& workload, std::span<const Run* const> runs, Row& row);
Cost cost_of(std::span<const Run* const> runs);
/// Fills Analysis::sensitivities.
void study_tuning(const Results& results, Analysis& analysis);
/// Fills Analysis::scalings and the speed-ups of the rows.
void fit_budgets(const Results& results, Analysis& analysis);
/// Fills Analysis::profiles.
void profile_times(const Results& results, Analysis& analysis);

}  // namespace monge::compare
