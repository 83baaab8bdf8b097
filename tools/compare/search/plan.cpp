#include "tools/compare/search/plan.h"

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <memory>
#include <numeric>

#include "core/options/yaml_node.h"
#include "tools/compare/search/box.h"
#include "tools/compare/search/search.h"
#include "tools/compare/statistics/sample.h"

namespace monge::compare {
namespace {

/// The tuning of one variant on one workload in one study, by runs of one budget.
class Tuning {
 public:
  Tuning(Comparison& comparison, std::size_t variant, std::size_t workload, std::size_t study, double budget)
      : comparison_(comparison),
        axes_(comparison.axes(variant)),
        allowed_([this](const Setting& setting) { return comparison_.allowed(run_of(setting, first_seed())); }),
        variant_(variant),
        workload_(workload),
        study_(study),
        budget_(budget) {}
  Tuning(const Tuning&) = delete;
  Tuning& operator=(const Tuning&) = delete;

  /// Searches as far as the runs that have ended allow.
  void search(const FinishedRuns& finished) {
    const auto most = static_cast<std::size_t>(comparison_.options().tune.max_trials);
    if (in_a_box()) {
      for (const Setting& setting : box_settings(axes_, most, comparison_.box_shift(study_, variant_), allowed_)) {
        if (!dropped_) try_setting(setting, finished);
      }
    } else {
      follow(finished, [&] { return next_settings(axes_, trials_, most, allowed_); });
    }
  }

  /// The same, around the best, up to `count` trials.
  void refine(std::size_t count, const FinishedRuns& finished) {
    if (in_a_box()) return;
    follow(finished, [&] { return refinements(axes_, trials_, count - std::min(count, trials_.size()), allowed_); });
  }

  /// The best settings, with more seeds: the one with the least mean over all of its runs is chosen.
  void decide(const FinishedRuns& finished) {
    if (dropped_) return;
    std::vector<Trial> last = finalists(trials_, static_cast<std::size_t>(comparison_.options().tune.finalists));
    if (last.size() > 1) {
      for (Trial& trial : last) {
        const std::vector<double> more = losses_of(trial.setting, comparison_.final_seeds(study_, variant_), finished);
        if (dropped_) return;
        const auto before = static_cast<double>(comparison_.tuning_seeds(study_, variant_).size());
        const double sum = std::accumulate(more.begin(), more.end(), before * trial.loss);
        trial.loss = sum / (before + static_cast<double>(more.size()));
      }
    }
    if (!waiting_) chosen_ = best_of(last);
  }

  const std::vector<PlannedRun>& runs() const { return runs_; }
  /// Whether runs are asked for that have not ended.
  bool waiting() const { return waiting_; }
  /// Whether a run failed: then no more are asked for.
  bool dropped() const { return dropped_; }
  std::size_t trials() const { return trials_.size(); }
  const Setting& best() const { return chosen_ ? chosen_->setting : best_of(trials_).setting; }

  Tuned tuned() const {
    Tuned tuned{
        .variant = variant_, .workload = workload_, .study = study_, .budget = budget_, .trials = std::ssize(trials_)};
    tuned.fixed = fixed_rates();
    if (trials_.empty()) return tuned;
    for (std::size_t a = 0; a < axes_.size(); ++a) tuned.axes.emplace_back(axes_[a].key, best()[a]);
    tuned.on_edge =
        in_a_box() ? edges_of_box(axes_, best()) : open_axes(axes_, trials_, chosen_ ? *chosen_ : best_of(trials_));
    return tuned;
  }

 private:
  bool in_a_box() const { return comparison_.options().tune.search == "quasi_random"; }
  std::int64_t first_seed() const { return comparison_.tuning_seeds(study_, variant_).front(); }

  PlannedRun run_of(const Setting& setting, std::int64_t seed) const {
    return {variant_, workload_, study_, Stage::tune, seed, budget_, setting};
  }

  template <class Next>
  void follow(const FinishedRuns& finished, const Next& next) {
    while (!waiting_ && !dropped_) {
      const std::vector<Setting> settings = next();
      if (settings.empty()) return;
      for (std::size_t i = 0; i < settings.size() && !dropped_; ++i) try_setting(settings[i], finished);
    }
  }

  /// A setting with runs that have not ended is no trial yet.
  void try_setting(const Setting& setting, const FinishedRuns& finished) {
    const std::vector<std::int64_t> seeds = comparison_.tuning_seeds(study_, variant_);
    const std::vector<double> losses = losses_of(setting, seeds, finished);
    if (!dropped_ && losses.size() == seeds.size()) trials_.push_back({setting, mean(losses)});
  }

