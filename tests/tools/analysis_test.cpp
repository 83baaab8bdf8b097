// What a comparison concludes from made-up runs whose truth is known.
#include "tools/compare/report/analysis.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/made_up_results.h"
#include "tools/compare/statistics/distributions.h"

namespace monge::compare {
namespace {

using test::planted;
using test::Realistic;

constexpr double infinity = std::numeric_limits<double>::infinity();

Run& run_of(Results& results, std::size_t variant, std::int64_t seed) {
  return *std::ranges::find_if(results.runs, [&](const Run& r) { return r.variant == variant && r.seed == seed; });
}

const Row& row_of(const Analysis& analysis, std::size_t variant) { return analysis.tables.front().row_of(variant); }

bool share_a_letter(const Row& one, const Row& other) {
  return one.group.find_first_of(other.group) != std::string::npos;
}

/// Four standard deviations of a count of `trials` with this probability.
double slack(int trials, double probability) { return 4.0 * std::sqrt(trials * probability * (1.0 - probability)); }

// Claims

bool differs(const Row& row) { return row.contrast && row.contrast->differs(); }

TEST(Analysis, ATieIsRarelyDeclaredADifference) {
  constexpr int trials = 2000;
  for (const std::vector<double>& means : {std::vector<double>{0.0, 0.0}, {0.0, 0.0, 0.0, 0.0}}) {
    int false_claims = 0, false_letters = 0;
    for (int i = 0; i < trials; ++i) {
      const Analysis analysis = analyse(planted(means, 6, i));
      const std::vector<Row>& rows = analysis.tables.front().rows;
      false_claims += std::ranges::any_of(rows, differs);
      false_letters += std::ranges::any_of(rows, [](const Row& row) { return row.group != "a"; });
    }
    EXPECT_LE(false_claims, false_letters) << "one family: verdicts are some of the letters' claims";
    EXPECT_LT(false_letters, trials * 0.05 + slack(trials, 0.05));
    // A pair alone leaves little unused.
    EXPECT_GT(false_letters, means.size() == 2 ? trials * 0.01 : 0.0);
  }
}

TEST(Analysis, ADifferenceThatIsCalledDetectableIsFoundAsOften) {
  constexpr int trials = 1000;
  constexpr std::size_t seeds = 6;
  for (const std::size_t variants : {2u, 4u}) {
    int found = 0;
    for (int i = 0; i < trials; ++i) {
      std::vector<double> means(variants, 0.0);
      const double shift = row_of(analyse(planted(means, seeds, i)), 1).contrast->detectable;
      means[1] = -shift;  // in another comparison
      found += row_of(analyse(planted(means, seeds, 10'000 + i)), 1).contrast->verdict == Contrast::Verdict::lower;
    }
    EXPECT_GT(found, trials * 0.8 - slack(trials, 0.8)) << variants;
  }
}

TEST(Analysis, LettersAndVerdictsClaimTheSame) {
  int separate = 0, together = 0;
  for (int i = 0; i < 200; ++i) {
    const Analysis analysis = analyse(planted({0.0, 0.003, -0.006, 0.009}, 8, i));
    for (std::size_t v = 1; v < 4; ++v) {
      const Row& row = row_of(analysis, v);
      const bool same = share_a_letter(row, row_of(analysis, 0));
      EXPECT_EQ(same, !row.contrast->differs());
      EXPECT_EQ(same, row.contrast->interval.low <= 0.0 && row.contrast->interval.high >= 0.0);
      (same ? together : separate) += 1;
    }
  }
  EXPECT_GT(separate, 50);
  EXPECT_GT(together, 50);
}

/// Two variants against a baseline, five seeds: the second's losses are higher by 0.01 .. 0.05, the third's are equal.
Results by_hand() {
  Results results = planted({0.0, 0.0, 0.0}, 5, 1);
  for (std::int64_t seed = 1; seed <= 5; ++seed) {
    const double loss = 2.0 + 0.1 * static_cast<double>(seed * seed);
    run_of(results, 0, seed).final_loss = loss;
    run_of(results, 1, seed).final_loss = loss + 0.01 * static_cast<double>(seed);
    run_of(results, 2, seed).final_loss = loss;
  }
  return results;
}

TEST(Analysis, NumbersByHand) {
  const Analysis analysis = analyse(by_hand());
  EXPECT_EQ(analysis.comparisons, 3u) << "all pairs";
  const Row& row = row_of(analysis, 1);
  const Contrast& contrast = *row.contrast;
  EXPECT_TRUE(contrast.paired);
  EXPECT_FALSE(contrast.on_excess);
  EXPECT_EQ(contrast.units, 5u);
  EXPECT_NEAR(row.mean, 2.0 + 0.1 * 11.0 + 0.03, 1e-12);
  // d = 0.01 .. 0.05: mean 0.03, sd sqrt(0.00025), t^2 = 18 with four degrees of freedom, for which
  // P(T <= t) = 1/2 + 3/8 t / sqrt(1 + t^2/4) (1 - t^2 / (12 (1 + t^2/4))).
  EXPECT_NEAR(contrast.difference, 0.03, 1e-12);
  const double below = 0.5 + 0.375 * std::sqrt(18.0 / 5.5) * (1.0 - 18.0 / (12.0 * 5.5));
  EXPECT_NEAR(contrast.p, 3.0 * 2.0 * (1.0 - below), 1e-9);
  EXPECT_EQ(contrast.verdict, Contrast::Verdict::higher);
  const double half = student_quantile(1.0 - 0.5 * 0.05 / 3.0, 4.0) * std::sqrt(0.00025 / 5.0);
  EXPECT_NEAR(contrast.interval.low, 0.03 - half, 1e-9);
  EXPECT_NEAR(contrast.interval.high, 0.03 + half, 1e-9);

  EXPECT_EQ(row_of(analysis, 2).contrast->p, 1.0);
  EXPECT_EQ(row_of(analysis, 2).group, row_of(analysis, 0).group);
  EXPECT_FALSE(row_of(analysis, 0).contrast.has_value());
  EXPECT_EQ(analysis.tables.front().rows.back().variant, 1u) << "least mean first";
}

TEST(Analysis, AllTablesAreCorrectedTogether) {
  Results one = by_hand(), two = by_hand();
  two.workloads.push_back({.name = "again"});
  for (const compare::Run& run : one.runs) {
    two.runs.push_back(run);
    two.runs.back().workload = 1;
  }
  const Analysis analysis = analyse(two);
  EXPECT_EQ(analysis.comparisons, 6u);
  EXPECT_NEAR(row_of(analysis, 1).contrast->p, 2.0 * row_of(analyse(one), 1).contrast->p, 1e-12);
}

// What there is to say besides lower and higher

TEST(Analysis, WithinTheMarginVariantsAreEquivalent) {
  Results results = planted({0.0, 1e-4, 0.05}, 8, 1);
  EXPECT_EQ(row_of(analyse(results), 1).contrast->verdict, Contrast::Verdict::open);
  results.margin = 0.02;
  const Analysis analysis = analyse(results);
  EXPECT_EQ(row_of(analysis, 1).contrast->verdict, Contrast::Verdict::equivalent);
  EXPECT_EQ(row_of(analysis, 2).contrast->verdict, Contrast::Verdict::higher);
  results.margin = 1e-4;
  EXPECT_EQ(row_of(analyse(results), 1).contrast->verdict, Contrast::Verdict::open);
}

/// Losses above an optimum of 1, seed by seed: `excess` times a factor that the seeds draw for all.
Results above_optimum(std::initializer_list<double> excess, std::initializer_list<double> factors) {
  Results results = planted(std::vector<double>(excess.size(), 0.0), std::ssize(factors), 1);
  results.workloads.front().optimum = 1.0;
  for (compare::Run& run : results.runs) {
    const double jitter = 1.0 + 0.02 * static_cast<double>((run.seed + 3 * static_cast<std::int64_t>(run.variant)) % 5);
    run.final_loss = 1.0 + excess.begin()[run.variant] * factors.begin()[run.seed - 1] * jitter;
  }
  return results;
}

// Seeds that differ tenfold hide a difference of losses, and do not hide a ratio of excess losses.
TEST(Analysis, WhereTheOptimumIsKnownRatiosAreTested) {
  const Results results = above_optimum({0.02, 0.01}, {0.3, 1.0, 3.0, 0.5, 9.0, 0.2});
  const Analysis analysis = analyse(results);
  const Row& row = row_of(analysis, 1);
  EXPECT_TRUE(row.contrast->on_excess);
  EXPECT_EQ(row.contrast->verdict, Contrast::Verdict::lower);
  EXPECT_NEAR(row.excess_ratio->ratio, 0.5, 0.05);
  EXPECT_LT(row.excess_ratio->interval.high, 1.0);
  Results unknown = results;
  unknown.workloads.front().optimum.reset();
  EXPECT_EQ(row_of(analyse(unknown), 1).contrast->verdict, Contrast::Verdict::open);
}

TEST(Analysis, NothingIsBetterThanSolved) {
  const Analysis analysis = analyse(above_optimum({2e-6, 1e-6, 0.5}, {1.0, 1.1, 0.9, 1.0, 1.2, 0.8}));
  EXPECT_EQ(row_of(analysis, 1).contrast->verdict, Contrast::Verdict::solved);
  EXPECT_EQ(row_of(analysis, 1).group, row_of(analysis, 0).group);
  EXPECT_EQ(row_of(analysis, 2).contrast->verdict, Contrast::Verdict::higher);
}

// Studies

TEST(Analysis, TheUnitIsTheStudy) {
  Results results = planted({0.0, 0.0}, 6, 1);
  results.studies = 3;
  for (compare::Run& run : results.runs) {  // two seeds a study
    run.study = static_cast<std::size_t>(run.seed - 1) / 2;
    const double of_seed = run.seed % 2 == 0 ? 1.0 : -1.0;
    run.final_loss = 2.0 + of_seed + (run.variant == 0 ? 0.0 : 0.1 + 0.01 * static_cast<double>(run.study));
  }
  const Analysis analysis = analyse(results);
  const Row& row = row_of(analysis, 1);
  ASSERT_EQ(row.units.size(), 3u);
  EXPECT_EQ(row.losses.size(), 6u);
  EXPECT_EQ(row.contrast->units, 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(row.contrast->differences[i], 0.1 + 0.01 * static_cast<double>(i), 1e-12);
  }
  EXPECT_NEAR(row.deviation.value(), 0.01, 1e-12) << "between studies, not seeds";
  EXPECT_EQ(row.contrast->verdict, Contrast::Verdict::higher);
}

TEST(Analysis, PairsAreClaimedWhereRunsBeganAlike) {
  Results results = by_hand();
  for (compare::Run& run : results.runs) run.initial_weights = "one";
  EXPECT_TRUE(row_of(analyse(results), 1).contrast->paired);
  run_of(results, 1, 3).initial_weights = "other";
  EXPECT_FALSE(row_of(analyse(results), 1).contrast->paired);
  EXPECT_TRUE(row_of(analyse(results), 2).contrast->paired);
}

TEST(Analysis, SaysHowSureTheChoiceOfASettingWas) {
  Results results = planted({0.0, 0.0}, 4, 1);
  const auto tune = [&](double rate, std::int64_t seed, double loss) {
    compare::Run run{.variant = 0, .stage = Stage::tune, .seed = seed, .axes = {{"optimizer.lr", rate}}};
    run.final_loss = loss;
    results.runs.push_back(run);
  };
  for (const std::int64_t seed : {201, 202, 203}) {
    const double luck = 0.1 * static_cast<double>(seed - 202);
    tune(0.1, seed, 2.0 + luck);
    tune(0.2, seed, 2.01 - luck);
    if (seed == 201) tune(0.4, seed, 1.0);  // fewer seeds than the finalists
  }
  results.tuned = {{.variant = 0, .workload = 0, .axes = {{"optimizer.lr", 0.1}}, .trials = 3}};
  const ChosenSetting choice = analyse(results).choices.at(0);
  EXPECT_NEAR(choice.tuned_loss.value(), 2.0, 1e-12);
  EXPECT_NEAR(choice.reported_loss.value(), row_of(analyse(results), 0).mean, 1e-12);
  EXPECT_NEAR(choice.runner_up.value(), 0.01, 1e-12);
  EXPECT_NEAR(choice.runner_up_error.value(), 0.2 / std::sqrt(3.0), 1e-12);
  EXPECT_TRUE(choice.within_noise());
}

// Seeds that are missing or diverged

TEST(Analysis, ASearchIsAsGoodAsTheBestSettingSoFar) {
  Results results = test::planted({0.0, 0.0}, 3, 1);
  results.studies = 2;
  const auto try_setting = [&](std::size_t study, double lr, std::vector<double> losses) {
    for (std::size_t seed = 0; seed < losses.size(); ++seed) {
      results.runs.push_back({.variant = 1,
                              .study = study,
                              .stage = Stage::tune,
                              .seed = static_cast<std::int64_t>(100 + seed),
                              .axes = {{"optimizer.lr", lr}},
                              .final_loss = losses[seed]});
    }
  };
  // The first two seeds are those of all settings; a finalist has a third.
  try_setting(0, 1.0, {3.0, 3.2});
  try_setting(0, 2.0, {2.0, 2.2, 9.0});
  try_setting(0, 4.0, {2.5, 2.5});
  try_setting(1, 1.0, {5.0, 5.0});
  try_setting(1, 2.0, {6.0, 6.0});
  try_setting(1, 4.0, {4.0, 4.0});
  results.tuned = {{.variant = 1, .study = 0, .axes = {{"optimizer.lr", 2.0}}, .trials = 3},
                   {.variant = 1, .study = 1, .axes = {{"optimizer.lr", 4.0}}, .trials = 3}};
  const Analysis analysis = analyse(results);
  ASSERT_EQ(analysis.searches.size(), 1U);
  const std::vector<double>& best = analysis.searches[0].best;
  ASSERT_EQ(best.size(), 3U);
  EXPECT_DOUBLE_EQ(best[0], (3.1 + 5.0) / 2);
  EXPECT_DOUBLE_EQ(best[1], (2.1 + 5.0) / 2);
  EXPECT_DOUBLE_EQ(best[2], (2.1 + 4.0) / 2);
}

TEST(Analysis, ADivergedRunCountsAsTheWorst) {
  Results results = by_hand();
  run_of(results, 2, 3).status = compare::Run::Status::diverged;
  const Analysis analysis = analyse(results);
  const Row& row = row_of(analysis, 2);
  EXPECT_EQ(row.mean, infinity);
  EXPECT_EQ(row.diverged, 1u);
  EXPECT_FALSE(row.interval || row.deviation);
  EXPECT_EQ(analysis.tables.front().rows.back().variant, 2u);
  EXPECT_EQ(analysis.comparisons, 3u);
  EXPECT_EQ(row.contrast->verdict, Contrast::Verdict::open) << "one of five";
  EXPECT_EQ(row.contrast->interval.high, infinity);
  EXPECT_TRUE(share_a_letter(row, row_of(analysis, 0)));

  for (const std::int64_t seed : {1, 2, 4, 5}) run_of(results, 2, seed).status = compare::Run::Status::diverged;
  const Analysis always = analyse(results);
  EXPECT_EQ(row_of(always, 2).contrast->verdict, Contrast::Verdict::higher);
  EXPECT_FALSE(share_a_letter(row_of(always, 2), row_of(always, 0)));
}

TEST(Analysis, AFailedRunIsLeftOutAndPairsStayPairs) {
  Results results = by_hand();
  run_of(results, 1, 5).status = compare::Run::Status::failed;
  run_of(results, 0, 1).status = compare::Run::Status::failed;
  const Analysis analysis = analyse(results);
  const Row& row = row_of(analysis, 1);
  EXPECT_EQ(row.failed, 1u);
  EXPECT_EQ(row.seeds, (std::vector<std::int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(row.contrast->units, 3u);
  EXPECT_NEAR(row.contrast->difference, 0.03, 1e-12);  // of the seeds 2, 3, 4
}

TEST(Analysis, OneSeedAllowsNoTest) {
  const Analysis analysis = analyse(planted({0.0, 1.0}, 1, 1));
  EXPECT_EQ(analysis.comparisons, 0u);
  EXPECT_FALSE(row_of(analysis, 1).contrast || row_of(analysis, 1).interval);
  EXPECT_EQ(row_of(analysis, 1).losses.size(), 1u);
}

// Times

/// A baseline and a variant on one workload with the target 1; losses 3, 2, 1, 0 after 10, 20, 30, 40 steps, that take
/// the variant twice the seconds.
Results with_curves(std::int64_t seeds) {
  Results results = planted({0.0, 0.0}, seeds, 1);
  results.workloads.front().target = 1.0;
  for (compare::Run& run : results.runs) {
    const double pace = run.variant == 0 ? 1.0 : 2.0;
    run.points.clear();
    for (const std::int64_t step : {10, 20, 30, 40}) {
      const auto steps = static_cast<double>(step);
      run.points.push_back({.step = step,
                            .seconds = 0.1 * pace * steps,
                            .forward_backwards = 1.5 * steps,
                            .val_loss = 4.0 - 0.1 * steps});
    }
    run.step_milliseconds = 100.0 * pace;
    run.state_bytes = 8;
    run.passes_per_step = 1.5;
  }
  return results;
}

TEST(Analysis, TimesToTarget) {
  const Analysis analysis = analyse(with_curves(4));
  const Row& row = row_of(analysis, 1);
  EXPECT_EQ(row.reached, 4u);
  EXPECT_EQ(row.median_to_target, (PerEffort{30.0, 6.0, 45.0}));
  EXPECT_EQ(row.cost.slowdown, 2.0);
  EXPECT_EQ(row.cost.step_milliseconds, 200.0);
  EXPECT_EQ(row.cost.state_bytes, 8);
  EXPECT_EQ(row.cost.passes_per_step, 1.5);
}

TEST(Analysis, AnAccuracyCanBeTheTarget) {
  Results results = with_curves(4);
  results.workloads.front().target = 0.75;
  results.workloads.front().target_is_accuracy = true;
  EXPECT_EQ(row_of(analyse(results), 1).reached, 0u) << "without accuracies it cannot be reached";
  EXPECT_FALSE(row_of(analyse(results), 1).accuracy.has_value());
  for (compare::Run& run : results.runs) {
    for (compare::Point& point : run.points) point.val_accuracy = 0.025 * static_cast<double>(point.step);
  }
  Analysis analysis = analyse(results);
  EXPECT_EQ(row_of(analysis, 1).reached, 4u);
  EXPECT_EQ(row_of(analysis, 1).median_to_target, (PerEffort{30.0, 6.0, 45.0}));
  EXPECT_EQ(row_of(analysis, 1).accuracy, 1.0);
  run_of(results, 1, 1).points.back().val_accuracy = 0.8;
  run_of(results, 0, 2).status = compare::Run::Status::diverged;
  analysis = analyse(results);
  EXPECT_NEAR(row_of(analysis, 1).accuracy.value(), 0.95, 1e-15);
  EXPECT_FALSE(row_of(analysis, 0).accuracy.has_value()) << "one diverged";
}

TEST(Analysis, AMissIsInfinitelyLate) {
  Results results = with_curves(4);
  run_of(results, 1, 1).points.resize(2);
  EXPECT_EQ(row_of(analyse(results), 1).reached, 3u);
  EXPECT_EQ(row_of(analyse(results), 1).median_to_target[0], 30.0);
  run_of(results, 1, 2).status = compare::Run::Status::diverged;  // after it had reached the target
  const Analysis analysis = analyse(results);
  EXPECT_EQ(row_of(analysis, 1).reached, 2u);
  EXPECT_EQ(row_of(analysis, 1).median_to_target[0], infinity);
  EXPECT_EQ(row_of(analysis, 0).median_to_target[0], 30.0);
}

TEST(Analysis, ProfilesOverWorkloads) {
  Results results = with_curves(2);
  EXPECT_FALSE(analyse(results).profiles.has_value()) << "one workload has no profile";
  results.workloads.push_back({.name = "other", .target = 1.0});
  const std::vector<compare::Run> first = results.runs;
  for (compare::Run run : first) {
    run.workload = 1;
    if (run.variant == 0) run.points.resize(1);  // the baseline misses it
    results.runs.push_back(run);
  }
  const Analysis analysis = analyse(results);
  ASSERT_TRUE(analysis.profiles.has_value());
  const auto seconds = static_cast<std::size_t>(Effort::seconds);
  EXPECT_EQ(analysis.profiles->ratios[seconds], (TimeTable{{1.0, infinity}, {2.0, 1.0}}));
  EXPECT_DOUBLE_EQ(analysis.profiles->scores[seconds][0], 0.5);
  EXPECT_DOUBLE_EQ(analysis.profiles->scores[seconds][1], (2.0 / 3.0 + 1.0) / 2.0);
}

// Budgets and learning rates

TEST(Analysis, SpeedUpThroughAPowerLaw) {
  // The baseline follows 1 + D^-1; the variant has the loss that the baseline has at twice the budget.
  Results results = planted({0.0, 0.0}, 3, 1);
  results.workloads.front().budgets = {1.0, 2.0, 4.0};
  const std::vector<compare::Run> runs = results.runs;
  results.runs.clear();
  for (const double budget : {1.0, 2.0, 4.0}) {
    for (compare::Run run : runs) {
      run.budget = budget;
      run.final_loss = 1.0 + 1.0 / (budget * (run.variant == 0 ? 1.0 : 2.0));
      results.runs.push_back(run);
    }
  }
  const Analysis analysis = analyse(results);
  ASSERT_EQ(analysis.tables.size(), 3u);
  for (const Table& table : analysis.tables) {
    const SpeedUp& speed_up = *table.row_of(1).speed_up;
    if (table.budget < 3.0) {
      EXPECT_NEAR(speed_up.factor, 2.0, 1e-4);
    } else {  // the baseline was not measured at eight
      EXPECT_EQ(speed_up.bound, SpeedUp::Bound::more_than);
      EXPECT_EQ(speed_up.factor, 1.0);
    }
    EXPECT_FALSE(table.row_of(0).speed_up.has_value());
  }
  ASSERT_EQ(analysis.scalings.size(), 2u);
  EXPECT_NEAR(analysis.scalings[1].law.floor, 1.0, 1e-4);
  EXPECT_EQ(recipe_table(analysis, 0).budget, 1.0);
}

TEST(Analysis, EachRateCountsAtTheBestOfTheOtherSettings) {
  Results results = planted({0.0}, 2, 1);
  const auto tune = [&](double lr, double decay, double loss) {
    results.runs.push_back({.axes = {{"optimizer.lr", lr}, {"optimizer.weight_decay", decay}},
                            .status = std::isfinite(loss) ? compare::Run::Status::done : compare::Run::Status::diverged,
                            .final_loss = loss});
  };
  tune(0.001, 0.0, 2.3);
  tune(0.001, 0.1, 2.2);
  tune(0.002, 0.0, 2.0);
  tune(0.002, 0.1, infinity);
  tune(0.004, 0.0, 2.1);
  tune(0.008, 0.0, infinity);
  const Analysis analysis = analyse(results);
  ASSERT_EQ(analysis.sensitivities.size(), 1u);
  const LearningRateStudy& study = *analysis.sensitivities.front().study;
  EXPECT_EQ(study.losses, (std::vector{2.2, 2.0, 2.1, infinity}));
  EXPECT_EQ(study.best, 1u);
  EXPECT_EQ(study.divergence, 0.008);
}

TEST(Analysis, ARateOfZeroHasNoPlaceOnTheAxis) {
  Results results = planted({0.0, 0.0}, 2, 1);
  const auto tune = [&](std::size_t variant, double lr, double loss) {
    results.runs.push_back(
        {.variant = variant, .axes = {{"optimizer.lr", lr}}, .status = compare::Run::Status::done, .final_loss = loss});
  };
  tune(0, 0.0, 1.9);
  tune(0, 0.001, 2.2);
  tune(0, 0.002, 2.0);
  tune(1, 0.0, 3.0);
  const Analysis analysis = analyse(results);
  ASSERT_EQ(analysis.sensitivities.size(), 1u);
  EXPECT_EQ(analysis.sensitivities.front().study->losses, (std::vector{2.2, 2.0}));
}

TEST(Analysis, ARealisticComparison) {
  const Analysis analysis = analyse(Realistic::results());
  ASSERT_EQ(analysis.tables.size(), 5u);
  for (const Table& table : analysis.tables) {
    EXPECT_EQ(table.rows.front().variant, 1u);
    EXPECT_EQ(table.row_of(1).contrast->verdict, Contrast::Verdict::lower);
    EXPECT_EQ(table.rows.back().variant, 3u);
  }
  EXPECT_EQ(analysis.comparisons, 30u) << "six pairs in each of five tables";
  EXPECT_EQ(analysis.tables[4].row_of(2).failed, 1u);
  EXPECT_LT(analysis.tables[0].row_of(1).excess_ratio->interval.high, 0.75);
}

}  // namespace
}  // namespace monge::compare
