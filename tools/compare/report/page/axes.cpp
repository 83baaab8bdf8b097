#include "tools/compare/report/page/axes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace monge::compare {

std::string log_tics(char axis, double low, double high) {
  require(low > 0.0 && low <= high && std::isfinite(high), "log_tics: from {} to {}", low, high);
  const std::vector<double> digits = high / low > 300.0  ? std::vector{1.0}
                                     : high / low > 20.0 ? std::vector{1.0, 3.0}
                                     : high / low > 4.0  ? std::vector{1.0, 2.0, 5.0}
                                                         : std::vector{1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0};
  std::vector<std::string> tics;
  for (int exponent = static_cast<int>(std::floor(std::log10(low))); std::pow(10.0, exponent) <= high; ++exponent) {
    for (const double digit : digits) {
      const double value = digit * std::pow(10.0, exponent);
      if (value >= 0.99 * low && value <= 1.01 * high) tics.push_back(fmt::format("'{:.4g}' {:.4g}", value, value));
    }
  }
  return fmt::format("set {}tics ({})\n", axis, fmt::join(tics, ", "));
}

std::string excess_axis(double low, double high) {
  constexpr double margin = 1.2;
  return fmt::format("set logscale y\nset yrange [{}:{}]\n", low / margin, high * margin) +
         log_tics('y', low / margin, high * margin);
}

std::string linear_axis(double low, double high) {
  const double margin = 0.06 * std::max(high - low, 1e-3);
  return fmt::format("set yrange [{}:{}]\n", low - margin, high + margin);
}

std::string linear_tics(char axis, double low, double high) {
  constexpr double most = 6.0;
  const double least_step = std::max(high - low, 1e-12) / most,
               decade = std::pow(10.0, std::floor(std::log10(least_step)));
  double step = 10.0 * decade;
  for (const double digit : {5.0, 2.0, 1.0}) {
    if (digit * decade >= least_step) step = digit * decade;
  }
  return fmt::format("set {}tics {:.1g}\n", axis, step);
}

}  // namespace monge::compare
