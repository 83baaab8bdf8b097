// Significance: the paired t test, Holm's correction, and groups whose members are not distinguishable. The claims of a
// report are those of family.h.
//
// Samples are finite and hold two values at least, pairs are matched by index; anything else throws
// std::invalid_argument.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tools/compare/statistics/sample.h"

namespace monge::compare {

/// A difference of means, its two-sided t test against zero and its interval. Without any spread p is 1 for a zero
/// difference and 0 for any other.
struct TTest {
  double difference = 0.0;
  double standard_error = 0.0;
  double dof = 0.0;
  double p = 1.0;
  Interval interval;
};

/// Of mean(a - b), where a[i] and b[i] share seed i: t = mean(d) / (sd(d) / sqrt(n)), n - 1 degrees of freedom.
TTest paired_t_test(std::span<const double> a, std::span<const double> b, double level = 0.95);

/// p values such that rejecting those <= level keeps the chance of any false rejection at level: in increasing order
/// max over i <= k of min(1, (m - i) p_i), i from 0. Holm, "A simple sequentially rejective multiple test procedure",
/// Scand. J. Stat. 1979. In the order given.
std::vector<double> holm(std::span<const double> p_values);

/// All largest sets of items 0 .. n - 1 that hold no pair of `different`, each in order, ordered by their members. Two
/// items share a set exactly if they are not distinguishable.
std::vector<std::vector<std::size_t>> homogeneous_subsets(
    std::size_t items, std::span<const std::pair<std::size_t, std::size_t>> different);

/// The compact letter display of these sets, one text per item: items that share a letter are not distinguishable.
/// Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", J. Comput. Graph. Stat. 2004.
/// Given the items best first, `a` holds the best. After z
/// come A to Z, then numbers in brackets.
std::vector<std::string> group_letters(std::size_t items,
                                       std::span<const std::pair<std::size_t, std::size_t>> different);

}  // namespace monge::compare
