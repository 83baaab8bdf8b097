#include "tools/compare/report/lints.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "tools/compare/report/page/wording.h"
#include "tools/compare/statistics/outliers.h"

namespace monge::compare {
namespace {

/// Of a plain forward and backward; more is work that steps do not show.
constexpr double plain_passes = 1.001;
/// Spread of the milliseconds per step between runs of one configuration, relative to their mean.
constexpr double steady = 0.1;
/// From here on ranks alone can distinguish two variants.
constexpr std::size_t few_studies = 5;

class Finder {
 public:
  Finder(const Results& results, const Analysis& analysis) : results_(results), analysis_(analysis) {}

  std::vector<Lint> find() {
    completeness();
    failures();
    seeds();
    edges();
    given_rates();
    unequal_trials();
    schedules();
    targets();
    passes();
    optimum();
    divergence();
    outlying_seeds();
    choices();
    power();
    timing();
    scope();
    std::ranges::stable_sort(lints_, {}, &Lint::severity);
    return std::move(lints_);
  }

 private:
  template <class... Args>
  void add(Severity severity, fmt::format_string<Args...> text, Args&&... args) {
    lints_.push_back({severity, fmt::format(text, std::forward<Args>(args)...)});
  }
  const std::string& variant(std::size_t i) const { return results_.variants[i].name; }
  const std::string& workload(std::size_t i) const { return results_.workloads[i].name; }
  std::string place(const Table& table) const { return table_name(results_, table); }

  void completeness() {
    if (!results_.complete) {
      add(Severity::error,
          "The comparison is not finished: runs of the plan are missing. What follows is what there is "
          "so far; start the same comparison again and it goes on.");
    }
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (row.failed > 0) {
          add(Severity::error,
              "{} of {} on {} failed for a reason that is not the optimizer's and {} left out; see "
              "the list of runs for what they said.",
              count(row.failed, "run"), variant(row.variant), place(table), row.failed == 1 ? "was" : "were");
        }
        if (!results_.complete) continue;
        if (row.losses.empty()) {
          add(Severity::error, "{} has no finished run on {}, so it has no rank there.", variant(row.variant),
              place(table));
        } else if (row.units.size() < 2) {
          add(Severity::error,
              "{} has a single run on {}: without a second seed, or a second study, there is no interval and no test.",
              variant(row.variant), place(table));
        }
      }
    }
  }

  void failures() {
    std::set<std::pair<std::size_t, std::size_t>> reported;  // workload, variant
    for (const Run& run : results_.runs) {
      const bool failed = run.stage == Stage::tune && run.status == Run::Status::failed;
      if (!failed || !reported.insert({run.workload, run.variant}).second) continue;
      const std::string last_line = run.message.substr(run.message.find_last_of('\n') + 1);
      add(Severity::error, "{} failed on {} during tuning, and was dropped there: {}", variant(run.variant),
          workload(run.workload), last_line);
    }
  }

