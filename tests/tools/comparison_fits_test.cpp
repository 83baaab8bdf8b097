// What a comparison reads off its curves: learning rates, targets, power laws. Where no closed form is given, the
// expected numbers are those of SciPy 1.17.1 (NumPy 2.4.6), by the functions named beside them.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "tools/compare/statistics/learning_rate.h"
#include "tools/compare/statistics/scaling.h"
#include "tools/compare/statistics/targets.h"

namespace monge::compare {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const double nan = std::nan("");

void expect_relative(double actual, double expected, double bound) {
  EXPECT_NEAR(actual, expected, bound * std::abs(expected));
}

// Learning rates

std::vector<LearningRatePoint> grid(const std::vector<double>& losses) {
  std::vector<LearningRatePoint> points;
  double lr = 5e-4;
  for (const double loss : losses) {
    points.push_back({lr, {loss - 0.01, loss + 0.01}});  // two seeds
    lr *= 2.0;
  }
  return points;
}

TEST(LearningRate, ABracketedOptimum) {
  const LearningRateStudy study = study_learning_rates(grid({2.10, 2.02, 1.97, 1.98, 2.09}));
  EXPECT_EQ(study.best, 2u);
  EXPECT_TRUE(study.bracketed());
  EXPECT_FALSE(study.divergence.has_value());
  ASSERT_TRUE(study.parabola.has_value());
  // numpy.polyfit(log2(lr), loss, 2), its vertex
  expect_relative(study.parabola->optimum, 0.002136803946245426, 1e-10);
  expect_relative(study.parabola->loss, 1.9688564935064936, 1e-12);
  expect_relative(study.parabola->curvature, 0.03142857142857182, 1e-10);
  // numpy.interp(1.99, loss, log2(lr)) on either side
  expect_relative(study.tolerated.low, 0.0015157165665103977, 1e-12);
  expect_relative(study.tolerated.high, 0.004260164357759851, 1e-12);

  const auto near =
      study_learning_rates(grid({2.10, 2.02, 1.97, 1.98, 2.09}), {.tolerance = 0.02, .reach = 1}).parabola;
  ASSERT_TRUE(near.has_value());
  expect_relative(near->optimum, 0.0025198420997894805, 1e-10);  // through three points
  expect_relative(near->curvature, 0.03, 1e-10);
  EXPECT_TRUE(rates_to_add(grid({2.10, 2.02, 1.97, 1.98, 2.09})).empty());
}

TEST(LearningRate, AnOptimumAtTheEdgeAsksForMore) {
  const LearningRateStudy high = study_learning_rates(grid({2.1, 2.0, 1.9}));
  EXPECT_TRUE(high.worse_below);
  EXPECT_FALSE(high.worse_above);
  EXPECT_FALSE(high.bracketed());
  EXPECT_FALSE(high.parabola.has_value());  // a line has no vertex
  EXPECT_EQ(high.tolerated.high, 2e-3);     // the end of the grid
  EXPECT_EQ(rates_to_add(grid({2.1, 2.0, 1.9})), (std::vector{4e-3}));
  EXPECT_EQ(rates_to_add(grid({1.9, 2.0, 2.1}), 4.0), (std::vector{1.25e-4}));
  EXPECT_EQ(rates_to_add(grid({2.0, 2.0})), (std::vector{2.5e-4, 2e-3}));
  EXPECT_EQ(rates_to_add(grid({2.0})), (std::vector{2.5e-4, 1e-3}));
  EXPECT_FALSE(study_learning_rates(grid({2.0})).bracketed());
}

TEST(LearningRate, DivergedRunsAreData) {
  auto points = grid({2.10, 2.00, 1.90, 1.95, 3.0});
  points[3].losses[1] = nan;  // one seed of two
  points[4].losses[0] = infinity;
  const LearningRateStudy study = study_learning_rates(points);
  EXPECT_EQ(study.best, 2u);
  EXPECT_EQ(study.losses[3], infinity);
  EXPECT_EQ(study.divergence, points[3].lr);
  EXPECT_TRUE(study.bracketed());
  EXPECT_NEAR(study.tolerated.high, points[2].lr, 1e-15);  // nothing is known above
  EXPECT_TRUE(rates_to_add(points).empty());

  auto broken = grid({infinity, nan});
  EXPECT_THROW(study_learning_rates(broken), std::invalid_argument);
  EXPECT_EQ(rates_to_add(broken), (std::vector{2.5e-4}));
}

TEST(LearningRate, ARidgeHasNoParabola) {
  EXPECT_FALSE(study_learning_rates(grid({2.0, 2.1, 2.0})).parabola.has_value());     // opens downward
  EXPECT_FALSE(study_learning_rates(grid({1.90, 1.95, 2.01})).parabola.has_value());  // its vertex lies below the grid
  EXPECT_FALSE(study_learning_rates(grid({2.0, 1.9, infinity})).parabola.has_value());  // two points
  EXPECT_TRUE(study_learning_rates(grid({2.0, 1.9, 2.0})).parabola.has_value());
}

TEST(LearningRate, PointsComeInOrder) {
  auto points = grid({2.0, 1.9});
  std::swap(points[0], points[1]);
  EXPECT_THROW(study_learning_rates(points), std::invalid_argument);
  points[0] = points[1];
  EXPECT_THROW(study_learning_rates(points), std::invalid_argument);
  EXPECT_THROW(study_learning_rates(std::vector<LearningRatePoint>{}), std::invalid_argument);
  EXPECT_THROW(study_learning_rates(std::vector<LearningRatePoint>{{1e-3, {}}}), std::invalid_argument);
}

// Targets

TEST(Targets, IsReachedBetweenEvaluations) {
  const std::vector<double> steps = {100, 200, 300, 400}, losses = {3.0, 2.0, 2.1, 1.5};
  EXPECT_EQ(time_to_target(steps, losses, 2.0), 200);
  EXPECT_EQ(time_to_target(steps, losses, 2.5), 150);
  EXPECT_NEAR(time_to_target(steps, losses, 1.9), 300 + 100 * 0.2 / 0.6, 1e-9);
  EXPECT_EQ(time_to_target(steps, losses, 3.5), 100) << "nothing was measured before";
  EXPECT_EQ(time_to_target(steps, losses, 1.4), infinity);
  EXPECT_EQ(time_to_target(steps, std::vector{nan, nan, 1.0, nan}, 2.0), 300);
  EXPECT_EQ(time_to_target({}, {}, 2.0), infinity);
  EXPECT_THROW(time_to_target(steps, {}, 2.0), std::invalid_argument);
}

TEST(Targets, ProfilesByHand) {
  const TimeTable ratios = performance_ratios({{10, 40, infinity, infinity}, {20, 20, 5, infinity}});
  EXPECT_EQ(ratios, (TimeTable{{1, 2, infinity, infinity}, {2, 1, 1, infinity}}));
  EXPECT_EQ(profile(ratios[0], 1.0), 0.25);
  EXPECT_EQ(profile(ratios[0], 1.99), 0.25);
  EXPECT_EQ(profile(ratios[0], 2.0), 0.5);
  EXPECT_EQ(profile(ratios[1], 1e9), 0.75);
  EXPECT_DOUBLE_EQ(profile_score(ratios[0], 4.0), (3.0 + 2.0) / 3.0 / 4.0);
  EXPECT_THROW(performance_ratios({{0.0}}), std::invalid_argument);
  EXPECT_THROW(performance_ratios({{1.0}, {1.0, 2.0}}), std::invalid_argument);
}

TEST(Targets, TheScoreIsTheAreaBelowTheProfile) {
  const std::vector<double> ratios = {1.0, 1.3, 2.7, 3.999, 4.0, 17.0, infinity};
  constexpr int steps = 300000;
  double area = 0.0;
  for (int i = 0; i < steps; ++i) area += profile(ratios, 1.0 + 3.0 * (i + 0.5) / steps) / steps;
  EXPECT_NEAR(profile_score(ratios), area, 1e-5);
}

// Power laws

/// A published sweep (Wen et al., arXiv:2509.02046): AdamW at 1, 2, 4, 8 times a budget, and Muon at the first two.
const std::vector<double> budgets = {1, 2, 4, 8}, adamw = {3.529, 3.409, 3.322, 3.262};
constexpr double muon_at_one = 3.464, muon_at_two = 3.369;

TEST(PowerLaw, AgreesWithSciPy) {  // scipy.optimize.least_squares
  const PowerLaw law = fit_power_law(budgets, adamw);
  expect_relative(law.floor, 3.1119264964964746, 1e-6);
  expect_relative(law.scale, 0.4172157854493023, 1e-5);
  expect_relative(law.exponent, 0.4926115723966808, 1e-5);
  expect_relative(law.budget(muon_at_one), 1.4114528591696474, 1e-5);
  expect_relative(law.budget(muon_at_two) / 2.0, 1.3362425613218223, 1e-5);
  EXPECT_EQ(law.budget(law.floor), infinity);

  const PowerLaw known = fit_power_law(budgets, adamw, 3.0);
  EXPECT_EQ(known.floor, 3.0);
  expect_relative(known.scale, 0.525733602957802, 1e-6);
  expect_relative(known.exponent, 0.3454630709761024, 1e-5);
}

TEST(PowerLaw, FindsTheLawThatMadeTheData) {
  for (const double exponent : {0.1, 0.5, 2.0}) {
    const PowerLaw truth{.floor = 1.5, .scale = 0.7, .exponent = exponent};
    std::vector<double> D, L;
    for (const double budget : {1e6, 3e6, 1e7, 5e7}) {
      D.push_back(budget);
      L.push_back(1.5 + 0.7 * std::pow(budget / 1e6, -exponent));
    }
    const PowerLaw law = fit_power_law(D, L);
    expect_relative(law.floor, truth.floor, 1e-6);
    expect_relative(law.exponent, truth.exponent, 1e-5);
    for (std::size_t i = 0; i < D.size(); ++i) {
      EXPECT_NEAR(law.loss(D[i]), L[i], 1e-9);
      expect_relative(law.budget(L[i]), D[i], 1e-6);
    }
  }
}

TEST(PowerLaw, LossesThatRiseAreFlat) {
  const PowerLaw law = fit_power_law(budgets, std::vector{2.0, 2.1, 2.2, 2.3});
  EXPECT_EQ(law.scale, 0.0);
  EXPECT_NEAR(law.floor, 2.15, 1e-12);
  EXPECT_EQ(law.budget(2.1), infinity);
}

TEST(PowerLaw, RefusesTooLittle) {
  EXPECT_THROW(fit_power_law(std::vector{1.0, 2.0}, std::vector{2.0, 1.0}), std::invalid_argument);
  EXPECT_THROW(fit_power_law(std::vector{1.0, 2.0, 2.0}, std::vector{2.0, 1.0, 1.1}), std::invalid_argument);
  EXPECT_THROW(fit_power_law(std::vector{1.0}, std::vector{2.0}, 1.0), std::invalid_argument);
  EXPECT_THROW(fit_power_law(std::vector{0.0, 1.0, 2.0}, std::vector{3.0, 2.0, 1.0}), std::invalid_argument);
  EXPECT_THROW(fit_power_law(budgets, std::vector{3.0, infinity, 2.0, 1.0}), std::invalid_argument);
}

TEST(SpeedUp, IsReadThroughTheLawWithinWhatWasMeasured) {
  const SpeedUp at_two = speed_up(budgets, adamw, 1, muon_at_two);
  expect_relative(at_two.factor, 1.3362425613218223, 1e-5);
  EXPECT_EQ(at_two.bound, SpeedUp::Bound::none);
  expect_relative(speed_up(budgets, adamw, 1, adamw[1]).factor, 1.0, 0.02);
  const SpeedUp beyond = speed_up(budgets, adamw, 0, 0.0), below = speed_up(budgets, adamw, 1, 100.0);
  EXPECT_EQ(beyond.bound, SpeedUp::Bound::more_than);
  EXPECT_EQ(beyond.factor, budgets.back() / budgets[0]);
  EXPECT_EQ(below.bound, SpeedUp::Bound::less_than);
  EXPECT_EQ(below.factor, budgets[0] / budgets[1]);
  EXPECT_THROW(speed_up(budgets, adamw, budgets.size(), 3.0), std::invalid_argument);
}

}  // namespace
}  // namespace monge::compare
