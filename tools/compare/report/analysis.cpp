#include "tools/compare/report/analysis.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

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
  for (const Run* run : runs) {
    together[results.studies > 1 ? static_cast<std::int64_t>(run->study) : run->seed].push_back(run);
  }
  std::vector<Unit> units;
  for (const auto& [id, members] : together) {
    Unit& unit = units.emplace_back(Unit{.id = id});
    std::vector<double> losses;
    for (const Run* run : members) {
      losses.push_back(loss_of(*run));
      unit.start += fmt::format("{} {} {}\n", run->seed, run->initial_weights, run->batches);
    }
    unit.loss = mean(losses);
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
  if (row.diverged == 0 && losses.size() >= 2) {
    row.deviation = standard_deviation(losses);
    row.interval = mean_interval(losses, 1.0 - results.level);
  }
  row.accuracy = mean_accuracy(runs);
  measure_times(results.workloads[table.workload], runs, row);
  row.cost = cost_of(runs);
  return row;
}

/// None where a run diverged or a sample has fewer than two seeds.
std::optional<Contrast> contrast(const Row& one, const Row& other, double level) {
  if (!one.deviation || !other.deviation) return std::nullopt;
  const CommonUnits common = common_units(one, other);
  if (common.one.size() < 2) {
    return Contrast{.units = std::min(one.units.size(), other.units.size()),
                    .test = welch_t_test(losses_of(one.units), losses_of(other.units), 1.0 - level)};
  }
  Contrast result{.units = common.one.size(), .test = paired_t_test(common.one, common.other, 1.0 - level)};
  result.differences.resize(result.units);
  std::ranges::transform(common.one, common.other, result.differences.begin(), std::minus{});
  if (result.units <= max_sign_flips) result.sign_flip = sign_flip_test(result.differences);
  return result;
}

/// Holm's correction over all of them, t tests and sign flips each as one family.
void correct(const std::vector<Contrast*>& contrasts, double level) {
  std::vector<double> t_tests, flips;
  for (const Contrast* contrast : contrasts) {
    t_tests.push_back(contrast->test.p);
    if (contrast->sign_flip) flips.push_back(*contrast->sign_flip);
  }
  t_tests = holm(t_tests);
  flips = holm(flips);
  auto flip = flips.begin();
  for (std::size_t i = 0; i < contrasts.size(); ++i) {
    contrasts[i]->p = t_tests[i];
    contrasts[i]->significant = t_tests[i] <= level;
    if (contrasts[i]->sign_flip) contrasts[i]->corrected_sign_flip = *flip++;
  }
}

void compare_to_baseline(const Results& results, Analysis& analysis) {
  std::vector<Contrast*> contrasts;
  for (Table& table : analysis.tables) {
    const Row& baseline = table.row_of(results.baseline);
    for (Row& row : table.rows) {
      if (row.variant == results.baseline) continue;
      row.contrast = contrast(row, baseline, results.level);
      if (row.contrast) contrasts.push_back(&*row.contrast);
    }
  }
  correct(contrasts, results.level);
  analysis.comparisons = contrasts.size();
}

/// Every pair of every table is tested, corrected together: at least as strict as the tests against the baseline, so
/// that the letters never claim more.
void group(const Results& results, Analysis& analysis) {
  struct Pair {
    std::size_t table, one, other;  // rows that can be tested, best first
    Contrast contrast;
  };
  std::vector<std::vector<Row*>> tested(analysis.tables.size());
  std::vector<Pair> pairs;
  for (std::size_t t = 0; t < tested.size(); ++t) {
    for (Row& row : analysis.tables[t].rows) {
      if (row.deviation) tested[t].push_back(&row);
    }
    for (std::size_t i = 0; i < tested[t].size(); ++i) {
      for (std::size_t j = i + 1; j < tested[t].size(); ++j) {
        pairs.push_back({t, i, j, contrast(*tested[t][i], *tested[t][j], results.level).value()});
      }
    }
  }
  std::vector<Contrast*> contrasts;
  for (Pair& pair : pairs) contrasts.push_back(&pair.contrast);
  correct(contrasts, results.level);
  for (std::size_t t = 0; t < tested.size(); ++t) {
    std::vector<std::pair<std::size_t, std::size_t>> different;
    for (const Pair& pair : pairs) {
      if (pair.table == t && pair.contrast.significant) different.emplace_back(pair.one, pair.other);
    }
    const std::vector<std::string> letters = group_letters(tested[t].size(), different);
    for (std::size_t i = 0; i < letters.size(); ++i) tested[t][i]->group = letters[i];
  }
}

void relate_to_baseline(const Results& results, Table& table) {
  const Row& baseline = table.row_of(results.baseline);
  const std::optional<double> optimum = results.workloads[table.workload].optimum;
  for (Row& row : table.rows) {
    if (baseline.cost.step_milliseconds > 0.0) {
      row.cost.slowdown = row.cost.step_milliseconds / baseline.cost.step_milliseconds;
    }
    if (!optimum || row.variant == results.baseline) continue;
    const CommonUnits common = common_units(row, baseline);
    const auto above = [&](double loss) { return loss > *optimum && std::isfinite(loss); };
    if (common.one.size() >= 2 && std::ranges::all_of(common.one, above) && std::ranges::all_of(common.other, above)) {
      row.excess_ratio = excess_ratio(common.one, common.other, *optimum, 1.0 - results.level);
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

CommonUnits common_units(const Row& one, const Row& other) {
  CommonUnits common;
  for (const Unit& unit : one.units) {
    const auto match = std::ranges::find(other.units, unit.id, &Unit::id);
    if (match == other.units.end() || match->start != unit.start) continue;
    common.one.push_back(unit.loss);
    common.other.push_back(match->loss);
  }
  return common;
}

Analysis analyse(const Results& results) {
  require(results.baseline < results.variants.size(), "analyse: baseline {} of {} variants", results.baseline,
          results.variants.size());
  Analysis analysis;
  for (std::size_t workload = 0; workload < results.workloads.size(); ++workload) {
    for (const double budget : results.workloads[workload].budgets) {
      Table& table = analysis.tables.emplace_back(Table{.workload = workload, .budget = budget});
      for (std::size_t variant = 0; variant < results.variants.size(); ++variant) {
        table.rows.push_back(make_row(results, table, variant));
      }
      std::ranges::stable_sort(table.rows, {}, &Row::mean);
      relate_to_baseline(results, table);
    }
  }
  compare_to_baseline(results, analysis);
  group(results, analysis);
  study_tuning(results, analysis);
  fit_budgets(results, analysis);
  profile_times(results, analysis);
  return analysis;
}

std::string table_name(const Results& results, const Table& table) {
  const Workload& workload = results.workloads[table.workload];
  return workload.budgets.size() < 2 ? workload.name : fmt::format("{} at {}×", workload.name, table.budget);
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

const Tuned* tuned_for(const Results& results, std::size_t workload, std::size_t variant) {
  const auto found = std::ranges::find_if(
      results.tuned, [&](const Tuned& t) { return t.workload == workload && t.variant == variant; });
  return found == results.tuned.end() ? nullptr : &*found;
}

double detectable(const Contrast& contrast, double level, std::size_t comparisons) {
  const auto n = static_cast<double>(contrast.units);
  const double left = level / static_cast<double>(std::max<std::size_t>(1, comparisons));
  const double error = contrast.test.standard_error;
  return contrast.paired() ? detectable_paired_difference(error * std::sqrt(n), contrast.units, left)
                           : detectable_difference(error * std::sqrt(n / 2.0), contrast.units, left);
}

}  // namespace monge::compare
