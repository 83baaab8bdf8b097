#include "tools/compare/statistics/scaling.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/error.h"

namespace monge::compare {
namespace {

struct Fit {
  PowerLaw law;
  double squares = 0.0;  // of the residuals
};

/// The best law with this exponent.
Fit fit_linear_part(std::span<const double> budgets, std::span<const double> losses, std::optional<double> floor,
                    double exponent) {
  const auto n = std::ssize(budgets);
  const Eigen::Map<const Eigen::ArrayXd> loss(losses.data(), n);
  // Relative to the least budget, so that no power under- or overflows.
  const double unit = std::ranges::min(budgets);
  const Eigen::ArrayXd power = (Eigen::Map<const Eigen::ArrayXd>(budgets.data(), n) / unit).pow(-exponent);
  PowerLaw law{.floor = floor.value_or(loss.mean()), .scale = 0.0, .exponent = exponent};
  if (floor) {
    law.scale = std::max(0.0, (power * (loss - *floor)).sum() / power.square().sum());
  } else {
    const Eigen::ArrayXd centred = power - power.mean();
    const double slope = (centred * loss).sum() / centred.square().sum();
    if (slope > 0.0) {
      law.scale = slope;
      law.floor = loss.mean() - slope * power.mean();
    }
  }
  const double squares = (loss - law.floor - law.scale * power).square().sum();
  law.scale *= std::pow(unit, exponent);
  return {law, squares};
}

}  // namespace

double PowerLaw::loss(double budget) const { return floor + scale * std::pow(budget, -exponent); }

double PowerLaw::budget(double loss) const {
  if (loss <= floor) return std::numeric_limits<double>::infinity();
  return std::pow(scale / (loss - floor), 1.0 / exponent);
}

PowerLaw fit_power_law(std::span<const double> budgets, std::span<const double> losses, std::optional<double> floor) {
  require(budgets.size() == losses.size(), "power law: {} budgets and {} losses", budgets.size(), losses.size());
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    require(budgets[i] > 0.0 && std::isfinite(budgets[i]) && std::isfinite(losses[i]),
            "power law: budget {} with loss {}", budgets[i], losses[i]);
  }
  const std::size_t unknowns = floor ? 2 : 3;
  require(std::set(budgets.begin(), budgets.end()).size() >= unknowns, "power law: {} different budgets are needed",
          unknowns);

  // A scan over the logarithm of the exponent, then golden sections around its best point: Kiefer, "Sequential minimax
  // search for a maximum", Proc. AMS 1953.
  const double low = std::log(0.01), high = std::log(10.0);
  constexpr int steps = 100;
  const double step = (high - low) / steps;
  const auto fit_at = [&](double log_exponent) {
    return fit_linear_part(budgets, losses, floor, std::exp(log_exponent));
  };
  double center = low;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= steps; ++i) {
    const double squares = fit_at(low + i * step).squares;
    if (squares < least) {
      least = squares;
      center = low + i * step;
    }
  }
  const double golden = 0.5 * (std::sqrt(5.0) - 1.0);
  double from = std::max(low, center - step), to = std::min(high, center + step);
  while (to - from > 1e-9) {
    const double left = to - golden * (to - from), right = from + golden * (to - from);
    if (fit_at(left).squares < fit_at(right).squares) {
      to = right;
    } else {
      from = left;
    }
  }
  return fit_at(0.5 * (from + to)).law;
}

SpeedUp speed_up(std::span<const double> budgets, std::span<const double> baseline, std::size_t at, double challenger,
                 std::optional<double> floor) {
  require(at < budgets.size(), "speed-up: budget {} of {}", at, budgets.size());
  const double equivalent = fit_power_law(budgets, baseline, floor).budget(challenger);
  using Bound = SpeedUp::Bound;
  if (equivalent > budgets.back()) return {.factor = budgets.back() / budgets[at], .bound = Bound::more_than};
  if (equivalent < budgets.front()) return {.factor = budgets.front() / budgets[at], .bound = Bound::less_than};
  return {.factor = equivalent / budgets[at]};
}

}  // namespace monge::compare
