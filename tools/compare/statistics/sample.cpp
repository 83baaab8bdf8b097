#include "tools/compare/statistics/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "tools/compare/statistics/distributions.h"

namespace monge::compare {
namespace {

void expect_numbers(const char* what, std::span<const double> values, std::size_t least = 1) {
  require(values.size() >= least, "{} of {} values; {} are needed", what, values.size(), least);
  require(std::ranges::none_of(values, [](double x) { return std::isnan(x); }), "{} of a NaN", what);
}

bool finite(std::span<const double> values) {
  return std::ranges::all_of(values, [](double x) { return std::isfinite(x); });
}

double sum(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0); }

std::vector<double> sorted(std::span<const double> values) {
  std::vector<double> result(values.begin(), values.end());
  std::ranges::sort(result);
  return result;
}

}  // namespace

double mean(std::span<const double> values) {
  expect_numbers("mean", values);
  return sum(values) / static_cast<double>(values.size());
}

double standard_deviation(std::span<const double> values) {
  expect_numbers("standard deviation", values, 2);
  if (!finite(values)) return std::numeric_limits<double>::infinity();
  const double center = mean(values);
  double squares = 0.0;
  for (const double x : values) squares += (x - center) * (x - center);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

Interval mean_interval(std::span<const double> values, double level) {
  expect_numbers("interval of the mean", values, 2);
  require(finite(values), "interval of the mean of infinite values");
  require(level > 0.0 && level < 1.0, "interval of the mean: level {}, allowed: between 0 and 1", level);
  const auto n = static_cast<double>(values.size());
  const double half = student_quantile(0.5 * (1.0 + level), n - 1.0) * standard_deviation(values) / std::sqrt(n);
  const double center = mean(values);
  return {center - half, center + half};
}

double quantile(std::span<const double> values, double q) {
  expect_numbers("quantile", values);
  require(q >= 0.0 && q <= 1.0, "quantile {}, allowed: 0 .. 1", q);
  const std::vector<double> order = sorted(values);
  const double position = q * static_cast<double>(order.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const double share = position - static_cast<double>(below);
  if (share == 0.0) return order[below];
  if (order[below] == order[below + 1]) return order[below];  // also two infinities
  return std::lerp(order[below], order[below + 1], share);
}

double median(std::span<const double> values) { return quantile(values, 0.5); }

double interquartile_mean(std::span<const double> values) {
  expect_numbers("interquartile mean", values);
  const std::vector<double> order = sorted(values);
  const std::size_t cut = order.size() / 4;
  return mean(std::span(order).subspan(cut, order.size() - 2 * cut));
}

double geometric_mean(std::span<const double> values) {
  expect_numbers("geometric mean", values);
  std::vector<double> logs;
  for (const double x : values) {
    require(x >= 0.0, "geometric mean of {}, allowed: >= 0", x);
    logs.push_back(std::log(x));
  }
  const double result = std::exp(mean(logs));
  require(!std::isnan(result), "geometric mean of 0 and infinity");
  return result;
}

}  // namespace monge::compare
