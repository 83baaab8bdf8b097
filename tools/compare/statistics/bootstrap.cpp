#include "tools/compare/statistics/bootstrap.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"

namespace monge::compare {

Interval bootstrap_interval(std::span<const std::size_t> sizes, const std::function<double(const Resample&)>& statistic,
                            RandomSequence& random, const BootstrapOptions& options) {
  require(options.replicates >= 1 && options.level > 0.0 && options.level < 1.0, "bootstrap: {} replicates at level {}",
          options.replicates, options.level);
  require(!sizes.empty() && std::ranges::none_of(sizes, [](std::size_t n) { return n == 0; }),
          "bootstrap: an empty stratum");
  Resample resample;
  for (const std::size_t size : sizes) resample.emplace_back(size);
  std::vector<double> values;
  for (std::size_t i = 0; i < options.replicates; ++i) {
    for (std::vector<std::size_t>& stratum : resample) {
      for (std::size_t& index : stratum) index = random.below(stratum.size());
    }
    values.push_back(statistic(resample));
  }
  return {quantile(values, 0.5 * (1.0 - options.level)), quantile(values, 0.5 * (1.0 + options.level))};
}

std::vector<double> values_at(std::span<const double> values, std::span<const std::size_t> indices) {
  std::vector<double> result;
  std::ranges::transform(indices, std::back_inserter(result), [&](std::size_t i) { return values[i]; });
  return result;
}

}  // namespace monge::compare
