// Significance: hypothesis tests, their correction for many comparisons, the minimum detectable difference, and groups
// whose members are not distinguishable.
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

/// Of mean(a) - mean(b), independent samples of unlike spread: s^2 = sd_a^2 / n_a + sd_b^2 / n_b, degrees of freedom
/// s^4 / ((sd_a^2 / n_a)^2 / (n_a - 1) + (sd_b^2 / n_b)^2 / (n_b - 1)). Welch, "The generalization of 'Student's'
/// problem", Biometrika 1947.
TTest welch_t_test(std::span<const double> a, std::span<const double> b, double level = 0.95);

/// The p value of the hypothesis that the differences are symmetric about zero: the share of the 2^n sign patterns
/// whose |sum| is at least the observed one. Exact; needs no normal law, but cannot fall below 2 / 2^n. Fisher, "The
/// design of experiments", 1935. At most 24 differences.
double sign_flip_test(std::span<const double> differences);

/// p values such that rejecting those <= level keeps the chance of any false rejection at level: in increasing order
/// max over i <= k of min(1, (m - i) p_i), i from 0. Holm, "A simple sequentially rejective multiple test procedure",
/// Scand. J. Stat. 1979. In the order given.
std::vector<double> holm(std::span<const double> p_values);

/// The difference of means that a two-sided t test at `level` finds with probability `power`, for n pairs whose
/// differences have standard deviation `sd`.
double detectable_paired_difference(double sd, std::size_t n, double level = 0.05, double power = 0.8);
/// The same for two independent samples of n each, both with standard deviation `sd`.
double detectable_difference(double sd, std::size_t n, double level = 0.05, double power = 0.8);

/// All largest sets of items 0 .. n - 1 that hold no pair of `different`, each in order, ordered by their members. Two
/// items share a set exactly if they are not distinguishable.
std::vector<std::vector<std::size_t>> homogeneous_subsets(
    std::size_t items, std::span<const std::pair<std::size_t, std::size_t>> different);

/// The compact letter display of these sets, one text per item: items that share a letter are not distinguishable.
/// Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", J. Comput. Graph. Stat. 2004.
/// Given the items best first, `a` holds the best. At most 26 groups.
std::vector<std::string> group_letters(std::size_t items,
                                       std::span<const std::pair<std::size_t, std::size_t>> different);

}  // namespace monge::compare
