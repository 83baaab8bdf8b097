#include "tools/compare/statistics/outliers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "tools/compare/statistics/distributions.h"
#include "tools/compare/statistics/sample.h"

namespace monge::compare {
namespace {

/// What the largest of n Studentized deviations exceeds with a probability of `level` (Grubbs, "Procedures for
/// detecting outlying observations in samples", Technometrics 1969).
double critical_deviation(std::size_t n, double level) {
  const auto count = static_cast<double>(n);
  const double t = student_quantile(1.0 - level / (2.0 * count), count - 2.0);
  return (count - 1.0) * t / std::sqrt(count * (count - 2.0 + t * t));
}

}  // namespace

std::vector<std::size_t> outliers(std::span<const double> values, double level) {
  constexpr std::size_t fewest = 5;
  require(std::ranges::all_of(values, [](double x) { return std::isfinite(x); }), "outliers: a value is not finite");
  if (values.size() < fewest) return {};
  std::vector<std::size_t> left(values.size()), extreme;
  std::iota(left.begin(), left.end(), 0U);
  std::size_t found = 0;
  while (extreme.size() < values.size() / 3) {
    std::vector<double> sample;
    for (const std::size_t i : left) sample.push_back(values[i]);
    const double middle = mean(sample), deviation = standard_deviation(sample);
    const auto farthest =
        std::ranges::max_element(left, {}, [&](std::size_t i) { return std::abs(values[i] - middle); });
    const bool beyond =
        std::abs(values[*farthest] - middle) > critical_deviation(left.size(), level) * deviation && deviation > 0.0;
    extreme.push_back(*farthest);
    left.erase(farthest);
    if (beyond) found = extreme.size();  // the last that does not fit counts, and with it those that hid it
  }
  extreme.resize(found);
  return extreme;
}

}  // namespace monge::compare
