// How sensitive the loss is to the learning rate, from the runs that tuned it.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
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

/// The losses of the tuning runs of a setting by seed.
using BySeed = std::map<std::int64_t, double>;

bool is_trial(const Run& run, const Tuned& tuned) {
  return run.stage == Stage::tune && run.status != Run::Status::failed && run.variant == tuned.variant &&
         run.workload == tuned.workload && run.study == tuned.study && run.budget == tuned.budget;
}

std::map<Settings, BySeed> tuning_of(const Results& results, const Tuned& tuned) {
  std::map<Settings, BySeed> losses;
  for (const Run& run : results.runs) {
    if (is_trial(run, tuned)) losses[run.axes][run.seed] = loss_of(run);
  }
  return losses;
}

std::vector<double> values_of(const BySeed& losses) {
  std::vector<double> values;
  for (const auto& [seed, loss] : losses) values.push_back(loss);
  return values;
}

ChosenSetting choice_of(const Results& results, const Tuned& tuned) {
  ChosenSetting choice{.tuned = &tuned};
  const std::map<Settings, BySeed> tuning = tuning_of(results, tuned);
  const auto chosen = tuning.find(tuned.axes);
  if (chosen == tuning.end()) return choice;
  choice.tuned_loss = mean(values_of(chosen->second));
  std::vector<double> reported;
  for (const Run& run : results.runs) {
    const bool counts = run.stage == Stage::report && run.status != Run::Status::failed && run.budget == tuned.budget &&
                        run.variant == tuned.variant && run.workload == tuned.workload && run.study == tuned.study;
    if (counts) reported.push_back(loss_of(run));
  }
  if (!reported.empty()) choice.reported_loss = mean(reported);
  for (const auto& [settings, losses] : tuning) {
    if (settings == tuned.axes) continue;
    std::vector<double> more;  // than the one chosen
    for (const auto& [seed, loss] : losses) {
      if (const auto same = chosen->second.find(seed); same != chosen->second.end())
        more.push_back(loss - same->second);
    }
    // Of those with as many seeds as the finalists.
    if (more.size() < chosen->second.size() || !std::isfinite(mean(more))) continue;
    if (choice.runner_up && mean(more) >= *choice.runner_up) continue;
    choice.runner_up = mean(more);
    choice.runner_up_error.reset();
    if (more.size() >= 2) {
      choice.runner_up_error = standard_deviation(more) / std::sqrt(static_cast<double>(more.size()));
    }
  }
  return choice;
}

/// The settings of a study in the order tried, each by the seeds that all of them have: finalists have more.
std::vector<double> trial_losses(const Results& results, const Tuned& tuned) {
  const std::map<Settings, BySeed> tuning = tuning_of(results, tuned);
  std::vector<double> losses;
  std::set<Settings> seen;
  for (const Run& run : results.runs) {
    const auto trial = tuning.find(run.axes);
    if (!is_trial(run, tuned) || trial == tuning.end() || !seen.insert(run.axes).second) continue;
    std::vector<double> common;
    for (const auto& [seed, loss] : trial->second) {
      if (std::ranges::all_of(tuning, [&](const auto& other) { return other.second.contains(seed); })) {
        common.push_back(loss);
      }
    }
    if (!common.empty()) losses.push_back(mean(common));
  }
  return losses;
}

/// Adds what a study's search had found after so many trials.
void add_search(const std::vector<double>& losses, SearchCurve& curve) {
  double least = infinity;
  if (curve.studies++ == 0) curve.best.resize(losses.size());
  curve.best.resize(std::min(curve.best.size(), losses.size()));
  for (std::size_t i = 0; i < curve.best.size(); ++i) curve.best[i] += least = std::min(least, losses[i]);
}

}  // namespace

void study_tuning(const Results& results, Analysis& analysis) {
  std::map<std::tuple<std::size_t, double, std::size_t>, SearchCurve> searches;
  for (const Tuned& tuned : results.tuned) {
    analysis.choices.push_back(choice_of(results, tuned));
    SearchCurve& curve = searches[{tuned.workload, tuned.budget, tuned.variant}];
    add_search(trial_losses(results, tuned), curve);
  }
  for (auto& [key, curve] : searches) {
    std::tie(curve.workload, curve.budget, curve.variant) = key;
    for (double& loss : curve.best) loss /= static_cast<double>(curve.studies);
    if (curve.best.size() >= 2) analysis.searches.push_back(std::move(curve));
  }
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
