#include "tools/compare/search/search.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tools/compare/statistics/learning_rate.h"

namespace monge::compare {
namespace {

bool tried(std::span<const Trial> trials, const Setting& setting) {
  return std::ranges::find(trials, setting, &Trial::setting) != trials.end();
}

Setting with_value(Setting setting, std::size_t axis, double value) {
  setting[axis] = value;
  return setting;
}

/// Three digits are enough for a setting, and people read them.
double rounded(double value) { return std::strtod(fmt::format("{:.3g}", value).c_str(), nullptr); }

/// What of the sweep over the given values is still to be done.
std::vector<Setting> sweep(const std::vector<Axis>& axes, std::span<const Trial> trials) {
  Setting centre;
  for (const Axis& axis : axes) centre.push_back(axis.values[(axis.values.size() - 1) / 2]);
  if (axes.empty()) return tried(trials, centre) ? std::vector<Setting>{} : std::vector<Setting>{centre};
  for (std::size_t a = 0; a < axes.size(); ++a) {
    std::vector<Setting> missing;
    std::vector<Trial> line;
    for (const double value : axes[a].values) {
      const Setting setting = with_value(centre, a, value);
      const auto trial = std::ranges::find(trials, setting, &Trial::setting);
      if (trial == trials.end()) {
        missing.push_back(setting);
      } else {
        line.push_back(*trial);
      }
    }
    if (!missing.empty()) return missing;
    centre = best_of(line).setting;
  }
  return {};
}

/// The trials that differ from `setting` on this axis alone, and itself, in rising order of the value.
std::vector<LearningRatePoint> line_through(const Setting& setting, std::size_t axis, std::span<const Trial> trials) {
  std::vector<LearningRatePoint> line;
  for (const Trial& trial : trials) {
    if (with_value(trial.setting, axis, setting[axis]) == setting) line.push_back({trial.setting[axis], {trial.loss}});
  }
  std::ranges::sort(line, {}, &LearningRatePoint::lr);
  return line;
}

/// Values beyond the line's ends that may hold the optimum. A factor leads nowhere from zero and below.
std::vector<double> values_beyond(const std::vector<LearningRatePoint>& line) {
  std::vector<LearningRatePoint> positive = line;
  std::erase_if(positive, [](const LearningRatePoint& point) { return point.lr <= 0.0; });
  if (positive.empty()) return {};
  std::vector<double> values = rates_to_add(positive);
  std::erase_if(values, [&](double value) { return value >= line.front().lr && value <= line.back().lr; });
  return values;
}

/// Whether two settings are less than an octave apart on every axis but this one.
bool near_line(const Setting& one, const Setting& other, std::size_t axis) {
  for (std::size_t a = 0; a < one.size(); ++a) {
    const bool near = one[a] == other[a] || std::abs(std::log2(one[a] / other[a])) < 1.0;
    if (a != axis && !near) return false;
  }
  return true;
}

}  // namespace

const Trial& best_of(std::span<const Trial> trials) { return *std::ranges::min_element(trials, {}, &Trial::loss); }

std::vector<Setting> next_settings(const std::vector<Axis>& axes, std::span<const Trial> trials, std::size_t max_trials,
                                   const Allowed& allowed) {
  std::vector<Setting> next = sweep(axes, trials);
  if (next.empty()) {
    const Trial& best = best_of(trials);
    // When everything diverged, only a smaller learning rate can help.
    const std::size_t searched = std::isfinite(best.loss) ? axes.size() : std::min<std::size_t>(1, axes.size());
    for (std::size_t a = 0; a < searched && next.empty(); ++a) {
      for (const double value : values_beyond(line_through(best.setting, a, trials))) {
        const Setting setting = with_value(best.setting, a, rounded(value));
        if (!tried(trials, setting) && allowed(setting)) next.push_back(setting);
      }
    }
  }
  next.resize(std::min(next.size(), max_trials - std::min(max_trials, trials.size())));
  return next;
}

std::vector<Setting> refinements(const std::vector<Axis>& axes, std::span<const Trial> trials, std::size_t count,
                                 const Allowed& allowed) {
  constexpr double octaves = 0.5, finest = 0.01;
  const Trial& best = best_of(trials);
  for (double step = octaves; step > finest; step /= 2.0) {
    for (std::size_t a = 0; a < axes.size(); ++a) {
      std::vector<Setting> next;
      for (const double factor : {std::exp2(-step), std::exp2(step)}) {
        const Setting setting = with_value(best.setting, a, rounded(best.setting[a] * factor));
        if (next.size() < count && !tried(trials, setting) && allowed(setting)) next.push_back(setting);
      }
      if (!next.empty()) return next;
    }
  }
  return {};
}

std::vector<Trial> finalists(std::span<const Trial> trials, std::size_t count) {
  std::vector<Trial> sorted(trials.begin(), trials.end());
  std::ranges::stable_sort(sorted, {}, &Trial::loss);
  const auto finite = std::ranges::count_if(sorted, [](const Trial& trial) { return std::isfinite(trial.loss); });
  sorted.resize(std::max<std::size_t>(1, std::min(count, static_cast<std::size_t>(finite))));
  return sorted;
}

std::vector<std::string> open_axes(const std::vector<Axis>& axes, std::span<const Trial> trials, const Trial& best) {
  std::vector<std::string> open;
  for (std::size_t a = 0; a < axes.size(); ++a) {
    bool worse_below = best.setting[a] == 0.0, worse_above = false;
    for (const Trial& trial : trials) {
      if (!(trial.loss > best.loss) || !near_line(trial.setting, best.setting, a)) continue;
      worse_below = worse_below || trial.setting[a] < best.setting[a];
      worse_above = worse_above || trial.setting[a] > best.setting[a];
    }
    if (!worse_below || !worse_above) open.push_back(axes[a].key);
  }
  return open;
}

}  // namespace monge::compare
