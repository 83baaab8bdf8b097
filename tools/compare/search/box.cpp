#include "tools/compare/search/box.h"

#include <algorithm>
#include <boost/random/sobol.hpp>
#include <cmath>

#include "core/random.h"
#include "tools/compare/search/axes.h"

namespace monge::compare {
namespace {

bool is_linear(const Axis& axis) { return axis.values.front() <= 0.0; }

/// From 0 at the least value of the axis to 1 at its largest.
double value_within(const Axis& axis, double share) {
  const double low = axis.values.front(), high = axis.values.back();
  if (low == high) return low;
  if (!is_linear(axis)) return value_at(axis, std::lerp(octaves(axis, low), octaves(axis, high), share));
  const double value = std::lerp(low, high, share);
  if (axis.whole) return std::round(value);
  return value > 0.0 ? value_at({.key = {}, .values = {}}, std::log2(value)) : value;
}

/// The first values, which are allowed.
Setting box_corner(const std::vector<Axis>& axes) {
  Setting setting;
  for (const Axis& axis : axes) setting.push_back(axis.values.front());
  return setting;
}

double share_of(const Axis& axis, double value) {
  const double low = axis.values.front(), high = axis.values.back();
  if (is_linear(axis)) return (value - low) / (high - low);
  return (octaves(axis, value) - octaves(axis, low)) / (octaves(axis, high) - octaves(axis, low));
}

}  // namespace

std::vector<Setting> box_settings(const std::vector<Axis>& axes, std::size_t count, std::uint64_t shift,
                                  const Allowed& allowed) {
  if (axes.empty()) return {box_corner(axes)};
  RandomSequence random(shift, 0);
  std::vector<double> shifts;
  for (std::size_t a = 0; a < axes.size(); ++a) shifts.push_back(random.uniform());
  boost::random::sobol sobol(axes.size());
  std::vector<Setting> settings;
  const std::size_t most = 20 * count;  // where whole numbers coincide, or some are not allowed
  for (std::size_t point = 0; point < most && settings.size() < count; ++point) {
    Setting setting;
    for (std::size_t a = 0; a < axes.size(); ++a) {
      const double coordinate = std::ldexp(static_cast<double>(sobol()), -64) + shifts[a];
      setting.push_back(value_within(axes[a], coordinate - std::floor(coordinate)));
    }
    if (std::ranges::find(settings, setting) == settings.end() && allowed(setting)) settings.push_back(setting);
  }
  if (settings.empty()) settings.push_back(box_corner(axes));
  return settings;
}

std::vector<std::string> edges_of_box(const std::vector<Axis>& axes, const Setting& setting) {
  constexpr double outermost = 0.05;
  std::vector<std::string> edges;
  for (std::size_t a = 0; a < axes.size(); ++a) {
    if (axes[a].values.size() < 2) continue;  // one value spans nothing
    const Axis& axis = axes[a];
    // A whole number stands for all that are rounded to it.
    const double around = axis.whole ? 0.5 : 0.0;
    const double from = std::max(axis.values.front(), setting[a] - around),
                 to = std::min(axis.values.back(), setting[a] + around);
    const bool at_zero = axis.values.front() == 0.0;
    if ((share_of(axis, to) < outermost && !at_zero) || share_of(axis, from) > 1.0 - outermost)
      edges.push_back(axis.key);
  }
  return edges;
}

}  // namespace monge::compare
