#include "tools/compare/statistics/learning_rate.h"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/error.h"

namespace monge::compare {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::vector<double> mean_losses(std::span<const LearningRatePoint> points) {
  std::vector<double> losses;
  for (const LearningRatePoint& point : points) {
    require(point.lr > 0.0 && !point.losses.empty(), "learning rates: {} losses at {}", point.losses.size(), point.lr);
    const bool finite = std::ranges::all_of(point.losses, [](double x) { return std::isfinite(x); });
    losses.push_back(finite ? mean(point.losses) : infinity);
  }
  const auto disorder = std::ranges::adjacent_find(points, std::greater_equal{}, &LearningRatePoint::lr);
  require(!points.empty() && disorder == points.end(), "learning rates: points must be in increasing order");
  return losses;
}

/// Where the loss passes `limit` between the last point below it and the next one, as log2 of the rate.
double crossing(std::span<const LearningRatePoint> points, const std::vector<double>& losses, std::size_t inside,
                std::size_t outside, double limit) {
  const double from = std::log2(points[inside].lr);
  if (!std::isfinite(losses[outside])) return from;
  const double share = (limit - losses[inside]) / (losses[outside] - losses[inside]);
  return std::lerp(from, std::log2(points[outside].lr), share);
}

Interval tolerated(std::span<const LearningRatePoint> points, const std::vector<double>& losses, std::size_t best,
                   double tolerance) {
  const double limit = losses[best] + tolerance;
  std::size_t low = best, high = best;
  while (low > 0 && losses[low - 1] <= limit) --low;
  while (high + 1 < points.size() && losses[high + 1] <= limit) ++high;
  const double from = low == 0 ? std::log2(points[0].lr) : crossing(points, losses, low, low - 1, limit);
  const double to =
      high + 1 == points.size() ? std::log2(points[high].lr) : crossing(points, losses, high, high + 1, limit);
  return {std::exp2(from), std::exp2(to)};
}

std::optional<Parabola> parabola(std::span<const LearningRatePoint> points, const std::vector<double>& losses,
                                 std::size_t best, std::size_t reach) {
  const double center = std::log2(points[best].lr);  // taken off x: well conditioned
  std::vector<double> x, y;
  for (std::size_t i = best - std::min(best, reach); i < std::min(points.size(), best + reach + 1); ++i) {
    if (!std::isfinite(losses[i])) continue;
    x.push_back(std::log2(points[i].lr) - center);
    y.push_back(losses[i]);
  }
  if (x.size() < 3) return std::nullopt;
  const Eigen::Map<const Eigen::ArrayXd> octaves(x.data(), std::ssize(x));
  Eigen::MatrixX3d powers(octaves.size(), 3);
  powers << octaves.pow(0), octaves, octaves.square();
  const Eigen::Vector3d fit =
      powers.colPivHouseholderQr().solve(Eigen::Map<const Eigen::VectorXd>(y.data(), std::ssize(y)));
  const double a = fit[0], b = fit[1], c = fit[2], vertex = -b / (2.0 * c);
  if (!(c > 0.0) || vertex < x.front() || vertex > x.back()) return std::nullopt;
  return Parabola{.optimum = std::exp2(center + vertex), .loss = a + 0.5 * b * vertex, .curvature = c};
}

}  // namespace

LearningRateStudy study_learning_rates(std::span<const LearningRatePoint> points, const LearningRateOptions& options) {
  LearningRateStudy study;
  study.losses = mean_losses(points);
  study.best = static_cast<std::size_t>(std::ranges::min_element(study.losses) - study.losses.begin());
  const double least = study.losses[study.best];
  require(std::isfinite(least), "learning rates: every one of the {} points diverged", points.size());
  study.worse_below = study.losses.front() > least;
  study.worse_above = study.losses.back() > least;
  const auto diverged = std::ranges::find(study.losses, infinity);
  if (diverged != study.losses.end()) {
    study.divergence = points[static_cast<std::size_t>(diverged - study.losses.begin())].lr;
  }
  study.tolerated = tolerated(points, study.losses, study.best, options.tolerance);
  study.parabola = parabola(points, study.losses, study.best, options.reach);
  return study;
}

std::vector<double> rates_to_add(std::span<const LearningRatePoint> points, double factor) {
  require(factor > 1.0, "learning rates: factor {}, allowed: > 1", factor);
  const std::vector<double> losses = mean_losses(points);
  const double least = std::ranges::min(losses);
  std::vector<double> add;
  if (losses.front() == least) add.push_back(points.front().lr / factor);
  if (losses.back() == least && std::isfinite(least)) add.push_back(points.back().lr * factor);
  return add;
}

}  // namespace monge::compare
