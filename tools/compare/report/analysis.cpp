#include "tools/compare/report/analysis.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "core/error.h"
#include "core/options/yaml_node.h"
#include "tools/compare/report/analysis_parts.h"

namespace monge::compare {
namespace {

/// At the end of these runs; none where one diverged or has none.
std::optional<double> mean_accuracy(std::span<const Run* const> runs) {
  std::vector<double> accuracies;
  for (const Run* run : runs) {
    const bool ended = run->status == Run::Status::done && !run->points.empty();
    if (!ended || !run->points.back().val_accuracy) return std::nullopt;
    accuracies.push_back(*run->points.back().val_accuracy);
  }
  return accuracies.empty() ? std::nullopt : std::optional(mean(accuracies));
}

/// The runs by study, or where there is one study, by seed.
std::vector<Unit> units_of(const Results& results, std::span<const Run* const> runs) {
  std::map<std::int64_t, std::vector<const Run*>> together;
  for (const Run* run : runs) together[unit_of(results, *run)].push_back(run);
  std::vector<Unit> units;
  for (const auto& [id, members] : together) {
    Unit& unit = units.emplace_back(Unit{.id = id});
    std::vector<double> losses;
    for (const Run* run : members) {
      losses.push_back(loss_of(*run));
      unit.start += fmt::format("{} {} {}\n", run->seed, run->initial_weights, run->batches);
    }
    unit.loss = mean(losses);
    if (const std::optional<double> optimum = results.workloads[members.front()->workload].optimum) {
      for (double& loss : losses) loss = loss > *optimum ? std::log(loss - *optimum) : -infinity;
      unit.log_excess = mean(losses);
    }
  }
  return units;
}

std::vector<double> losses_of(std::span<const Unit> units) {
  std::vector<double> losses;
  for (const Unit& unit : units) losses.push_back(unit.loss);
  return losses;
}

Row make_row(const Results& results, const Table& table, std::size_t variant) {
  Row row{.variant = variant};
  const std::vector<const Run*> runs = report_runs(results, table, variant);
  for (const Run* run : runs) {
    row.seeds.push_back(run->seed);
    row.losses.push_back(loss_of(*run));
    row.diverged += std::isfinite(row.losses.back()) ? 0 : 1;
  }
  row.failed = static_cast<std::size_t>(std::ranges::count_if(
      results.runs, [&](const Run& run) { return run.status == Run::Status::failed && belongs(run, table, variant); }));
  row.units = units_of(results, runs);
  const std::vector<double> losses = losses_of(row.units);
  row.mean = losses.empty() ? infinity : mean(losses);
  const std::optional<double> optimum = results.workloads[table.workload].optimum;
  row.solved = optimum && row.mean >= *optimum && row.mean - *optimum <= solved_excess;
  if (row.diverged == 0 && losses.size() >= 2) {
    row.deviation = standard_deviation(losses);
    row.interval = mean_interval(losses, 1.0 - results.level);
  }
  row.accuracy = mean_accuracy(runs);
  measure_times(results.workloads[table.workload], runs, row);
  row.cost = cost_of(runs);
  return row;
}

/// The units of a table, rising.
std::vector<std::int64_t> units_of(const Table& table) {
  std::set<std::int64_t> ids;
  for (const Row& row : table.rows) {
    for (const Unit& unit : row.units) ids.insert(unit.id);
  }
  return {ids.begin(), ids.end()};
}

/// The rows as contenders; `value` of a unit is what is tested.
Contenders contenders_of(const Table& table, double guess, const std::function<double(const Unit&)>& value) {
  Contenders contenders{.guess = guess};
  const std::vector<std::int64_t> ids = units_of(table);
  for (const Row& row : table.rows) {
    std::vector<double>& values = contenders.values.emplace_back(ids.size(), std::numeric_limits<double>::quiet_NaN());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto unit = std::ranges::find(row.units, ids[i], &Unit::id);
      if (unit != row.units.end()) values[i] = value(*unit);
    }
  }
  return contenders;
}

/// What a model that knows nothing loses, and no less than anything that was measured.
double guess_of(const Results& results, const Table& table) {
  const std::int64_t vocab = results.workloads[table.workload].vocab;
  double guess = vocab > 0 ? std::log(static_cast<double>(vocab)) : 0.0;
  for (const Row& row : table.rows) {
    for (const double loss : row.losses) guess = std::isfinite(loss) ? std::max(guess, loss) : guess;
  }
  return guess;
}

/// Whether the logarithms of excess losses can be tested: everything that was measured lies above the optimum.
bool tests_excess(const Results& results, const Table& table) {
  const std::optional<double> optimum = results.workloads[table.workload].optimum;
  return optimum && std::ranges::all_of(table.rows, [&](const Row& row) {
           return std::ranges::all_of(row.losses, [&](double loss) { return loss > *optimum; });
         });
}

Contrast contrast_of(const Row& row, const Row& baseline, bool on_excess) {
  Contrast contrast{.on_excess = on_excess};
  contrast.paired = true;
  for (const Unit& unit : row.units) {
    const auto match = std::ranges::find(baseline.units, unit.id, &Unit::id);
    if (match == baseline.units.end()) continue;
    ++contrast.units;
    contrast.paired = contrast.paired && match->start == unit.start;
    const double difference = unit.loss - match->loss;
    if (!std::isfinite(difference)) continue;
    contrast.differences.push_back(difference);
    if (on_excess) contrast.ratios.push_back(std::exp(unit.log_excess - match->log_excess));
  }
  return contrast;
}

/// Rows of two units or more that share a letter are not distinguishable.
void letter(Table& table, std::span<const std::pair<std::size_t, std::size_t>> different) {
  std::vector<std::size_t> place(table.rows.size()), tested;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    place[i] = tested.size();
    if (table.rows[i].units.size() >= 2) tested.push_back(i);
  }
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (const auto& [one, other] : different) pairs.emplace_back(place[one], place[other]);
  const std::vector<std::string> letters = group_letters(tested.size(), pairs);
  for (std::size_t i = 0; i < letters.size(); ++i) table.rows[tested[i]].group = letters[i];
}

