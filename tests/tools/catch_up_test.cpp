// When variants come to the loss with which the baseline ends, from made-up curves whose answer is known.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/made_up_results.h"
#include "tools/compare/report/analysis.h"
#include "tools/compare/statistics/distributions.h"

namespace monge::compare {
namespace {

constexpr std::int64_t steps = 40;

/// Two seeds in each of three studies. The baseline ends at a loss that differs from seed to seed, and variant v comes
/// to it after shares[v - 1][study] of the steps, between two evaluations.
Results with_shares(const std::vector<std::array<double, 3>>& shares) {
  Results results = test::planted(std::vector<double>(shares.size() + 1, 0.0), 6, 1);
  results.studies = 3;
  for (compare::Run& run : results.runs) {
    run.study = static_cast<std::size_t>(run.seed - 1) / 2;
    const double end = 2.0 + 0.1 * static_cast<double>(run.seed);
    const double there = run.variant == 0 ? 1.0 : shares[run.variant - 1][run.study];
    run.points.clear();
    for (std::int64_t step = 10; step <= steps; step += 10) {
      run.points.push_back({.step = step, .val_loss = end + there * steps - static_cast<double>(step)});
    }
    run.final_loss = run.points.back().val_loss;
  }
  return results;
}

compare::Run& run_of(Results& results, std::size_t variant, std::int64_t seed) {
  return *std::ranges::find_if(results.runs,
                               [&](const compare::Run& run) { return run.variant == variant && run.seed == seed; });
}

CatchUp catch_up_of(const Results& results, std::size_t variant) {
  return analyse(results).tables.front().row_of(variant).catch_up.value();
}

TEST(CatchUp, IsTheMeanRatioOverStudies) {
  const Results results = with_shares({{0.4, 0.5, 0.8}, {0.9, 0.9, 0.9}});
  EXPECT_FALSE(analyse(results).tables.front().row_of(0).catch_up.has_value());
  const CatchUp found = catch_up_of(results, 1);
  EXPECT_EQ(found.runs, 6u);
  EXPECT_TRUE(found.missed.empty());
  const std::vector<double> logs{std::log(0.4), std::log(0.5), std::log(0.8)};
  EXPECT_NEAR(found.ratio, std::exp(mean(logs)), 1e-12);
  // Three studies, and two variants whose intervals hold together.
  const double half = student_quantile(1.0 - 0.5 * 0.05 / 2.0, 2.0) * standard_deviation(logs) / std::sqrt(3.0);
  EXPECT_NEAR(found.interval->low, std::exp(mean(logs) - half), 1e-12);
  EXPECT_NEAR(found.interval->high, std::exp(mean(logs) + half), 1e-12);
  EXPECT_NEAR(catch_up_of(results, 2).ratio, 0.9, 1e-12);
}

TEST(CatchUp, ARunThatNeverGetsThereIsNamedAndBoundsTheRatio) {
  Results results = with_shares({{0.4, 0.5, 0.8}});
  for (Point& point : run_of(results, 1, 3).points) point.val_loss += 100.0;
  run_of(results, 1, 6).status = compare::Run::Status::diverged;  // after it got there
  const CatchUp found = catch_up_of(results, 1);
  EXPECT_EQ(found.runs, 6u);
  EXPECT_EQ(found.missed, (std::vector<std::int64_t>{3, 6}));
  EXPECT_NEAR(found.ratio, std::exp((std::log(0.4) + 0.5 * std::log(0.5) + 0.5 * std::log(0.8)) / 3.0), 1e-12);
  EXPECT_LT(found.interval->low, found.ratio);
  EXPECT_TRUE(std::isinf(found.interval->high));
}

TEST(CatchUp, APairNeedsBothRuns) {
  Results results = with_shares({{0.5, 0.5, 0.25}});
  run_of(results, 0, 1).status = compare::Run::Status::diverged;
  run_of(results, 1, 2).status = compare::Run::Status::failed;
  run_of(results, 0, 3).status = compare::Run::Status::failed;
  const CatchUp found = catch_up_of(results, 1);
  EXPECT_EQ(found.runs, 3u);
  EXPECT_TRUE(found.missed.empty());
  EXPECT_NEAR(found.ratio, std::sqrt(0.5 * 0.25), 1e-12) << "nothing is left of the first study";
}

TEST(CatchUp, OneStudyIsReadSeedBySeed) {
  Results results = with_shares({{0.25, 0.25, 0.5}});
  std::erase_if(results.runs, [](const compare::Run& run) { return run.study > 0; });
  results.studies = 1;
  run_of(results, 1, 2).points = run_of(results, 0, 2).points;
  const CatchUp two = catch_up_of(results, 1);
  EXPECT_NEAR(two.ratio, std::sqrt(0.25 * 1.0), 1e-12);
  EXPECT_TRUE(two.interval.has_value());
  std::erase_if(results.runs, [](const compare::Run& run) { return run.seed == 2; });
  EXPECT_FALSE(catch_up_of(results, 1).interval.has_value());
}

}  // namespace
}  // namespace monge::compare
