// Tuned: what tuning decided. Search leaves it, results keep it, the report reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace monge::compare {

/// What a run is for: to choose settings, or to measure those chosen, with other seeds.
enum class Stage : std::uint8_t { tune, report };

/// What tuning decided for a variant on a workload in a study.
struct Tuned {
  std::size_t variant = 0, workload = 0, study = 0;
  double budget = 1.0;                               // of its runs
  std::vector<std::pair<std::string, double>> axes;  // the settings chosen
  std::int64_t trials = 0;                           // settings tried, diverged ones included
  std::vector<std::string> on_edge;                  // key paths whose best value lies at the edge of what was tried
  std::vector<std::string> fixed;                    // rates of auxiliary rules that were given, not tuned
};

}  // namespace monge::compare