  /// Asks for these runs; the losses of those that have ended.
  std::vector<double> losses_of(const Setting& setting, const std::vector<std::int64_t>& seeds,
                                const FinishedRuns& finished) {
    std::vector<double> losses;
    for (const std::int64_t seed : seeds) {
      runs_.push_back(run_of(setting, seed));
      const std::optional<FinishedRun> end = finished(runs_.back());
      if (end && end->failed) {
        dropped_ = true;
        return {};
      }
      if (end) losses.push_back(end->loss);
    }
    waiting_ = waiting_ || losses.size() < seeds.size();
    return losses;
  }

  /// Learning rates inside the optimizer's settings that no axis sweeps.
  std::vector<std::string> fixed_rates() const {
    Setting setting;
    for (const Axis& axis : axes_) setting.push_back(axis.values.front());
    const YamlNode config = parse_yaml(comparison_.config(run_of(setting, first_seed())).yaml, "configuration");
    std::vector<std::string> keys;
    for (const YamlEntry& entry : config.find("optimizer")->entries) {
      if (entry.value.find("lr") == nullptr) continue;
      const std::string key = fmt::format("optimizer.{}.lr", entry.key);
      if (std::ranges::find(axes_, key, &Axis::key) == axes_.end()) keys.push_back(key);
    }
    return keys;
  }

  Comparison& comparison_;
  const std::vector<Axis>& axes_;
  Allowed allowed_;
  std::size_t variant_, workload_, study_;
  double budget_;
  std::vector<Trial> trials_;
  std::optional<Trial> chosen_;
  std::vector<PlannedRun> runs_;
  bool waiting_ = false, dropped_ = false;
};

using Tunings = std::vector<std::unique_ptr<Tuning>>;  // by variant

/// Whether a tuning still runs.
bool any_waiting(const Tunings& tunings) {
  return std::ranges::any_of(tunings, [](const auto& tuning) { return tuning->waiting(); });
}

/// Tunes all variants on a workload in a study, as far as the runs that have ended allow.
Tunings tune(Comparison& comparison, std::size_t w, std::size_t study, double budget, const FinishedRuns& finished,
             RunPlan& plan) {
  Tunings tunings;
  for (std::size_t v = 0; v < comparison.variants(); ++v) {
    tunings.push_back(std::make_unique<Tuning>(comparison, v, w, study, budget));
    tunings.back()->search(finished);
  }
  // How many trials are due to each variant shows when the last search has ended.
  if (!any_waiting(tunings)) {
    std::size_t most = 0;
    for (const auto& tuning : tunings) most = std::max(most, tuning->trials());
    for (const auto& tuning : tunings) {
      tuning->refine(most, finished);
      if (!tuning->waiting()) tuning->decide(finished);
    }
  }
  for (const auto& tuning : tunings) {
    plan.runs.insert(plan.runs.end(), tuning->runs().begin(), tuning->runs().end());
    if (!tuning->dropped()) plan.tuned.push_back(tuning->tuned());
  }
  return tunings;
}

/// The runs of one study on a workload.
void plan_study(Comparison& comparison, std::size_t w, std::size_t study, const FinishedRuns& finished, RunPlan& plan) {
  std::map<double, Tunings> tunings;  // by budget
  for (const double budget : comparison.tuned_budgets()) {
    tunings[budget] = tune(comparison, w, study, budget, finished, plan);
    plan.searching = plan.searching || any_waiting(tunings[budget]);
  }
  for (const double budget : comparison.options().budgets) {
    const Tunings& settings = tunings.at(comparison.tuned_budget_for(budget));
    if (any_waiting(settings)) continue;
    for (const std::int64_t seed : comparison.report_seeds(study)) {
      for (std::size_t v = 0; v < comparison.variants(); ++v) {
        if (settings[v]->dropped()) continue;
        plan.runs.push_back({v, w, study, Stage::report, seed, budget, settings[v]->best()});
        plan.complete = plan.complete && finished(plan.runs.back()).has_value();
      }
    }
  }
}

}  // namespace

RunPlan plan_runs(Comparison& comparison, const FinishedRuns& finished) {
  RunPlan plan;
  for (std::size_t w = 0; w < comparison.workloads(); ++w) {
    for (std::size_t study = 0; study < comparison.studies(); ++study) {
      plan_study(comparison, w, study, finished, plan);
    }
  }
  plan.complete = plan.complete && !plan.searching;
  return plan;
}

}  // namespace monge::compare