  void seeds() {
    std::vector<std::string> shared;
    for (const std::int64_t seed : results_.tune_seeds) {
      if (std::ranges::find(results_.report_seeds, seed) != results_.report_seeds.end()) {
        shared.push_back(fmt::format("{}", seed));
      }
    }
    if (!shared.empty()) {
      add(Severity::error,
          "The settings were tuned on {} {} that {} also reported: the results favour whichever "
          "was tuned on more settings. Report on other seeds.",
          shared.size() == 1 ? "seed" : "seeds", listing(shared), shared.size() == 1 ? "is" : "are");
    }
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (row.contrast && !row.contrast->paired) {
          add(Severity::warning,
              "{} and {} on {} did not begin alike (other weights, other batches): nothing is paired, and differences "
              "spread more.",
              variant(row.variant), variant(results_.baseline), place(table));
        }
      }
    }
  }

  /// Best values that may not be the best there are: a line per variant.
  void edges() {
    using Place = std::tuple<std::size_t, double, std::string>;  // workload, budget and key
    std::map<std::size_t, std::map<Place, std::size_t>> open;    // by variant: studies
    for (const Tuned& tuned : results_.tuned) {
      for (const std::string& key : tuned.on_edge) ++open[tuned.variant][{tuned.workload, tuned.budget, key}];
    }
    for (const auto& [which, places] : open) {
      std::map<Severity, std::vector<std::string>> where;
      for (const auto& [place, studies] : places) {
        const auto& [workload, budget, key] = place;
        where[edge_severity(studies)].push_back(
            fmt::format("{} on {}{}", key, tuning_name(results_, workload, budget),
                        results_.studies > 1 ? fmt::format(" ({} of {} studies)", studies, results_.studies) : ""));
      }
      for (const auto& [severity, what] : where) {
        add(severity,
            "{0}, best at the edge of what was tried: {1}. Better values may lie beyond, so it may be better than "
            "shown. {2}",
            variant(which), listing(what),
            results_.in_boxes ? "Widen the box there." : "Widen the grid there, or raise tune.max_trials.");
      }
    }
  }

  /// A point of a box is near its edge by chance: in one study of ten, for each axis.
  Severity edge_severity(std::size_t studies) const {
    const bool in_most = 2 * studies > results_.studies;
    if (!results_.in_boxes) return in_most ? Severity::error : Severity::warning;
    return in_most ? Severity::warning : Severity::note;
  }

  void given_rates() {
    std::map<std::pair<std::size_t, std::string>, std::set<std::string>> given;  // variant and keys: workloads
    for (const Tuned& tuned : results_.tuned) {
      if (!tuned.fixed.empty()) given[{tuned.variant, listing(tuned.fixed)}].insert(workload(tuned.workload));
    }
    for (const auto& [what, workloads] : given) {
      add(Severity::warning,
          "{} of {} was given, not tuned, on {}: some parameters depend on it, so {} may be better than shown.",
          what.second, variant(what.first), listing({workloads.begin(), workloads.end()}), variant(what.first));
    }
  }

  void unequal_trials() {
    if (!results_.complete) return;
    std::map<std::tuple<std::size_t, double, std::size_t>, std::map<std::size_t, std::int64_t>>
        trials;  // by workload, budget and study, then variant
    for (const Tuned& tuned : results_.tuned) {
      trials[{tuned.workload, tuned.budget, tuned.study}][tuned.variant] = tuned.trials;
    }
    for (const auto& [place, by_variant] : trials) {
      const auto tried = [](const auto& entry) { return entry.second; };
      const auto least = std::ranges::min_element(by_variant, {}, tried);
      const auto most = std::ranges::max_element(by_variant, {}, tried);
      if (least->second == most->second) continue;
      add(Severity::warning,
          "On {} the variants had unequal numbers of trials: {} for {}, {} for {}. More trials find "
          "better settings.",
          tuning_name(results_, std::get<0>(place), std::get<1>(place)), least->second, variant(least->first),
          most->second, variant(most->first));
    }
  }

  /// Whether a variant has declared that its schedule is not that of the others.
  bool has_other_length(std::size_t which) const {
    return std::ranges::any_of(results_.variants[which].unlike,
                               [](const std::string& difference) { return difference.starts_with("train.steps"); });
  }

  void schedules() {
    for (const Table& table : analysis_.tables) {
      std::int64_t last = 0;
      std::map<std::size_t, std::size_t> cut;
      const auto done = [&](const Run& run) {
        return run.workload == table.workload && run.budget == table.budget && run.status == Run::Status::done &&
               !has_other_length(run.variant);
      };
      const auto end = [](const Run& run) { return run.points.empty() ? 0 : run.points.back().step; };
      for (const Run& run : results_.runs) {
        if (done(run)) last = std::max(last, end(run));
      }
      for (const Run& run : results_.runs) {
        if (done(run) && end(run) < last) ++cut[run.variant];
      }
      for (const auto& [which, runs] : cut) {
        add(Severity::error,
            "{} of {} on {} ended before step {}, where the others did: a schedule that is cut short "
            "has not lowered its learning rate, and its loss is not comparable.",
            count(runs, "run"), variant(which), place(table), last);
      }
    }
  }

  void targets() {
    for (const Workload& w : results_.workloads) {
      if (w.target && !w.target_fixed_before) {
        add(Severity::warning,
            "The target of {} was chosen after results had been seen: times to it are a "
            "description, not a test.",
            w.name);
      }
    }
    for (std::size_t i = 0; i < results_.workloads.size(); ++i) {
      if (!results_.workloads[i].target) continue;
      const auto& rows = recipe_table(analysis_, i).rows;
      const bool ran = std::ranges::any_of(rows, [](const Row& row) { return !row.losses.empty(); });
      if (ran && std::ranges::all_of(rows, [](const Row& row) { return row.reached == 0; })) {
        add(Severity::warning, "No run reached the target of {}: its times say nothing.", workload(i));
      }
    }
  }

  void passes() {
    std::set<std::size_t> extra;
    for (const Run& run : results_.runs) {
      if (run.passes_per_step > plain_passes) extra.insert(run.variant);
    }
    if (extra.empty()) return;
    std::vector<std::string> names;
    for (const std::size_t which : extra) names.push_back(variant(which));
    add(Severity::warning,
        "A step of {} takes more than one forward-backward: steps hide that work. Compare by "
        "forward-backwards or seconds.",
        listing(names));
  }

  void optimum() {
    for (const Table& table : analysis_.tables) {
      const std::optional<double> best = results_.workloads[table.workload].optimum;
      for (const Row& row : table.rows) {
        if (best && std::ranges::any_of(row.losses, [&](double loss) { return loss < *best; })) {
          add(Severity::error,
              "{} on {} has a loss below the best possible, {}: either the optimum is wrong or the "
              "validation data was seen in training.",
              variant(row.variant), place(table), fixed(*best, 4));
        }
      }
    }
  }

  void divergence() {
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (row.diverged == 0) continue;
        add(Severity::warning,
            "{} of {} of {} on {} diverged at the tuned settings: its mean loss is infinite, it is placed last, and "
            "ranks decide what is claimed of it.",
            row.diverged, count(row.losses.size(), "run"), variant(row.variant), place(table));
      }
    }
  }

  /// Runs that do not fit the others of their row. Among all rows, any is named by chance as rarely as a claim is
  /// false.
  void outlying_seeds() {
    std::size_t rows = 0;
    for (const Table& table : analysis_.tables) rows += table.rows.size();
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) name_outliers(table, row, results_.level / static_cast<double>(rows));
    }
  }

  void name_outliers(const Table& table, const Row& row, double level) {
    const double optimum = results_.workloads[table.workload].optimum.value_or(0.0);
    const bool on_excess = row.contrast && row.contrast->on_excess;  // what is tested
    std::vector<std::int64_t> seeds;
    std::vector<double> losses, tested;
    for (std::size_t i = 0; i < row.losses.size(); ++i) {
      if (!std::isfinite(row.losses[i])) continue;
      seeds.push_back(row.seeds[i]);
      losses.push_back(row.losses[i]);
      tested.push_back(on_excess ? std::log(row.losses[i] - optimum) : row.losses[i]);
    }
    const std::vector<std::size_t> out = outliers(tested, level);
    if (out.empty()) return;
    std::vector<std::string> named;
    for (const std::size_t i : out) named.push_back(fmt::format("{} ({})", seeds[i], fixed(losses[i], 4)));
    add(Severity::warning,
        "{} of {} on {} out of line with the others, whose median is {}: seed {}. Means and intervals lean on such a "
        "run; "
        "look "
        "at it, and at the single {} in the plot.",
        count(out.size(), "run"), variant(row.variant), place(table), fixed(median(losses), 4), listing(named),
        results_.studies > 1 ? "studies" : "seeds");
  }

  /// How sure tuning was.
  void choices() {
    std::size_t close = 0;
    std::set<std::string> where;
    for (const ChosenSetting& choice : analysis_.choices) {
      if (!choice.within_noise()) continue;
      ++close;
      where.insert(fmt::format("{} on {}", variant(choice.tuned->variant), workload(choice.tuned->workload)));
    }
    if (close == 0) return;
    add(Severity::note,
        "{} of the {} settings chosen were chosen within noise, the runner-up not being distinguishable from them: {}. "
        "{}",
        close, analysis_.choices.size(), listing({where.begin(), where.end()}),
        results_.studies > 1 ? "Studies count that as spread."
                             : "Several studies (tune.studies) would count that as spread.");
  }

  /// "soap (seen 1.02×, detectable 1.21×)".
  std::string power_of(const Row& row) const {
    const Contrast& c = *row.contrast;
    const std::string detectable = c.on_excess ? factor(c.detectable) : significant_digits(c.detectable, 2);
    const std::string seen = c.on_excess && row.excess_ratio ? factor(row.excess_ratio->ratio)
                                                             : significant_digits(std::abs(c.difference), 2);
    return fmt::format("{} (seen {}, detectable {})", variant(row.variant), seen, detectable);
  }

  /// What the tests could have found: a line per table.
  void power() {
    for (const Table& table : analysis_.tables) {
      std::vector<std::string> open;
      std::size_t least_units = 0;
      for (const Row& row : table.rows) {
        const bool shown = row.contrast && row.contrast->verdict == Contrast::Verdict::open && row.diverged == 0 &&
                           std::isfinite(row.contrast->difference);
        if (!shown) continue;
        least_units = open.empty() ? row.contrast->units : std::min(least_units, row.contrast->units);
        open.push_back(power_of(row));
      }
      if (open.empty()) continue;
      const std::string units = results_.studies > 1
                                    ? (least_units == 1 ? "1 study" : fmt::format("{} studies", least_units))
                                    : count(least_units, "seed");
      add(Severity::note,
          "{}, not distinguishable from {}: {}. That much or more would have been found with a probability of 80% at "
          "least, with {} and this spread.",
          place(table), variant(results_.baseline), fmt::format("{}", fmt::join(open, "; ")), units);
    }
    if (results_.studies > 1 && results_.studies < few_studies) {
      add(Severity::note,
          "With {} studies everything rests on Student's law. From five on ranks can confirm it, and a variant that "
          "always diverges can be distinguished.",
          results_.studies);
    }
  }

  void timing() {
    if (!analysis_.timed) return;  // no second is reported
    std::vector<std::string> unsteady;
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        std::vector<double> times;
        for (const Run& run : results_.runs) {
          if (run.status == Run::Status::done && belongs(run, table, row.variant)) {
            times.push_back(run.step_milliseconds);
          }
        }
        if (times.size() < 2 || !(mean(times) > 0.0)) continue;
        const double spread = standard_deviation(times) / mean(times);
        if (spread <= steady) continue;
        unsteady.push_back(fmt::format("{} on {} ({})", variant(row.variant), place(table), percent(spread)));
      }
    }
    if (unsteady.empty()) return;
    add(Severity::warning,
        "The time of a step varied between runs of {}: something else used the machine, or "
        "concurrent runs slowed each other down. Compare by steps or forward-backwards, not seconds.",
        listing(unsteady));
  }

  void scope() {
    if (results_.workloads.size() == 1) {
      add(Severity::note, "There is one workload: this report does not show that the ranking is the same on another.");
    }
  }

  const Results& results_;
  const Analysis& analysis_;
  std::vector<Lint> lints_;
};

}  // namespace

std::vector<Lint> find_lints(const Results& results, const Analysis& analysis) {
  return Finder(results, analysis).find();
}

}  // namespace monge::compare