/// `sign` is 1 where the row is the first of the pair, else -1.
Interval turned(const Interval& interval, double sign) {
  return sign > 0.0 ? interval : Interval{-interval.high, -interval.low};
}

/// Tests all pairs of all tables as one family; fills contrasts, ratios and letters.
void test(const Results& results, Analysis& analysis) {
  std::vector<Contenders> of_losses, tested;
  for (const Table& table : analysis.tables) {
    const double guess = guess_of(results, table);
    of_losses.push_back(contenders_of(table, guess, [](const Unit& unit) { return unit.loss; }));
    const double optimum = results.workloads[table.workload].optimum.value_or(0.0);
    tested.push_back(tests_excess(results, table) ? contenders_of(table, std::log(guess - optimum),
                                                                  [](const Unit& unit) { return unit.log_excess; })
                                                  : of_losses.back());
  }
  const Family losses = test_family(of_losses, results.level), family = test_family(tested, results.level);
  analysis.comparisons = family.tests;
  for (std::size_t t = 0; t < analysis.tables.size(); ++t) {
    Table& table = analysis.tables[t];
    const bool on_excess = tests_excess(results, table);
    std::vector<std::pair<std::size_t, std::size_t>> different;
    for (std::size_t i = 0; i < family.pairs[t].size(); ++i) {
      const PairTest &pair = family.pairs[t][i], &loss = losses.pairs[t][i];
      Row &one = table.rows[pair.one], &other = table.rows[pair.other];
      const bool solved = one.solved && other.solved;
      if (pair.side != 0 && !solved) different.emplace_back(pair.one, pair.other);
      const bool with_baseline = one.variant == results.baseline || other.variant == results.baseline;
      if (!with_baseline) continue;
      const double sign = other.variant == results.baseline ? 1.0 : -1.0;
      Row& row = sign > 0.0 ? one : other;
      Contrast contrast = contrast_of(row, sign > 0.0 ? other : one, on_excess);
      contrast.difference = sign * loss.difference;
      contrast.interval = turned(loss.interval, sign);
      contrast.p = pair.p;
      contrast.detectable = on_excess ? std::exp(detectable(pair, family)) : detectable(pair, family);
      const Interval within{-results.margin, results.margin};
      using Verdict = Contrast::Verdict;
      contrast.verdict =
          solved ? Verdict::solved
          : results.margin > 0.0 && within.contains(contrast.interval.low) && within.contains(contrast.interval.high)
              ? Verdict::equivalent
          : pair.side * sign < 0.0 ? Verdict::lower
          : pair.side * sign > 0.0 ? Verdict::higher
                                   : Verdict::open;
      if (on_excess && std::isfinite(pair.difference)) {
        const Interval log = turned(pair.interval, sign);
        row.excess_ratio = {std::exp(sign * pair.difference), {std::exp(log.low), std::exp(log.high)}};
      }
      row.contrast = std::move(contrast);
    }
    letter(table, different);
    analysis.claims += different.size();
  }
}

