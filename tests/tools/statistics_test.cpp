// The statistics of a comparison. Where no closed form is given, the expected numbers are those of SciPy 1.17.1 (NumPy
// 2.4.6), by the functions named beside them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "tools/compare/statistics/distributions.h"
#include "tools/compare/statistics/outliers.h"
#include "tools/compare/statistics/sample.h"
#include "tools/compare/statistics/significance.h"

namespace monge::compare {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const double nan = std::nan("");

/// Final losses of eight seeds under two optimizers, and of five other seeds under a third.
const std::vector<double> a = {1.892, 1.885, 1.901, 1.879, 1.894, 1.888, 1.897, 1.883};
const std::vector<double> b = {1.876, 1.880, 1.889, 1.871, 1.885, 1.884, 1.879, 1.878};
const std::vector<double> c = {1.85, 1.91, 1.88, 1.97, 1.80};

void expect_relative(double actual, double expected, double bound) {
  EXPECT_NEAR(actual, expected, bound * std::abs(expected));
}

std::vector<double> normal_sample(RandomSequence& random, std::size_t n, double center = 0.0, double sd = 1.0) {
  std::vector<double> values(n);
  for (double& x : values) x = center + sd * random.normal();
  return values;
}

// Distributions

TEST(Student, AgreesWithSciPy) {  // scipy.stats.t: cdf, 2 sf(|t|), ppf
  // The p value of t is twice the smaller tail.
  EXPECT_EQ(student_two_sided(0, 3), 1.0);
  expect_relative(student_two_sided(1, 1), 2 * (1 - 0.75), 1e-13);
  expect_relative(student_two_sided(-2.5, 4.7), 2 * 0.02879607967343366, 1e-13);
  expect_relative(student_two_sided(2.5, 4.7), 2 * 0.02879607967343366, 1e-13);
  expect_relative(student_two_sided(0.1, 30), 2 * (1 - 0.5394951941048645), 1e-13);
  expect_relative(student_two_sided(-12, 9), 2 * 3.8499431114928265e-07, 1e-12);
  expect_relative(student_two_sided(3, 1000), 2 * (1 - 0.9986166454778809), 1e-12);
  expect_relative(student_two_sided(2, 7), 0.08561932856297605, 1e-13);
  expect_relative(student_two_sided(-40, 5), 1.8411962171772954e-07, 1e-12);
  expect_relative(student_two_sided(100, 9), 5.073089766208564e-15, 1e-12);
  expect_relative(student_two_sided(1e-3, 2), 0.9992928933955901, 1e-13);
  EXPECT_EQ(student_two_sided(infinity, 4), 0.0);

  expect_relative(student_quantile(0.975, 1), 12.706204736174694, 1e-12);
  expect_relative(student_quantile(0.975, 7), 2.364624251592784, 1e-12);
  expect_relative(student_quantile(0.05, 3.3), -2.2686545667554654, 1e-12);
  expect_relative(student_quantile(0.9995, 12), 4.3177912836062475, 1e-12);
  expect_relative(student_quantile(0.6, 2), 0.2886751345948128, 1e-12);
  expect_relative(student_quantile(1e-6, 4), -41.577854150450975, 1e-12);
  EXPECT_EQ(student_quantile(0.5, 4), 0.0);
  EXPECT_THROW(student_quantile(1.0, 4), std::invalid_argument);
}

TEST(Student, PowerIsTheNoncentralLaw) {  // scipy.stats.nct: sf(t) + cdf(-t) at t = scipy.stats.t.ppf(1 - level / 2)
  EXPECT_NEAR(t_test_power(0.0, 5, 0.05), 0.05, 1e-10);
  EXPECT_NEAR(t_test_power(2.8, 7, 0.05), 0.6722126612889205, 1e-10);
  EXPECT_NEAR(t_test_power(-2.8, 7, 0.05), 0.6722126612889205, 1e-10);
  EXPECT_NEAR(t_test_power(1.5, 1, 0.05), 0.09736311752026339, 1e-10);
  EXPECT_NEAR(t_test_power(4.0, 3, 0.01), 0.30767608302780686, 1e-10);
  EXPECT_NEAR(t_test_power(3.0, 40, 0.05), 0.8333019514684074, 1e-10);
  for (const double dof : {1.0, 2.0, 7.0, 100.0}) {
    for (const double level : {0.05, 0.05 / 88}) {
      EXPECT_NEAR(t_test_power(0.0, dof, level), level, 1e-10);  // no effect: the level
      EXPECT_NEAR(t_test_power(noncentrality_of(0.8, dof, level), dof, level), 0.8, 1e-9);
    }
  }
}

// One sample

TEST(Sample, MeanDeviationAndInterval) {  // numpy.mean, std(ddof=1); scipy.stats.t.interval
  expect_relative(mean(a), 1.889875, 1e-15);
  expect_relative(standard_deviation(a), 0.007453426824526513, 1e-12);
  const Interval common = mean_interval(a), wide = mean_interval(a, 0.99);
  expect_relative(common.low, 1.8836437792368597, 1e-13);
  expect_relative(common.high, 1.8961062207631403, 1e-13);
  expect_relative(wide.low, 1.880653216467997, 1e-13);
  expect_relative(wide.high, 1.899096783532003, 1e-13);
}

TEST(Sample, TheIntervalCoversAsOftenAsItSays) {
  constexpr int trials = 10000;
  RandomSequence random(1, 0);
  for (const double level : {0.8, 0.95}) {
    int covered = 0;
    for (int i = 0; i < trials; ++i) covered += mean_interval(normal_sample(random, 4, 7.0, 3.0), level).contains(7.0);
    EXPECT_NEAR(covered, trials * level, 4.0 * std::sqrt(trials * level * (1.0 - level)));
  }
}

TEST(Sample, QuantilesAndRobustMeans) {  // numpy.quantile, scipy.stats.trim_mean(0.25), scipy.stats.gmean
  std::vector<double> values = {3.1, 0.2, 9.5, 4.4, 1.7, 6.0, 2.2};
  const std::pair<double, double> expected[] = {{0.0, 0.2},  {0.1, 1.1}, {0.25, 1.95}, {0.5, 3.1},
                                                {0.75, 5.2}, {0.9, 7.4}, {1.0, 9.5}};
  for (const auto& [q, x] : expected) expect_relative(quantile(values, q), x, 1e-14);
  EXPECT_EQ(median(values), 3.1);
  expect_relative(interquartile_mean(values), 3.48, 1e-14);
  expect_relative(geometric_mean(values), 2.4827989112359314, 1e-14);
  values.push_back(100.0);
  expect_relative(interquartile_mean(values), 3.925, 1e-14);
  EXPECT_EQ(interquartile_mean(std::vector{5.0}), 5.0);
}

TEST(Sample, AMissCountsAsTheLargestValue) {
  const std::vector<double> times = {30.0, infinity, 10.0, 20.0};
  EXPECT_EQ(median(times), 25.0);
  EXPECT_EQ(quantile(times, 2.0 / 3.0), 30.0);
  EXPECT_EQ(quantile(times, 0.7), infinity);
  EXPECT_EQ(quantile(times, 0.0), 10.0);
  EXPECT_EQ(mean(times), infinity);
  EXPECT_EQ(standard_deviation(times), infinity);
  EXPECT_EQ(interquartile_mean(times), 25.0);
  EXPECT_EQ(median(std::vector{1.0, infinity, infinity, infinity}), infinity);
  EXPECT_EQ(geometric_mean(times), infinity);
  EXPECT_EQ(geometric_mean(std::vector{0.0, 4.0}), 0.0);
}

TEST(Sample, WhatHasNoAnswerIsRefused) {
  const std::vector<double> none, one = {1.0}, broken = {1.0, nan}, endless = {1.0, infinity};
  EXPECT_THROW(mean(none), std::invalid_argument);
  EXPECT_THROW(median(none), std::invalid_argument);
  EXPECT_THROW(mean(broken), std::invalid_argument);
  EXPECT_THROW(quantile(broken, 0.5), std::invalid_argument);
  EXPECT_THROW(quantile(one, 1.01), std::invalid_argument);
  EXPECT_THROW(standard_deviation(one), std::invalid_argument);
  EXPECT_THROW(mean_interval(one), std::invalid_argument);
  EXPECT_THROW(mean_interval(endless), std::invalid_argument);
  EXPECT_THROW(geometric_mean(std::vector{-1.0}), std::invalid_argument);
  EXPECT_THROW(geometric_mean(std::vector{0.0, infinity}), std::invalid_argument);
}

// Differences

TEST(Outliers, AreThoseOfRosnersExample) {  // NIST/SEMATECH handbook 1.3.5.17.3: three outliers of 54 at 5 %
  const std::vector<double> values = {
      -0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56, 1.58, 1.65, 1.69, 1.70,
      1.76,  1.77, 1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10, 2.14, 2.15, 2.23, 2.24, 2.26, 2.35, 2.37, 2.40,
      2.47,  2.54, 2.62, 2.64, 2.90, 2.92, 2.92, 2.93, 3.21, 3.26, 3.30, 3.59, 3.68, 4.30, 4.64, 5.34, 5.42, 6.01};
  EXPECT_EQ(outliers(values, 0.05), (std::vector<std::size_t>{53, 52, 51}));
}

TEST(Outliers, AreRareInNormalSamplesAndFoundWhereTheyAre) {
  RandomSequence random(11, 0);
  for (const std::size_t n : {5U, 8U, 20U}) {
    int named = 0, found = 0;
    constexpr int samples = 4000;
    for (int i = 0; i < samples; ++i) {
      std::vector<double> values(n);
      for (double& value : values) value = random.normal();
      named += outliers(values, 0.05).empty() ? 0 : 1;
      values.front() += 30.0;
      const std::vector<std::size_t> out = outliers(values, 0.05);
      found += std::ranges::count(out, 0U) == 1 ? 1 : 0;
    }
    EXPECT_LE(named, 0.09 * samples) << n;
    EXPECT_GE(named, 0.03 * samples) << n;
    EXPECT_GE(found, 0.99 * samples) << n;
  }
  EXPECT_TRUE(outliers(std::vector{1.0, 1.0, 1.0, 9.0}, 0.05).empty());
  EXPECT_TRUE(outliers(std::vector<double>(8, 1.0), 0.05).empty());
  EXPECT_EQ(outliers(std::vector{1.0, 1.1, 0.9, 9.0, 1.0, 9.5, 1.05, 0.95, 1.02}, 0.05).size(),
            2U);  // one hides the other
}

TEST(PairedTTest, AgreesWithSciPy) {  // scipy.stats.ttest_rel
  const TTest test = paired_t_test(a, b);
  expect_relative(test.difference, 0.009625, 1e-12);
  expect_relative(test.difference / test.standard_error, 5.172897181292829, 1e-11);
  EXPECT_EQ(test.dof, 7.0);
  expect_relative(test.p, 0.0012909544011593555, 1e-11);
  expect_relative(test.interval.low, 0.0052252395516602275, 1e-11);
  expect_relative(test.interval.high, 0.014024760448339817, 1e-11);
  EXPECT_EQ(paired_t_test(b, a).p, test.p);
}

TEST(PairedTTest, WithoutSpreadADifferenceIsZeroOrCertain) {
  EXPECT_EQ(paired_t_test(a, a).p, 1.0);
  EXPECT_EQ(paired_t_test(a, a).interval.low, 0.0);
  EXPECT_EQ(paired_t_test(std::vector{1.5, 2.5}, std::vector{1.0, 2.0}).p, 0.0);
}

TEST(TTests, RejectATrueHypothesisAtTheNominalRate) {
  constexpr int trials = 10000;
  constexpr double level = 0.05;
  RandomSequence random(2, 0);
  int paired = 0;
  for (int i = 0; i < trials; ++i) {
    const std::vector<double> seeds = normal_sample(random, 5, 0.0, 10.0);  // what two optimizers share
    std::vector<double> x = normal_sample(random, 5), y = normal_sample(random, 5);
    for (std::size_t k = 0; k < 5; ++k) x[k] += seeds[k], y[k] += seeds[k];
    paired += paired_t_test(x, y).p <= level;
  }
  EXPECT_NEAR(paired, trials * level, 4.0 * std::sqrt(trials * level * (1.0 - level)));
}

TEST(TTests, RefuseWhatTheyCannotCompare) {
  EXPECT_THROW(paired_t_test(a, c), std::invalid_argument);
  EXPECT_THROW(paired_t_test(std::vector{1.0, infinity}, std::vector{1.0, 2.0}), std::invalid_argument);
}

TEST(Holm, AgreesWithStatsmodels) {  // statsmodels 0.15.0, multipletests(method="holm")
  const std::vector<double> adjusted = holm(std::vector{0.01, 0.04, 0.03, 0.005, 0.5, 0.04});
  const std::vector<double> expected = {0.05, 0.12, 0.12, 0.03, 0.5, 0.12};
  for (std::size_t i = 0; i < expected.size(); ++i) expect_relative(adjusted[i], expected[i], 1e-14);
  EXPECT_EQ(holm(std::vector{0.9, 0.8}), (std::vector{1.0, 1.0}));
  EXPECT_TRUE(holm({}).empty());
  EXPECT_THROW(holm(std::vector{1.1}), std::invalid_argument);
}

// Groups

using Pairs = std::vector<std::pair<std::size_t, std::size_t>>;
using Letters = std::vector<std::string>;

TEST(Groups, ThereAreNamesForAnyNumber) {
  Pairs all;
  for (std::size_t one = 0; one < 60; ++one) {
    for (std::size_t other = one + 1; other < 60; ++other) all.emplace_back(one, other);
  }
  const Letters letters = group_letters(60, all);
  EXPECT_EQ(letters[25], "z");
  EXPECT_EQ(letters[29], "D");
  EXPECT_EQ(letters[59], "(60)");
}

TEST(Groups, LettersOfSmallCases) {
  EXPECT_EQ(group_letters(3, Pairs{}), (Letters{"a", "a", "a"}));
  EXPECT_EQ(group_letters(3, Pairs{{0, 1}, {0, 2}, {1, 2}}), (Letters{"a", "b", "c"}));
  EXPECT_EQ(group_letters(3, Pairs{{0, 2}}), (Letters{"a", "ab", "b"}));
  EXPECT_EQ(group_letters(4, Pairs{{0, 2}, {0, 3}, {1, 3}}), (Letters{"a", "ab", "bc", "c"}));
  EXPECT_TRUE(group_letters(0, Pairs{}).empty());
  EXPECT_THROW(group_letters(2, Pairs{{0, 2}}), std::invalid_argument);
}

TEST(Groups, AreAllLargestSetsWithoutADifferentPair) {
  // Against all subsets of six items, for every one of the 2^15 relations between them.
  constexpr std::size_t items = 6;
  Pairs all;
  for (std::size_t i = 0; i < items; ++i) {
    for (std::size_t j = i + 1; j < items; ++j) all.emplace_back(i, j);
  }
  for (std::uint32_t relation = 0; relation < 1u << all.size(); relation += 7) {
    Pairs different;
    for (std::size_t k = 0; k < all.size(); ++k) {
      if ((relation >> k & 1) != 0) different.push_back(all[k]);
    }
    const auto allowed = [&](std::uint32_t set) {
      return std::ranges::none_of(different,
                                  [&](const auto& p) { return (set >> p.first & set >> p.second & 1) != 0; });
    };
    std::vector<std::vector<std::size_t>> expected;
    for (std::uint32_t set = 1; set < 1u << items; ++set) {
      bool largest = allowed(set);
      std::vector<std::size_t> members;
      for (std::size_t i = 0; i < items; ++i) {
        if ((set >> i & 1) != 0) {
          members.push_back(i);
        } else {
          largest = largest && !allowed(set | 1u << i);
        }
      }
      if (largest) expected.push_back(members);
    }
    std::ranges::sort(expected);
    ASSERT_EQ(homogeneous_subsets(items, different), expected) << relation;
  }
}

}  // namespace
}  // namespace monge::compare
