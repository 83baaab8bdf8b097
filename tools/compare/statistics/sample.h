// statistics/: estimates, intervals, tests and fits, of plain numbers. It knows nothing of runs or optimizers.
//
// Sample: descriptive statistics of a few numbers, such as the losses of some seeds or the times of some workloads.
//
// A run that missed its target has an infinite time and a diverged run an infinite loss. Such values are counted, not
// dropped: medians and quantiles take them as the largest, a mean over them is infinite. NaN throws
// std::invalid_argument everywhere, and so does an empty span.
#pragma once

#include <span>

namespace monge::compare {

struct Interval {
  double low = 0.0, high = 0.0;
  bool contains(double x) const { return low <= x && x <= high; }
};

double mean(std::span<const double> values);

/// sqrt(sum (x - mean)^2 / (n - 1)); infinite where a value is. Two values at least.
double standard_deviation(std::span<const double> values);

/// mean +- t sd / sqrt(n) with t the (1 + level) / 2 quantile of Student's law with n - 1 degrees of freedom (Student,
/// "The probable error of a mean", Biometrika 1908). Finite values, two at least.
Interval mean_interval(std::span<const double> values, double level = 0.95);

/// Linear between order statistics, x_(1 + (n - 1) q): type 7 of Hyndman & Fan, "Sample quantiles in statistical
/// packages", Am. Stat. 1996. Between a finite value and infinity lies infinity. q in [0, 1].
double quantile(std::span<const double> values, double q);
double median(std::span<const double> values);

/// The mean without the lowest and the highest floor(n / 4) values: Agarwal et al., "Deep reinforcement learning at the
/// edge of the statistical precipice", 2021 (arXiv:2108.13264).
double interquartile_mean(std::span<const double> values);

/// exp(mean ln x), the mean for ratios; 0 and infinity are allowed, not both.
double geometric_mean(std::span<const double> values);

}  // namespace monge::compare
