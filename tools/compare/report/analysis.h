// Analysis: what the runs of a comparison show, as numbers.
//
// One table per workload and budget. Its rows are the variants, least mean loss first. A diverged run counts with an
// infinite loss: the mean of its variant is infinite, and ranks decide. A failed run (no memory, a broken disk)
// says nothing about the optimizer and is left out, but counted.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/compare/runs/results.h"
#include "tools/compare/statistics/family.h"
#include "tools/compare/statistics/learning_rate.h"
#include "tools/compare/statistics/scaling.h"
#include "tools/compare/statistics/significance.h"
#include "tools/compare/statistics/targets.h"

namespace monge::compare {

/// What training is measured in.
enum class Effort : std::uint8_t { steps, seconds, forward_backwards };
inline constexpr std::array efforts{Effort::steps, Effort::seconds, Effort::forward_backwards};
std::string_view effort_name(Effort effort);
double at(const Point& point, Effort effort);
/// A number for each effort.
using PerEffort = std::array<double, efforts.size()>;

/// A variant against the baseline, one of the pairs of the family (statistics/family.h). Where the best possible loss
/// is known and everything lies above it, the logarithms of the excess losses are tested, else the losses.
struct Contrast {
  std::vector<double> differences;  // of the losses, unit by unit, those of diverged units left out
  std::vector<double> ratios;       // of the excess losses, unit by unit, where these are tested
  std::size_t units = 0;            // that both have
  bool paired = false;              // these began alike
  double difference = 0.0;          // of the mean losses, nats; NaN where both have diverged units
  Interval interval;                // of it, simultaneous with all pairs, 1 - level
  bool on_excess = false;           // the test was of the logarithms
  double p = 1.0;                   // corrected for all pairs
  /// What the test would find with a probability of 80 % at least: a difference in nats, or a ratio of excess losses
  /// above 1.
  double detectable = 0.0;
  enum class Verdict : std::uint8_t { lower, higher, equivalent, solved, open } verdict = Verdict::open;

  bool differs() const { return verdict == Verdict::lower || verdict == Verdict::higher; }
};

/// What the steps of a variant took: over its report runs that did not fail.
struct Cost {
  double step_milliseconds = 0.0;  // median
  double slowdown = 1.0;           // relative to the baseline
  std::int64_t state_bytes = 0;
  double passes_per_step = 1.0;
};

/// What is compared: a study, with the mean loss of its reported runs, or where there is one study, a seed of it.
struct Unit {
  std::int64_t id = 0;      // number of the study, or seed
  double loss = 0.0;        // infinite with a diverged run
  double log_excess = 0.0;  // mean of the logarithms, where the optimum is known; so it is lower than that of the mean
  std::string start;        // the seeds of its runs and what they began with
};

/// When the runs of a variant come to the loss with which the baseline ends, each to that of the run it is paired with,
/// as a share of the baseline's steps.
struct CatchUp {
  std::size_t runs = 0;              // that have one to catch up with
  std::vector<std::int64_t> missed;  // seeds of those that never did, or diverged: they count as a share of one
  double ratio = 1.0;                // geometric mean over units; with missed runs a lower bound
  /// Of it, simultaneous with all others of the page, 1 - level; infinite above with missed runs; none with one unit.
  std::optional<Interval> interval;
};

/// A variant on a workload at a budget.
struct Row {
  std::size_t variant = 0;
  std::vector<Unit> units;
  std::vector<std::int64_t> seeds;  // of the report runs that did not fail, rising
  std::vector<double> losses;       // their final losses; infinite: diverged
  std::size_t diverged = 0, failed = 0;

  double mean = 0.0;                        // infinite with a diverged run, and without any
  std::optional<double> deviation;          // standard, of finite losses, two at least
  std::optional<double> accuracy;           // mean at the end; none where a run has none
  std::optional<Interval> interval;         // of the mean, 1 - level
  std::optional<Contrast> contrast;         // against the baseline; none of the baseline itself
  std::optional<ExcessRatio> excess_ratio;  // relative to the baseline, where it was tested; simultaneous interval
  bool solved = false;                      // the mean is the best possible one, but for solved_excess
  std::string group;                        // compact letter display: rows that share a letter are not distinguishable
  std::optional<SpeedUp> speed_up;          // over the baseline
  std::optional<CatchUp> catch_up;          // with the baseline; none of itself, and without pairs

