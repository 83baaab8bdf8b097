// Bootstrap intervals of any statistic: Efron, "Bootstrap methods: another look at the jackknife", Ann. Stat. 1979.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "core/random.h"
#include "tools/compare/statistics/sample.h"

namespace monge::compare {

/// Drawn indices, [stratum][draw]: as many draws with replacement as the stratum has members. Values that share an
/// index (one seed under several optimizers) are drawn together; strata (workloads) are drawn independently and keep
/// their sizes.
using Resample = std::vector<std::vector<std::size_t>>;

struct BootstrapOptions {
  std::size_t replicates = 2000;
  double level = 0.95;
};

/// The percentile interval: the (1 - level) / 2 and (1 + level) / 2 quantiles of `statistic` over resamples of strata
/// of these sizes. With few members it is too narrow: by sqrt((n - 1) / n) for a mean, and without Student's tails;
/// a statistic may be infinite, not NaN.
Interval bootstrap_interval(std::span<const std::size_t> sizes, const std::function<double(const Resample&)>& statistic,
                            RandomSequence& random, const BootstrapOptions& options = {});

/// values[i] for every i of `indices`.
std::vector<double> values_at(std::span<const double> values, std::span<const std::size_t> indices);

}  // namespace monge::compare
