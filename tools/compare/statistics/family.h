// Family: all pairs of variants, on all workloads, tested as one family of claims.
//
// The differences d of a pair, unit by unit (a unit is a study, or a seed where there is one study), are tested by
// Student's t. Where they do not all have one sign, the signed-rank test must reject as well: it holds under skew.
// Bonferroni: each of the m pairs is tested at level / m, so that the chance of any false claim is at most `level`, and
// the intervals hold simultaneously. A difference is claimed exactly where its interval excludes zero.
//
// With four variants or more, the spread of a pair is not taken to be less than the median spread of its workload's
// pairs: of many pairs of few units, some agree by chance. The t law then has 1.5 (n - 1) degrees of freedom, which
// simulations of the whole protocol confirm to be safe (tests/tools/false_claims_slow_test.cpp).
//
// An infinite value is the worst. A pair that has one is judged by the exact rank-sum test (Mann & Whitney 1947), and
// from five units on also as above, with the loss of guessing in the place of infinity, at half the level each. Its
// interval is open on that side.
//
// Student 1908; Wilcoxon, "Individual comparisons by ranking methods", 1945; intervals from the averages of pairs of
// differences, Walsh 1949.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "tools/compare/statistics/sample.h"

namespace monge::compare {

/// The variants of one workload.
struct Contenders {
  /// [variant][unit]: infinite for a diverged one, NaN where there is none.
  std::vector<std::vector<double>> values;
  double guess = 0.0;  // what stands for an infinite value in a test of means: no less than any other of its row
};

/// values[one] - values[other].
struct PairTest {
  std::size_t one = 0, other = 0;
  std::size_t units = 0;    // that both have
  double difference = 0.0;  // mean; infinite where one has an infinite value
  double spread = 0.0;      // standard deviation of a difference, as tested
  double dof = 0.0;         // degrees of freedom of the t law
  double p = 1.0;           // corrected
  Interval interval;        // simultaneous, at 1 - level
  int side = 0;             // claimed: -1, `one` is lower; 1, it is higher; 0, nothing
};

struct Family {
  std::vector<std::vector<PairTest>> pairs;  // [workload], one < other; pairs with fewer than two common units left out
  std::size_t tests = 0;                     // m
  double level = 0.05;                       // of all of them
};

/// `level` in (0, 1). Throws std::invalid_argument for rows of different length, and for
/// a guess that is not the worst.
Family test_family(std::span<const Contenders> workloads, double level);

/// The difference that a repetition of this test would find with a probability of 80 % at least, where units are drawn
/// from a normal law: a multiple of the spread, the quantile over a fixed sample of what would just be found, the
/// uncertainty of the spread included.
double detectable(const PairTest& test, const Family& family);

}  // namespace monge::compare