  std::vector<PerEffort> to_target;  // of each seed; infinite: not reached, or diverged later
  PerEffort median_to_target{};      // infinite when half of the seeds missed it; meaningless without a target
  PerEffort earliest_to_target{}, latest_to_target{};
  std::size_t reached = 0;  // seeds that did

  Cost cost;
};

struct Table {
  std::size_t workload = 0;
  double budget = 1.0;
  std::vector<Row> rows;

  const Row& row_of(std::size_t variant) const;
};

/// Times to target over the workloads that have one, relative to the best variant's.
struct Profiles {
  std::vector<std::size_t> workloads;
  std::array<TimeTable, efforts.size()> ratios;            // [variant][workload]
  std::array<std::vector<double>, efforts.size()> scores;  // [variant]
};

/// The mean final loss of a variant by budget.
struct Scaling {
  std::size_t workload = 0, variant = 0;
  std::vector<double> budgets, means;
  PowerLaw law;
};

/// What the tuning runs of a variant show about its learning rate.
struct Sensitivity {
  std::size_t workload = 0, variant = 0;
  double budget = 1.0;
  std::vector<LearningRatePoint> points;   // rates rising, each at the best of the other settings tried with it
  std::optional<LearningRateStudy> study;  // none when every rate diverged
};

/// What tuning chose for a variant on a workload in a study, and how sure that choice was.
struct ChosenSetting {
  const Tuned* tuned = nullptr;
  std::optional<double> tuned_loss;       // mean over its tuning runs
  std::optional<double> reported_loss;    // mean over its reported runs at the tuned budget; infinite: one diverged
  std::optional<double> runner_up;        // how much more the next best setting lost, on the seeds that both have
  std::optional<double> runner_up_error;  // standard error of that; none with one seed
  /// The seeds do not distinguish the two.
  bool within_noise() const { return runner_up && runner_up_error && *runner_up < 2.0 * *runner_up_error; }
};

/// How far the search had come after so many trials.
struct SearchCurve {
  std::size_t workload = 0, variant = 0;
  double budget = 1.0;
  std::size_t studies = 0;
  std::vector<double> best;  // [trial]: the least loss so far, mean over studies; infinite until all have a finite one
};

struct Analysis {
  std::vector<Table> tables;           // workload by workload, budgets rising
  std::size_t comparisons = 0;         // pairs of variants in all tables: corrected together
  std::size_t claims = 0;              // of a difference, among them
  std::vector<ChosenSetting> choices;  // in the order of Results::tuned
  std::vector<Sensitivity> sensitivities;
  std::vector<SearchCurve> searches;  // of variants that tried several settings
  bool timed = false;                 // every reported run had cores of its own, on one kind of device, by one program
  std::vector<Scaling> scalings;      // where a variant has three budgets or more
  std::optional<Profiles> profiles;   // with two workloads or more that have a target
};

Analysis analyse(const Results& results);

/// "lower", "higher", "equivalent", "solved", "not distinguishable".
std::string_view verdict_name(Contrast::Verdict verdict);
/// "markov2", or with several budgets "markov2 at 2×".
std::string table_name(const Results& results, const Table& table);
/// The same for what was tuned: with the budget where there are several to tune at.
std::string tuning_name(const Results& results, std::size_t workload, double budget);
/// The budget at which the settings of a table were tuned: its own, or else that of the recipe.
double tuned_budget(const Results& results, const Table& table);
/// What the variants are called: "optimizer" where they set nothing else, otherwise "variant".
std::string variant_noun(const Results& results);

/// Whether this is a report run of a variant at a table's workload and budget.
bool belongs(const Run& run, const Table& table, std::size_t variant);

/// The table whose times count for the profile: at the budget 1 where there is one, else at the least.
const Table& recipe_table(const Analysis& analysis, std::size_t workload);

/// Nats per token above the best possible loss that count for nothing: between two variants that are so near, no
/// difference is claimed.
inline constexpr double solved_excess = 1e-3;

}  // namespace monge::compare
