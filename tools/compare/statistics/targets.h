// How long training takes to reach a loss, on one workload and over several. A target that was missed took infinitely
// long.
#pragma once

#include <span>
#include <vector>

namespace monge::compare {

/// When the loss comes to `target`: before the first of `times` (steps or seconds, as evaluated) with a loss of at most
/// that, linear between it and the evaluation before; infinite when there is none. A loss that is NaN does not count.
double time_to_target(std::span<const double> times, std::span<const double> losses, double target);

/// Times to target, [optimizer][workload].
using TimeTable = std::vector<std::vector<double>>;

/// Performance ratios, [optimizer][workload]: r = time / least time of any optimizer; infinite for all where none
/// reached the target. Times are > 0.
TimeTable performance_ratios(const TimeTable& times);

/// rho(tau): the share of workloads with ratio <= tau. Dolan & More, "Benchmarking optimization software with
/// performance profiles", Math. Program. 2002.
double profile(std::span<const double> ratios, double tau);

/// The mean height of the profile up to `largest`: 1 / (largest - 1) times the integral of rho over 1 .. largest, which
/// is the mean over workloads of max(0, largest - r) / (largest - 1). Dahl et al., "Benchmarking neural network
/// training algorithms", 2023 (arXiv:2306.07179), with largest = 4.
double profile_score(std::span<const double> ratios, double largest = 4.0);

}  // namespace monge::compare
