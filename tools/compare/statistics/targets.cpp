#include "tools/compare/statistics/targets.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace monge::compare {

double time_to_target(std::span<const double> times, std::span<const double> losses, double target) {
  require(times.size() == losses.size(), "time to target: {} times and {} losses", times.size(), losses.size());
  const auto reached = std::ranges::find_if(losses, [target](double loss) { return loss <= target; });
  if (reached == losses.end()) return std::numeric_limits<double>::infinity();
  const auto i = static_cast<std::size_t>(reached - losses.begin());
  if (i == 0 || !std::isfinite(losses[i - 1])) return times[i];
  const double share = (losses[i - 1] - target) / (losses[i - 1] - losses[i]);
  return times[i - 1] + share * (times[i] - times[i - 1]);
}

TimeTable performance_ratios(const TimeTable& times) {
  TimeTable ratios = times;
  if (times.empty()) return ratios;
  for (std::size_t workload = 0; workload < times.front().size(); ++workload) {
    double least = std::numeric_limits<double>::infinity();
    for (const std::vector<double>& row : times) {
      require(row.size() == times.front().size(), "performance ratios: rows of {} and {} workloads", row.size(),
              times.front().size());
      require(row[workload] > 0.0, "performance ratios: time {}, allowed: > 0", row[workload]);
      least = std::min(least, row[workload]);
    }
    for (std::vector<double>& row : ratios) {
      // Where none arrived, infinity / infinity would be no number.
      if (row[workload] < std::numeric_limits<double>::infinity()) row[workload] /= least;
    }
  }
  return ratios;
}

double profile(std::span<const double> ratios, double tau) {
  require(!ratios.empty(), "performance profile of no workload");
  const auto within = std::ranges::count_if(ratios, [tau](double r) { return r <= tau; });
  return static_cast<double>(within) / static_cast<double>(ratios.size());
}

double profile_score(std::span<const double> ratios, double largest) {
  require(!ratios.empty() && largest > 1.0, "performance score of {} workloads up to {}", ratios.size(), largest);
  double sum = 0.0;
  for (const double r : ratios) sum += std::max(0.0, largest - r);
  return sum / ((largest - 1.0) * static_cast<double>(ratios.size()));
}

}  // namespace monge::compare
