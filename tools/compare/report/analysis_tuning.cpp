// How sensitive the loss is to the learning rate, from the runs that tuned it.
#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "tools/compare/report/analysis_parts.h"

namespace monge::compare {
namespace {

using Settings = std::vector<std::pair<std::string, double>>;

/// One point per rate: that of the other settings with the least mean loss.
std::vector<LearningRatePoint> best_by_rate(const std::map<Settings, std::vector<double>>& trials) {
  std::map<double, std::vector<double>> best;
  for (const auto& [settings, losses] : trials) {
    const auto [entry, is_new] = best.try_emplace(settings.front().second, losses);
    if (!is_new && mean(losses) < mean(entry->second)) entry->second = losses;
  }
  std::vector<LearningRatePoint> points;
  for (const auto& [rate, losses] : best) points.push_back({rate, losses});
  return points;
}

}  // namespace

void study_tuning(const Results& results, Analysis& analysis) {
  std::map<std::tuple<std::size_t, double, std::size_t>, std::map<Settings, std::vector<double>>> trials;
  for (const Run& run : results.runs) {
    if (run.stage != Stage::tune || run.status == Run::Status::failed) continue;
    if (run.axes.empty() || run.axes.front().first != "optimizer.lr") continue;
    if (run.axes.front().second <= 0.0) continue;  // it has no place on a logarithmic axis
    const bool finite = run.status == Run::Status::done && std::isfinite(run.final_loss);
    trials[{run.workload, run.budget, run.variant}][run.axes].push_back(finite ? run.final_loss : infinity);
  }
  for (const auto& [key, of_settings] : trials) {
    const auto& [workload, budget, variant] = key;
    Sensitivity& sensitivity = analysis.sensitivities.emplace_back(
        Sensitivity{.workload = workload, .variant = variant, .budget = budget, .points = best_by_rate(of_settings)});
    const auto converged = [](const LearningRatePoint& point) { return std::isfinite(mean(point.losses)); };
    if (std::ranges::any_of(sensitivity.points, converged)) {
      sensitivity.study = study_learning_rates(sensitivity.points);
    }
  }
}

}  // namespace monge::compare
