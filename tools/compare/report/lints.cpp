#include "tools/compare/report/lints.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tools/compare/report/wording.h"

namespace monge::compare {
namespace {

/// Of a plain forward and backward; more is work that steps do not show.
constexpr double plain_passes = 1.001;
/// Spread of the milliseconds per step between runs of one configuration, relative to their mean.
constexpr double steady = 0.1;

class Finder {
 public:
  Finder(const Results& results, const Analysis& analysis) : results_(results), analysis_(analysis) {}

  std::vector<Lint> find() {
    completeness();
    failures();
    seeds();
    tuning();
    schedules();
    targets();
    passes();
    optimum();
    divergence();
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
        } else if (row.losses.size() < 2) {
          add(Severity::error, "{} has a single run on {}: without a second seed there is no interval and no test.",
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
        if (row.contrast && !row.contrast->paired()) {
          add(Severity::warning,
              "{} and {} share fewer than two seeds on {}: they were compared as independent samples "
              "(Welch's test), which has less power than a paired test.",
              variant(row.variant), variant(results_.baseline), place(table));
        }
      }
    }
  }

  void tuning() {
    std::map<std::size_t, std::map<std::size_t, std::int64_t>> trials;              // by workload and variant
    std::map<std::pair<std::size_t, std::string>, std::vector<std::string>> given;  // variant and keys: workloads
    for (const Tuned& tuned : results_.tuned) {
      trials[tuned.workload][tuned.variant] = tuned.trials;
      if (!tuned.on_edge.empty()) {
        add(Severity::error,
            "The best {} of {} on {} lies at the edge of what was tried: better values may lie "
            "beyond, so it may be better than shown. Widen the grid there.",
            listing(tuned.on_edge), variant(tuned.variant), workload(tuned.workload));
      }
      if (!tuned.fixed.empty()) given[{tuned.variant, listing(tuned.fixed)}].push_back(workload(tuned.workload));
    }
    for (const auto& [what, workloads] : given) {
      add(Severity::warning,
          "{} of {} was given, not tuned, on {}: some parameters depend on it, so {} may be better than shown.",
          what.second, variant(what.first), listing(workloads), variant(what.first));
    }
    for (const auto& [place, by_variant] : trials) {
      const auto tried = [](const auto& entry) { return entry.second; };
      const auto least = std::ranges::min_element(by_variant, {}, tried);
      const auto most = std::ranges::max_element(by_variant, {}, tried);
      if (least->second == most->second || !results_.complete) continue;
      add(Severity::warning,
          "On {} the variants had unequal numbers of trials: {} for {}, {} for {}. More trials find "
          "better settings.",
          workload(place), least->second, variant(least->first), most->second, variant(most->first));
    }
  }

  void schedules() {
    for (const Table& table : analysis_.tables) {
      std::int64_t last = 0;
      std::map<std::size_t, std::size_t> cut;
      const auto done = [&](const Run& run) {
        return run.workload == table.workload && run.budget == table.budget && run.status == Run::Status::done;
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
            "{} of {} of {} on {} diverged at the tuned settings: its mean loss is infinite, no t "
            "test applies, and it is placed last.{}",
            row.diverged, count(row.losses.size(), "run"), variant(row.variant), place(table),
            row.variant == results_.baseline ? " It is the baseline: there is nothing to test against there." : "");
      }
    }
  }

  /// What the tests could have found, and what they disagree on.
  void power() {
    std::size_t most_pairs = 0;
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (row.contrast && row.contrast->sign_flip) most_pairs = std::max(most_pairs, row.contrast->units);
      }
    }
    const auto comparisons = static_cast<double>(analysis_.comparisons);
    const double least_p = std::exp2(1.0 - static_cast<double>(most_pairs));  // of a sign flip
    const bool powerless = least_p * comparisons > results_.level;
    for (const Table& table : analysis_.tables) {
      for (const Row& row : table.rows) {
        if (!row.contrast) continue;
        const Contrast& contrast = *row.contrast;
        if (!powerless && contrast.significant && contrast.corrected_sign_flip.value_or(0.0) > results_.level) {
          add(Severity::warning,
              "The t test finds a difference between {} and {} on {}, the sign-flip test does not (p = {}): the "
              "differences may not be normally distributed. Run more seeds.",
              variant(row.variant), variant(results_.baseline), place(table), p_value(*contrast.corrected_sign_flip));
        }
        if (contrast.significant) continue;
        add(Severity::note,
            "{} against {} on {}: not distinguishable. With {} and this spread, a difference of {} or more "
            "would have been found with a probability of 80%; the one seen is {}.",
            variant(row.variant), variant(results_.baseline), place(table), count(contrast.units, "seed"),
            significant_digits(detectable(contrast, results_.level, analysis_.comparisons), 2),
            significant_digits(std::abs(contrast.test.difference), 2));
      }
    }
    if (most_pairs > 0 && powerless) {
      add(Severity::note,
          "With {} the sign-flip test cannot fall below p = {}; corrected for {} it cannot confirm anything at "
          "{}. It needs {} seeds. The t test, which assumes normal differences, is the only evidence.",
          count(most_pairs, "seed"), significant_digits(least_p, 2), count(analysis_.comparisons, "comparison"),
          percent(results_.level), static_cast<int>(std::ceil(1.0 + std::log2(comparisons / results_.level))));
    }
  }

  void timing() {
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

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::error: return "error";
    case Severity::warning: return "warning";
    case Severity::note: return "note";
  }
  return "";
}

std::vector<Lint> find_lints(const Results& results, const Analysis& analysis) {
  return Finder(results, analysis).find();
}

}  // namespace monge::compare
