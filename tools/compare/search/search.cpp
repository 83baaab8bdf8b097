#include "tools/compare/search/search.h"

#include <algorithm>
#include <cmath>

#include "tools/compare/search/axes.h"
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

/// Values of an axis beyond what was tried with the other values of `setting`, where the optimum may lie. A factor
/// leads nowhere from zero and below.
std::vector<double> values_beyond(const std::vector<Axis>& axes, const Setting& setting, std::size_t axis,
                                  std::span<const Trial> trials) {
  std::vector<LearningRatePoint> line;
  bool ends_below = false;
  for (const Trial& trial : trials) {
    if (with_value(trial.setting, axis, setting[axis]) != setting) continue;
    const double value = trial.setting[axis];
    ends_below = ends_below || value <= 0.0;
    if (value > 0.0) line.push_back({std::exp2(octaves(axes[axis], value)), {trial.loss}});
  }
  if (line.empty()) return {};
  std::ranges::sort(line, {}, &LearningRatePoint::lr);
  std::vector<double> values;
  for (const double factor : rates_to_add(line)) {
    if (ends_below && factor < line.front().lr) continue;
    values.push_back(value_at(axes[axis], std::log2(factor)));
  }
  return values;
}

/// Whether two settings are less than an octave apart on every axis but this one.
bool near_line(const std::vector<Axis>& axes, const Setting& one, const Setting& other, std::size_t axis) {
  for (std::size_t a = 0; a < one.size(); ++a) {
    const bool positive = one[a] > 0.0 && other[a] > 0.0;
    const bool near =
        one[a] == other[a] || (positive && std::abs(octaves(axes[a], one[a]) - octaves(axes[a], other[a])) < 1.0);
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
      for (const double value : values_beyond(axes, best.setting, a, trials)) {
        const Setting setting = with_value(best.setting, a, value);
        if (!tried(trials, setting) && allowed(setting)) next.push_back(setting);
      }
    }
  }
  next.resize(std::min(next.size(), max_trials - std::min(max_trials, trials.size())));
  return next;
}

std::vector<Setting> refinements(const std::vector<Axis>& axes, std::span<const Trial> trials, std::size_t count,
                                 const Allowed& allowed) {
  constexpr double first = 0.5, finest = 0.01;  // octaves
  const Trial& best = best_of(trials);
  for (double step = first; step > finest; step /= 2.0) {
    for (std::size_t a = 0; a < axes.size(); ++a) {
      if (best.setting[a] <= 0.0) continue;
      std::vector<Setting> next;
      for (const double away : {-step, step}) {
        const double value = value_at(axes[a], octaves(axes[a], best.setting[a]) + away);
        const Setting setting = with_value(best.setting, a, value);
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
      if (!(trial.loss > best.loss) || !near_line(axes, trial.setting, best.setting, a)) continue;
      worse_below = worse_below || trial.setting[a] < best.setting[a];
      worse_above = worse_above || trial.setting[a] > best.setting[a];
    }
    if (!worse_below || !worse_above) open.push_back(axes[a].key);
  }
  return open;
}

}  // namespace monge::compare