/// Whether the reported runs had the machine to themselves, and it was the same, as was the program.
bool seconds_compare(const Results& results) {
  const Run* first = nullptr;
  for (const Run& run : results.runs) {
    if (run.stage != Stage::report || run.status == Run::Status::failed) continue;
    if (first == nullptr) first = &run;
    if (!run.own_cores || run.device != first->device || run.made_by != first->made_by) return false;
  }
  return first != nullptr;
}

void relate_costs(const Results& results, Table& table) {
  const Row& baseline = table.row_of(results.baseline);
  for (Row& row : table.rows) {
    if (baseline.cost.step_milliseconds > 0.0) {
      row.cost.slowdown = row.cost.step_milliseconds / baseline.cost.step_milliseconds;
    }
  }
}

}  // namespace

const Row& Table::row_of(std::size_t variant) const {
  const auto row = std::ranges::find(rows, variant, &Row::variant);
  require(row != rows.end(), "a table without variant {}", variant);
  return *row;
}

bool belongs(const Run& run, const Table& table, std::size_t variant) {
  return run.stage == Stage::report && run.workload == table.workload && run.budget == table.budget &&
         run.variant == variant;
}

std::vector<const Run*> report_runs(const Results& results, const Table& table, std::size_t variant) {
  std::vector<const Run*> runs;
  for (const Run& run : results.runs) {
    if (run.status != Run::Status::failed && belongs(run, table, variant)) runs.push_back(&run);
  }
  std::ranges::sort(runs, {}, [](const Run* run) { return run->seed; });
  return runs;
}

Analysis analyse(const Results& results) {
  require(results.baseline < results.variants.size(), "analyse: baseline {} of {} variants", results.baseline,
          results.variants.size());
  Analysis analysis{.timed = seconds_compare(results)};
  for (std::size_t workload = 0; workload < results.workloads.size(); ++workload) {
    for (const double budget : results.workloads[workload].budgets) {
      Table& table = analysis.tables.emplace_back(Table{.workload = workload, .budget = budget});
      for (std::size_t variant = 0; variant < results.variants.size(); ++variant) {
        table.rows.push_back(make_row(results, table, variant));
      }
      std::ranges::stable_sort(table.rows, {}, &Row::mean);
      relate_costs(results, table);
    }
  }
  test(results, analysis);
  study_tuning(results, analysis);
  fit_budgets(results, analysis);
  catch_up(results, analysis);
  profile_times(results, analysis);
  return analysis;
}

std::string_view verdict_name(Contrast::Verdict verdict) {
  switch (verdict) {
    case Contrast::Verdict::lower: return "lower";
    case Contrast::Verdict::higher: return "higher";
    case Contrast::Verdict::equivalent: return "equivalent";
    case Contrast::Verdict::solved: return "solved";
    case Contrast::Verdict::open: return "not distinguishable";
  }
  return "";
}

std::string table_name(const Results& results, const Table& table) {
  const Workload& workload = results.workloads[table.workload];
  return workload.budgets.size() < 2 ? workload.name : fmt::format("{} at {}×", workload.name, table.budget);
}

std::string tuning_name(const Results& results, std::size_t workload, double budget) {
  const bool several =
      std::ranges::any_of(results.tuned, [&](const Tuned& t) { return t.workload == workload && t.budget != budget; });
  const std::string& name = results.workloads[workload].name;
  return several ? fmt::format("{} at {}×", name, budget) : name;
}

double tuned_budget(const Results& results, const Table& table) {
  const bool own = std::ranges::any_of(results.tuned, [&](const Tuned& tuned) {
    return tuned.workload == table.workload && tuned.budget == table.budget;
  });
  return own ? table.budget : 1.0;
}

std::string variant_noun(const Results& results) {
  const auto optimizer_only = [](const Variant& variant) {
    try {
      return std::ranges::all_of(parse_yaml(variant.config, variant.name).entries,
                                 [](const YamlEntry& entry) { return entry.key == "optimizer"; });
    } catch (const InputError&) {
      return false;  // written by hand
    }
  };
  return std::ranges::all_of(results.variants, optimizer_only) ? "optimizer" : "variant";
}

}  // namespace monge::compare
