// Claims about all pairs as one family. The expected numbers are those of an independent implementation in Python
// (NumPy and SciPy), one comparison at a time.
#include "tools/compare/statistics/family.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/random.h"

namespace monge::compare {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double none = std::numeric_limits<double>::quiet_NaN();

struct Expected {
  std::size_t one, other;
  double spread, low, high, p;
  int side;
};

void expect_pairs(const std::vector<std::vector<double>>& values, const std::vector<Expected>& expected) {
  const std::vector<Contenders> workloads{{.values = values, .guess = 5.5}};
  const Family family = test_family(workloads, 0.05);
  ASSERT_EQ(family.tests, expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const PairTest& pair = family.pairs[0][i];
    const Expected& e = expected[i];
    SCOPED_TRACE(i);
    EXPECT_EQ(pair.one, e.one);
    EXPECT_EQ(pair.other, e.other);
    EXPECT_NEAR(pair.spread, e.spread, 1e-9);
    if (std::isinf(e.low)) {
      EXPECT_EQ(pair.interval.low, e.low);
    } else {
      EXPECT_NEAR(pair.interval.low, e.low, 1e-9);
    }
    if (std::isinf(e.high)) {
      EXPECT_EQ(pair.interval.high, e.high);
    } else {
      EXPECT_NEAR(pair.interval.high, e.high, 1e-9);
    }
    EXPECT_NEAR(pair.p, e.p, 1e-9 * std::max(e.p, 1e-3));
    EXPECT_EQ(pair.side, e.side);
  }
}

const std::vector<double> a{1.0, 1.2, 0.9, 1.1, 1.05}, b{1.3, 1.45, 1.25, 1.5, 1.3}, c{1.02, 1.18, 0.95, 1.12, 1.0},
    d{1.6, 1.9, 1.5, 1.8, 1.7};

TEST(Family, TwoVariantsAreTestedByTheirDifferences) {
  expect_pairs({a, b}, {{0, 1, 0.06519202405, -0.4, -0.2290534108, 0.0004429532726, -1}});
  expect_pairs({{1.0, 1.2, .9, 1.1, 1.05, 1.0, .95, 1.3}, {1.3, 1.45, 1.25, 1.5, 1.3, 1.2, .93, 1.6}},
               {{0, 1, 0.1269350227, -0.3598703347, -0.115, 0.015625, -1}});
}

TEST(Family, ManyPairsShareTheirSpread) {
  expect_pairs({a, b, c, d}, {{0, 1, 0.06519202405, -0.4226245622, -0.1973754378, 0.0002446546184, -1},
                              {0, 2, 0.05759601203, -0.1035018292, 0.09550182917, 1.0, 0},
                              {0, 3, 0.05759601203, -0.7495018292, -0.5504981708, 1.530125947e-06, -1},
                              {1, 2, 0.05759601203, 0.2064981708, 0.4055018292, 0.0001291463411, 1},
                              {1, 3, 0.08215838363, -0.4819353383, -0.1980646617, 0.000539897052, -1},
                              {2, 3, 0.07602631123, -0.7773416809, -0.5146583191, 8.243991332e-06, -1}});
}

TEST(Family, ADivergedUnitIsTheWorst) {
  expect_pairs({a, {1.3, infinity, 1.25, 1.5, 1.3}}, {{0, 1, 1.778552782, -infinity, 0.0, 0.01587301587, -1}});
  const std::vector<double> always(5, infinity);
  expect_pairs({a, always, c}, {{0, 1, 0.1118033989, -infinity, -4.207449578, 5.732935307e-07, -1},
                                {0, 2, 0.03911521443, -0.07328546634, 0.06528546634, 1.0, 0},
                                {1, 2, 0.0937016542, 4.242720171, infinity, 2.839334305e-07, 1}});
  expect_pairs({{1.0, 1.2, .9}, {infinity, infinity, infinity}}, {{0, 1, 0.1527525232, -infinity, 0.0, 0.1, 0}});
  expect_pairs({always, always}, {{0, 1, 0.0, -infinity, infinity, 1.0, 0}});
}

TEST(Family, UnitsThatOneLacksDoNotCount) {
  const std::vector<double> gap{1.3, none, 1.45, 1.25, 1.5, 1.3}, whole{1.0, 7.0, 1.2, 0.9, 1.1, 1.05};
  expect_pairs({whole, gap}, {{0, 1, 0.06519202405, -0.4, -0.2290534108, 0.0004429532726, -1}});
  const std::vector<Contenders> workloads{{.values = {a, std::vector<double>(5, none), b}, .guess = 5.5}};
  EXPECT_EQ(test_family(workloads, 0.05).tests, 1u);
}

// Deterministic losses: as many equal differences as there are units, up to rounding.
TEST(Family, EqualDifferencesAreNoCertainty) {
  const std::vector<double> start{0.1, 0.2, 0.3}, more{0.2, 0.3, 0.4};
  expect_pairs({start, more}, {{0, 1, 0.0, -0.1, 0.0, 0.25, 0}});
  expect_pairs({{1, 2, 3, 4, 5, 6, 7}, {2, 3, 4, 5, 6, 7, 8}}, {{0, 1, 0.0, -1.0, -1.0, 0.015625, -1}});
}

TEST(Family, TheGuessIsTheWorst) {
  const std::vector<Contenders> workloads{{.values = {{1.0, infinity}, {1.0, 2.0}}}};
  EXPECT_THROW(test_family(workloads, 0.05), std::invalid_argument);
}

// What is claimed is what the interval says, of all workloads together.
TEST(Family, ClaimsADifferenceExactlyWhereItsIntervalExcludesZero) {
  RandomSequence random(3, 0);
  std::size_t claims = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<Contenders> workloads(1 + random.below(2));
    for (Contenders& w : workloads) {
      const std::size_t units = 2 + random.below(8);
      w.guess = 20.0;
      w.values.resize(2 + random.below(5));
      for (std::size_t v = 0; v < w.values.size(); ++v) {
        for (std::size_t i = 0; i < units; ++i) {
          const bool diverged = round % 2 == 1 && random.uniform() < (v == 0 ? 0.5 : 0.1);
          w.values[v].push_back(diverged ? infinity : random.normal() + (v == 0 ? 4.0 : 0.0));
        }
      }
    }
    const Family family = test_family(workloads, 0.05);
    for (const auto& pairs : family.pairs) {
      for (const PairTest& pair : pairs) {
        claims += pair.side != 0 ? 1 : 0;
        EXPECT_EQ(pair.side != 0, pair.p <= 0.05);
        const Interval& i = pair.interval;
        EXPECT_TRUE(pair.side < 0 ? i.high <= 0.0 : pair.side > 0 ? i.low >= 0.0 : i.low <= 0.0 && i.high >= 0.0);
      }
    }
  }
  EXPECT_GT(claims, 200u);
}

TEST(Family, WhatItWouldFindIsAMultipleOfTheSpread) {
  // Of two variants: 2.26 at five units, 1.42 at eight; of twelve 4.46 and 2.48.
  for (const auto& [variants, units, multiple] : std::initializer_list<std::tuple<std::size_t, std::size_t, double>>{
           {2, 5, 2.26}, {2, 8, 1.42}, {12, 5, 4.46}, {12, 8, 2.48}}) {
    std::vector<Contenders> workloads(1);
    RandomSequence random(7, 0);
    workloads[0].values.assign(variants, std::vector<double>(units));
    for (auto& row : workloads[0].values) {
      for (double& x : row) x = random.normal();
    }
    const Family family = test_family(workloads, 0.05);
    const PairTest& pair = family.pairs[0][0];
    EXPECT_NEAR(detectable(pair, family) / pair.spread, multiple, 0.06 * multiple) << variants << " " << units;
  }
}

}  // namespace
}  // namespace monge::compare
