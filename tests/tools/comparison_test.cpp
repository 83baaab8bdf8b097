// What a comparison is read as, and which runs it leads to. Losses are made up: no run is trained here.
#include "tools/compare/search/comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "support/expect_error.h"
#include "support/temp_directory.h"
#include "tools/compare/search/plan.h"
#include "tools/compare/search/search.h"
#include "train/config/config.h"

namespace monge::compare {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t cores = 4;

/// A folder with a recipe of 40 steps and a comparison.
class Folder {
 public:
  Folder() {
    test::write_file(directory_ / "tiny.yaml",
                     "data: {kind: markov, symbols: 6, order: 1}\n"
                     "model: {layers: 1, heads: 2, width: 16, context: 8}\n"
                     "optimizer: {name: adamw, lr: 1.0e-2, betas: [0.8, 0.9], clip_norm: 0.5,\n"
                     "            schedule: {kind: linear, warmup: 10}}\n"
                     "train: {steps: 40, batch: 4}\n");
  }
  Comparison read(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    test::write_file(directory_ / "c.yaml", text);
    return {directory_ / "c.yaml", overrides, cores};
  }
  std::string refused(const std::string& text) const {
    return error_of([&] { read(text); });
  }
  std::filesystem::path operator/(const std::string& name) const { return directory_ / name; }

 private:
  test::TempDirectory directory_;
};

std::string comparison_of(const std::string& variants, const std::string& more = "") {
  return "baseline: a\nworkloads: [{config: tiny.yaml}]\n" + more + "variants:\n" + variants;
}

train::Config config_of(Comparison& comparison, const PlannedRun& run) {
  train::Config config;
  read_yaml_text(comparison.config(run).yaml, "run", {}, config);
  return config;
}

/// Every run of the comparison, its plan made anew whenever `batch` more of them have ended. A loss that is NaN stands
/// for a failure.
RunPlan play(Comparison& comparison, const std::function<double(const PlannedRun&)>& loss, std::size_t batch = 1,
             std::map<PlannedRun, double> losses = {}) {
  const FinishedRuns finished = [&](const PlannedRun& run) -> std::optional<FinishedRun> {
    const auto found = losses.find(run);
    if (found == losses.end()) return std::nullopt;
    return FinishedRun{.loss = found->second, .failed = std::isnan(found->second)};
  };
  for (;;) {
    RunPlan plan = plan_runs(comparison, finished);
    if (plan.complete) return plan;
    std::size_t started = 0;
    for (const PlannedRun& run : plan.runs) {
      if (losses.contains(run) || started == batch) continue;
      losses[run] = loss(run);
      ++started;
    }
    if (started == 0) {
      ADD_FAILURE() << "an incomplete plan asks for nothing";
      return plan;
    }
  }
}

/// Nats above the optimum at `lr`, in octaves from the best rate.
double bowl(double value, double best) { return std::pow(std::log2(value / best), 2.0); }

TEST(Comparison, ReadsAxesByTheTypeOfTheKey) {
  const Folder folder;
  const Comparison c = folder.read(
      comparison_of("  a: {optimizer: {weight_decay: [0.1, 0.0], betas: [0.9, 0.95], lr: [4.0e-3, 2.0e-3]}}\n"
                    "  b: {optimizer: {betas: {1: [0.9, 0.99]}, groups: [{match: '*', lr_scale: [0.5, 1.0]}]}}\n"
                    "  c:\n"));
  ASSERT_EQ(c.axes(0).size(), 2u);
  EXPECT_EQ(c.axes(0)[0].key, "optimizer.lr");
  EXPECT_EQ(c.axes(0)[0].values, (std::vector<double>{2e-3, 4e-3}));
  EXPECT_EQ(c.axes(0)[1].key, "optimizer.weight_decay");
  ASSERT_EQ(c.axes(1).size(), 2u);
  EXPECT_EQ(c.axes(1)[0].key, "optimizer.betas.1");
  EXPECT_EQ(c.axes(1)[1].key, "optimizer.groups.0.lr_scale");
  EXPECT_TRUE(c.axes(2).empty());
}

TEST(Comparison, LaysBaseAndVariantOverTheRecipe) {
  const Folder folder;
  Comparison c = folder.read(
      comparison_of("  a: {optimizer: {lr: [2.0e-3, 4.0e-3]}}\n"
                    "  b: {optimizer: {name: sgd, lr: 0.5}}\n",
                    "base: {train: {batch: 7}, optimizer: {clip_norm: 2.0}}\njobs: 2\nbudgets: [0.5, 3]\n"));
  const train::Config a = config_of(c, {.variant = 0, .seed = 9, .setting = {4e-3}});
  EXPECT_EQ(a.optimizer.lr, 4e-3);
  EXPECT_EQ(a.train.batch, 7);
  EXPECT_EQ(a.train.seed, 9);
  EXPECT_EQ(a.train.steps, 40);
  EXPECT_EQ(a.train.threads, 2);
  EXPECT_HAS(c.config({.variant = 0, .setting = {4e-3}}).yaml, "betas: [0.8, 0.9]");

  const PlannedRun long_run{.variant = 1, .budget = 3.0};
  const train::Config b = config_of(c, long_run);
  EXPECT_EQ(b.optimizer.rule.kind, "sgd");
  EXPECT_EQ(b.optimizer.clip_norm, 2.0);
  EXPECT_EQ(b.optimizer.schedule.kind, "linear");
  EXPECT_EQ(b.train.steps, 120);
  EXPECT_EQ(c.config(long_run).steps, 120);
  EXPECT_HAS(c.config(long_run).yaml, "warmup: 30");
  EXPECT_HAS(c.config({.variant = 1, .budget = 0.5}).yaml, "warmup: 5");
}

TEST(Comparison, ErrorsNameFileAndLine) {
  const Folder folder;
  const std::string unknown = folder.refused(comparison_of("  a: {}\n  b: {optimizer: {lrr: [1, 2]}}\n"));
  EXPECT_HAS(unknown, "c.yaml:5:19: optimizer.lrr: unknown key");
  EXPECT_HAS(unknown, "Did you mean 'lr'");
  EXPECT_HAS(folder.refused(comparison_of("  a: {optimizer: {lr: [0.1, -0.2]}}\n")), "c.yaml:4:23: optimizer.lr");
  EXPECT_HAS(folder.refused(comparison_of("  a: {optimizer: {lr: [0.1, high]}}\n")), "c.yaml:4:29: optimizer.lr");
  EXPECT_HAS(folder.refused(comparison_of("  a: {optimizer: {lr: [0.1, 0.1]}}\n")), "given twice");
  EXPECT_HAS(folder.refused(comparison_of("  a: {optimizer: {lr: []}}\n")), "an empty list");
  EXPECT_HAS(folder.refused(comparison_of("  a: {optimizer: {name: [adamw, sgd]}}\n")), "expected a number");
  EXPECT_HAS(folder.refused(comparison_of("  a: 3\n")), "c.yaml:4:6: variants.a");
  EXPECT_HAS(folder.refused(comparison_of("  b: {}\n")), "no variant is called 'a'");
  EXPECT_HAS(folder.refused(comparison_of("  a: {}\n", "base: {train: {steps: [1, 2]}}\n")),
             "c.yaml:3:23: train.steps");
  EXPECT_HAS(folder.refused(comparison_of("  a: {}\n", "budgets: [2, 1]\n")), "they must rise");
  EXPECT_HAS(folder.refused(comparison_of("  a: {}\n", "report: {sedes: 3}\n")), "Did you mean 'seeds'");
  EXPECT_HAS(folder.refused("baseline: a\nvariants: {a: {}}\nworkloads: [{config: none.yaml}]\n"), "none.yaml");
  EXPECT_HAS(folder.refused("baseline: a\nvariants: {a: {}}\nworkloads: [{config: tiny.yaml}, {config: tiny.yaml}]\n"),
             "two are called 'tiny'");
  EXPECT_HAS(folder.refused("baseline: a\nvariants: {a: {}}\nworkloads: [{config: tiny.yaml, target: 1.0, "
                            "target_excess: 1.0}]\n"),
             "give one of target");
  const std::string undetermined =
      folder.refused("baseline: a\nvariants: {a: {}}\nworkloads: [{config: tiny.yaml, target_accuracy: 0.99}]\n");
  EXPECT_HAS(undetermined, "workload 'tiny': target_accuracy: not every answer of this data is determined");
}

TEST(Comparison, MissingDataIsSaidBeforeAnythingRuns) {
  const Folder folder;
  const std::string missing =
      folder.refused(comparison_of("  a: {}\n", "base: {data: {kind: text, path: none/at/all.txt}}\n"));
  EXPECT_HAS(missing, "workload 'tiny': data.path: there is no file");
  EXPECT_HAS(missing, "none/at/all.txt");
  EXPECT_HAS(missing, "its recipe, 'tiny.yaml', may say how to get the data");
  test::write_file(folder / "text.txt", std::string(400, 'a'));
  const std::string unknown = folder.refused(
      "baseline: a\nvariants: {a: {}}\nworkloads: [{config: tiny.yaml, target_excess: 0.1}]\n"
      "base: {data: {kind: text, cache: " +
      (folder / "cache").string() + ", path: " + (folder / "text.txt").string() + "}}\n");
  EXPECT_HAS(unknown, "target_excess: the best possible loss of this data is not known");
}

TEST(Comparison, ChangedDataIsAnotherConfiguration) {
  const Folder folder;
  const auto config = [&](const std::string& text) {
    test::write_file(folder / "text.txt", text);
    Comparison c =
        folder.read(comparison_of("  a: {}\n", "base: {data: {kind: text, cache: " + (folder / "cache").string() +
                                                   ", path: " + (folder / "text.txt").string() + "}}\n"));
    return c.config({}).yaml;
  };
  std::string text;
  for (int i = 0; i < 400; ++i) text += static_cast<char>('a' + i * i % 7);
  const std::string one = config(text);
  EXPECT_HAS(one, "# " + (folder / "text.txt").string() + " has checksum ");
  EXPECT_EQ(config(text), one);
  text[200] = 'z';
  EXPECT_NE(config(text), one);
}

TEST(Comparison, OverridesAreLaidOverIt) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3], weight_decay: 0.3}}\n",
                                           "base: {train: {steps: 9, batch: 3}}\n"),
                             {"report.seeds=3", "base.train.steps=8", "variants.a.optimizer.lr=[0.5, 0.25]"});
  EXPECT_EQ(c.report_seeds(0).size(), 3u);
  EXPECT_EQ(c.axes(0)[0].values, (std::vector<double>{0.25, 0.5}));
  EXPECT_EQ(c.config({.setting = {0.5}}).steps, 8);
  const train::Config config = config_of(c, {.setting = {0.5}});
  EXPECT_EQ(config.train.batch, 3) << "the rest of base stays";
  EXPECT_EQ(config.optimizer.weight_decay, 0.3);
  EXPECT_HAS(c.text(), "# with base.train.steps=8\n");
  EXPECT_HAS(error_of([&] { folder.read(comparison_of("  a: {}\n"), {"report.sedes=3"}); }), "Did you mean 'seeds'");
}

TEST(Comparison, APartOfTheVariantsHasTheRunsOfTheWhole) {
  const Folder folder;
  const std::string text = comparison_of(
      "  a: {optimizer: {lr: [1.0e-3, 2.0e-3]}}\n"
      "  b: {optimizer: {lr: [1.0e-3, 4.0e-3]}}\n"
      "  c: {optimizer: {lr: [1.0e-3, 8.0e-3], weight_decay: 0.5}}\n",
      "tune: {studies: 2, search: quasi_random, max_trials: 3}\n");
  const auto loss = [](const PlannedRun& run) { return bowl(run.setting[0], 2e-3); };
  const auto configs = [](Comparison& comparison, const RunPlan& plan, const std::string& without) {
    std::vector<std::string> out;
    for (const PlannedRun& run : plan.runs) {
      if (comparison.variant_name(run.variant) != without) out.push_back(comparison.config(run).yaml);
    }
    return out;
  };
  Comparison whole = folder.read(text), part = folder.read(text, {"only=[c, a]"});
  ASSERT_EQ(part.variants(), 2u);
  EXPECT_EQ(part.variant_name(0), "a");
  EXPECT_EQ(part.variant_name(1), "c");
  EXPECT_EQ(part.baseline(), 0u);
  EXPECT_EQ(configs(part, play(part, loss), "b"), configs(whole, play(whole, loss), "b"));

  Comparison other = folder.read(text, {"only=[c, b]", "baseline=c"});
  EXPECT_EQ(other.variant_name(other.baseline()), "c");
}

TEST(Comparison, APartOfTheVariantsIsNamedAndHoldsTheBaseline) {
  const Folder folder;
  const auto refused = [&](const std::string& only) {
    return folder.refused(comparison_of("  a: {}\n  muon: {}\n  soap: {}\n", "only: " + only + "\n"));
  };
  EXPECT_HAS(refused("[a, muno]"), "c.yaml:3:1: only: no variant is called 'muno'; allowed: a, muon, soap");
  EXPECT_HAS(refused("[a, muno]"), "Did you mean 'muon'?");
  EXPECT_HAS(refused("[]"), "only: give one variant at least");
  EXPECT_HAS(refused("[a, muon, a]"), "only: 'a' is given twice");
  EXPECT_HAS(refused("[muon, soap]"), "only: the baseline, 'a', is not among them");
  EXPECT_HAS(refused("[muon, soap]"), "as in baseline=muon");
}

TEST(Comparison, ItsPageNamesEveryKey) {
  const std::string page = test::read_file(MONGE_SOURCE_DIR "/docs/compare.md");
  ComparisonOptions options;
  for (const KeyDescription& key : describe(options)) {
    EXPECT_HAS(page, fmt::format("| `{}` | {} |", key.path, key.type));
  }
}

TEST(RunPlan, SearchesUntilTheOptimumIsBracketedOnEveryAxis) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3], weight_decay: [0.1, 0.2]}}\n",
                                           "tune: {max_trials: 40}\n"));
  const RunPlan plan = play(
      c, [](const PlannedRun& run) { return 2.0 + bowl(run.setting[0], 16e-3) + 0.1 * bowl(run.setting[1], 0.05); });
  const Tuned& tuned = plan.tuned.at(0);
  EXPECT_EQ(tuned.axes,
            (std::vector<std::pair<std::string, double>>{{"optimizer.lr", 16e-3}, {"optimizer.weight_decay", 0.05}}));
  EXPECT_TRUE(tuned.on_edge.empty());
  for (const PlannedRun& run : plan.runs) {
    EXPECT_TRUE(run.stage == Stage::tune || run.setting == (Setting{16e-3, 0.05}));
  }
}

TEST(RunPlan, StopsAtMostTrialsAndSaysWhatIsOpen) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3]}}\n", "tune: {max_trials: 4}\n"));
  const RunPlan plan = play(c, [](const PlannedRun& run) { return bowl(run.setting[0], 1.0); });
  EXPECT_EQ(plan.tuned[0].trials, 4);
  EXPECT_EQ(plan.tuned[0].on_edge, (std::vector<std::string>{"optimizer.lr"}));
}

TEST(RunPlan, DivergenceIsTheFarSideOfTheOptimumAndGoesDownWhenEverythingDiverged) {
  const Folder folder;
  Comparison c = folder.read(
      comparison_of("  a: {optimizer: {lr: [0.2, 0.4]}}\n  b: {optimizer: {lr: [4.0, 8.0], weight_decay: [0.1]}}\n"));
  const RunPlan plan =
      play(c, [](const PlannedRun& run) { return run.setting[0] > 0.5 ? infinity : 1.0 - run.setting[0]; });
  EXPECT_GE(plan.tuned[0].axes[0].second, 0.4);
  EXPECT_LE(plan.tuned[0].axes[0].second, 0.5);
  EXPECT_TRUE(plan.tuned[0].on_edge.empty());
  EXPECT_EQ(plan.tuned[1].axes[0].second, 0.5);
  for (const PlannedRun& run : plan.runs) EXPECT_TRUE(run.stage == Stage::tune || run.setting[0] <= 0.5);
}

TEST(RunPlan, ValuesEndWhereTheConfigurationEnds) {
  const Folder folder;
  Comparison c = folder.read(
      comparison_of("  a: {optimizer: {schedule: {kind: wsd, decay_fraction: [0.3, 0.6]}, weight_decay: [0.0, 0.1]}}\n",
                    "tune: {max_trials: 40}\n"));
  const RunPlan plan = play(c, [](const PlannedRun& run) { return -run.setting[0] + run.setting[1]; });
  const Tuned& tuned = plan.tuned[0];
  EXPECT_EQ(tuned.axes[0].second, 0.6);  // 1.2 is no share
  EXPECT_EQ(tuned.axes[1].second, 0.0);
  EXPECT_EQ(tuned.on_edge, (std::vector<std::string>{"optimizer.schedule.decay_fraction"}));
}

TEST(RunPlan, DecaysAreSearchedByTheirDistanceFromOne) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {betas: {1: [0.8, 0.9]}, schedule: {warmup: [5, 10]}}}\n",
                                           "tune: {max_trials: 40}\n"));
  ASSERT_TRUE(c.axes(0)[0].decay);
  ASSERT_TRUE(c.axes(0)[1].whole);
  const RunPlan plan =
      play(c, [](const PlannedRun& run) { return bowl(1.0 - run.setting[0], 0.0125) + bowl(run.setting[1], 20.0); });
  std::set<double> betas;
  for (const PlannedRun& run : plan.runs) {
    betas.insert(run.setting[0]);
    EXPECT_EQ(run.setting[1], std::round(run.setting[1]));
  }
  for (const double tried : {0.8, 0.9, 0.95, 0.975, 0.9875, 0.99375}) EXPECT_TRUE(betas.contains(tried)) << tried;
  EXPECT_EQ(plan.tuned[0].axes[0].second, 0.9875);
  EXPECT_EQ(plan.tuned[0].axes[1].second, 20.0);
  EXPECT_TRUE(plan.tuned[0].on_edge.empty());
}

constexpr const char* four_axes =
    "  a: {optimizer: {lr: [1.0e-4, 1.0e-2], weight_decay: [0.0, 0.1], betas: {0: [0.8, 0.99]},\n"
    "      schedule: {warmup: [2, 20]}}}\n"
    "  b: {optimizer: {lr: [1.0e-3, 1.0e-1], weight_decay: [0.0, 0.2], betas: {0: [0.8, 0.99]},\n"
    "      schedule: {warmup: [2, 20]}}}\n";

TEST(RunPlan, ABoxIsCoveredByAsManyPointsAsAsked) {
  const Folder folder;
  Comparison c = folder.read(comparison_of(
      four_axes, "tune: {search: quasi_random, max_trials: 16, studies: 2, finalists: 2, final_seeds: 1}\n"));
  const RunPlan plan = play(
      c, [](const PlannedRun& run) { return bowl(run.setting[0], 1e-3); }, 7);
  std::map<std::pair<std::size_t, std::size_t>, std::set<Setting>> tried;  // by study and variant
  for (const PlannedRun& run : plan.runs) {
    if (run.stage == Stage::tune) tried[{run.study, run.variant}].insert(run.setting);
  }
  for (const auto& [where, settings] : tried) {
    ASSERT_EQ(settings.size(), 16U);
    const double low = where.second == 0 ? 1e-4 : 1e-3;
    std::array<int, 4> quarters{};  // of the rate's range, in octaves: the Sobol points of one axis are evenly spread
    int low_decay = 0, near_one = 0;
    for (const Setting& s : settings) {
      ++quarters.at(static_cast<std::size_t>(4.0 * std::log(s[0] / low) / std::log(100.0)));
      low_decay += s[1] < (where.second == 0 ? 0.05 : 0.1) ? 1 : 0;
      near_one += s[2] > 1.0 - std::sqrt(0.2 * 0.01) ? 1 : 0;
      EXPECT_TRUE(s[1] >= 0.0 && s[1] <= 0.2);
      EXPECT_TRUE(s[2] >= 0.8 && s[2] <= 0.99);
      EXPECT_TRUE(s[3] >= 2.0 && s[3] <= 20.0 && s[3] == std::round(s[3]));
    }
    for (const int count : quarters) EXPECT_NEAR(count, 4, 1);
    EXPECT_NEAR(low_decay, 8, 1);  // linear, since zero has no logarithm
    EXPECT_NEAR(near_one, 8, 1);   // in octaves of the distance from one
  }
  EXPECT_NE((tried[{0, 0}]), (tried[{1, 0}]));
  for (const Tuned& tuned : plan.tuned) EXPECT_EQ(tuned.trials, 16);
}

TEST(RunPlan, AWholeNumberIsAtTheEndOfItsBoxOnlyWithAllThatAreRoundedToIt) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {schedule: {warmup: [1, 10]}}}\n",
                                           "tune: {search: quasi_random, max_trials: 30, final_seeds: 0}\n"));
  const RunPlan plan = play(
      c, [](const PlannedRun& run) { return run.setting[0]; }, 64);
  EXPECT_EQ(plan.tuned[0].axes[0].second, 1.0);
  EXPECT_EQ(plan.tuned[0].trials, 10);  // there are no more
  EXPECT_TRUE(plan.tuned[0].on_edge.empty());
}

TEST(RunPlan, ASettingAtTheEndOfItsBoxIsSaidToBe) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-4, 1.0e-2], weight_decay: [0.0, 0.1]}}\n",
                                           "tune: {search: quasi_random, max_trials: 64, final_seeds: 0}\n"));
  const RunPlan low = play(
      c, [](const PlannedRun& run) { return run.setting[0]; }, 64);
  EXPECT_EQ(low.tuned[0].on_edge, std::vector<std::string>{"optimizer.lr"});
  const RunPlan none = play(
      c, [](const PlannedRun& run) { return run.setting[1]; }, 64);
  EXPECT_TRUE(none.tuned[0].on_edge.empty() || none.tuned[0].on_edge[0] != "optimizer.weight_decay");
  const RunPlan high = play(
      c, [](const PlannedRun& run) { return -run.setting[1]; }, 64);
  EXPECT_EQ(high.tuned[0].on_edge.back(), "optimizer.weight_decay");
}

TEST(RunPlan, SettingsCanBeFoundAnewAtEachBudget) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3]}}\n",
                                           "budgets: [0.5, 2]\ntune: {at: each_budget}\n"));
  // The longer the run, the lower its best rate.
  const RunPlan plan = play(c, [](const PlannedRun& run) { return bowl(run.setting[0], 2e-3 / run.budget); });
  ASSERT_EQ(plan.tuned.size(), 2U);
  EXPECT_EQ(plan.tuned[0].budget, 0.5);
  EXPECT_EQ(plan.tuned[0].axes[0].second, 4e-3);
  EXPECT_EQ(plan.tuned[1].budget, 2.0);
  EXPECT_EQ(plan.tuned[1].axes[0].second, 1e-3);
  for (const PlannedRun& run : plan.runs) {
    EXPECT_TRUE(run.stage == Stage::tune || run.setting[0] == 2e-3 / run.budget);
  }
  EXPECT_ANY_THROW(folder.read(comparison_of("  a: {}\n", "tune: {at: never}\n")));

  // While one budget is reported, another is still searched.
  const auto finished = [](const PlannedRun& run) -> std::optional<FinishedRun> {
    if (run.budget == 2.0) return std::nullopt;
    return FinishedRun{.loss = bowl(run.setting[0], 2e-3)};
  };
  const RunPlan half = plan_runs(c, finished);
  EXPECT_TRUE(half.searching);
  EXPECT_FALSE(half.complete);
  EXPECT_TRUE(std::ranges::any_of(half.runs, [](const PlannedRun& run) { return run.stage == Stage::report; }));
  EXPECT_FALSE(plan.searching);
}

TEST(Search, ARefinementOfOneAxisDoesNotOpenTheOthers) {
  const std::vector<Axis> axes = {{"lr", {1.0, 2.0, 4.0}}, {"decay", {0.0, 0.2, 0.4}}};
  std::vector<Trial> trials = {{{1.0, 0.2}, 1.3}, {{2.0, 0.2}, 1.0}, {{4.0, 0.2}, 1.3},
                               {{2.0, 0.1}, 1.2}, {{2.0, 0.4}, 1.2}, {{2.83, 0.2}, 0.9}};
  EXPECT_TRUE(open_axes(axes, trials, best_of(trials)).empty());
  trials.push_back({{8.0, 0.2}, 0.5});  // two octaves from where the decay was swept
  EXPECT_EQ(open_axes(axes, trials, best_of(trials)), (std::vector<std::string>{"lr", "decay"}));
  trials.back() = {{2.83, 0.0}, 0.8};  // nothing is below zero, and above it are worse ones
  trials.push_back({{2.0, 0.0}, 0.85});
  trials.push_back({{4.0, 0.0}, 0.85});
  EXPECT_TRUE(open_axes(axes, trials, best_of(trials)).empty());
}

TEST(RunPlan, VariantsThatNeededFewerTrialsSpendTheRestAroundTheirBest) {
  const Folder folder;
  Comparison c =
      folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3]}}\n"
                                "  b: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3], weight_decay: [0.05, 0.1, 0.2]}}\n"
                                "  fixed: {optimizer: {lr: 1.0e-3}}\n",
                                "tune: {max_trials: 20, seeds: 2}\n"));
  const RunPlan plan = play(c, [](const PlannedRun& run) {
    double loss = 1.0;
    if (!run.setting.empty()) loss += bowl(run.setting[0], run.variant == 0 ? 2.8e-3 : 8e-3);
    if (run.setting.size() > 1) loss += bowl(run.setting[1], 0.4);
    return loss + 0.001 * static_cast<double>(run.seed);
  });
  EXPECT_GT(plan.tuned[1].trials, 6);
  EXPECT_EQ(plan.tuned[0].trials, plan.tuned[1].trials);
  EXPECT_EQ(plan.tuned[2].trials, 1);
  EXPECT_NEAR(plan.tuned[0].axes[0].second / 2.8e-3, 1.0, 0.06);  // the refinement got nearer than the grid
  for (const Tuned& tuned : plan.tuned) {
    const auto tune_runs = std::ranges::count_if(
        plan.runs, [&](const PlannedRun& run) { return run.variant == tuned.variant && run.stage == Stage::tune; });
    EXPECT_EQ(tune_runs, 2 * tuned.trials + (tuned.trials > 1 ? 3 * 2 : 0)) << "and two more of three finalists";
  }
}

TEST(RunPlan, AVariantThatFailsWhileTunedIsGivenUpAfterOneRun) {
  const Folder folder;
  Comparison c = folder.read(comparison_of(
      "  a: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3]}}\n  b: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3]}}\n"));
  const auto loss = [](const PlannedRun& run) {
    return run.variant == 1 ? std::numeric_limits<double>::quiet_NaN() : bowl(run.setting[0], 2e-3);
  };
  for (const std::size_t batch : {1, 4}) {
    const RunPlan plan = play(c, loss, batch);
    EXPECT_EQ(std::ranges::count(plan.runs, 1u, &PlannedRun::variant), 1) << batch;
    ASSERT_EQ(plan.tuned.size(), 1u);
    EXPECT_EQ(plan.tuned[0].variant, 0u);
    EXPECT_EQ(std::ranges::count(plan.runs, Stage::report, &PlannedRun::stage), c.options().report.seeds);
  }
}

TEST(RunPlan, ReportsEveryVariantOnTheSameFreshSeedsAndEveryBudget) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3]}}\n  b: {}\n",
                                           "budgets: [1, 2]\nreport: {seeds: 3}\ntune: {seeds: 2}\n"));
  const RunPlan plan =
      play(c, [](const PlannedRun& run) { return run.setting.empty() ? 1.0 : bowl(run.setting[0], 1e-3); });
  std::set<std::int64_t> tune, report;
  std::map<std::pair<double, std::int64_t>, std::vector<std::size_t>> variants;
  for (const PlannedRun& run : plan.runs) {
    (run.stage == Stage::tune ? tune : report).insert(run.seed);
    if (run.stage == Stage::report) variants[{run.budget, run.seed}].push_back(run.variant);
  }
  EXPECT_EQ(report.size(), 3u);
  for (const std::int64_t seed : tune) EXPECT_FALSE(report.contains(seed));
  EXPECT_EQ(variants.size(), 6u);
  for (const auto& [cell, who] : variants) EXPECT_EQ(who, (std::vector<std::size_t>{0, 1}));
}

TEST(RunPlan, StudiesTuneAnewWithSeedsOfTheirOwn) {
  const Folder folder;
  const auto read = [&](const std::string& more) {
    return folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3]}}\n  b: {}\n",
                                     "tune: {studies: 3, seeds: 2, final_seeds: 4}\nreport: {seeds: 2}\n" + more));
  };
  const auto loss = [](const PlannedRun& run) {  // the best rate is another one in every study
    return run.setting.empty() ? 1.0 : bowl(run.setting[0], 1e-3 * std::exp2(static_cast<double>(run.study)));
  };
  Comparison c = read("");
  const RunPlan plan = play(c, loss);
  std::map<std::int64_t, std::set<std::pair<std::size_t, Stage>>> users;  // of a seed
  for (const PlannedRun& run : plan.runs) users[run.seed].insert({run.study, run.stage});
  EXPECT_EQ(users.size(), 3u * (2 + 4 + 2));
  for (const auto& [seed, of_seed] : users) EXPECT_EQ(of_seed.size(), 1u) << seed;
  ASSERT_EQ(plan.tuned.size(), 6u);
  for (const Tuned& tuned : plan.tuned) {
    if (tuned.variant == 1) continue;
    EXPECT_EQ(tuned.axes[0].second, 1e-3 * std::exp2(static_cast<double>(tuned.study)));
  }
  for (const PlannedRun& run : plan.runs) {
    const bool chosen = run.setting.empty() || loss(run) == 0.0;
    EXPECT_TRUE(run.stage == Stage::tune || chosen) << run.study;
  }

  Comparison moved = read("seeds: {first: 77001}\n");
  const RunPlan repeated = play(moved, loss);
  ASSERT_EQ(repeated.runs.size(), plan.runs.size());
  for (std::size_t i = 0; i < plan.runs.size(); ++i) EXPECT_EQ(repeated.runs[i].seed, plan.runs[i].seed + 77000);
}

TEST(RunPlan, ABaselineAgainstItselfIsTunedWithOtherSeedsAndReportedOnTheSame) {
  const Folder folder;
  folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3]}}\n  b: {}\n", "tune: {studies: 2}\n"));
  Comparison c(folder / "c.yaml", {}, cores, Entrants::baseline_alone);
  ASSERT_EQ(c.variants(), 4u);
  EXPECT_EQ(c.variant_name(2), "a 3");
  const RunPlan plan = play(c, [](const PlannedRun& run) { return bowl(run.setting[0], 2e-3); });
  std::map<std::int64_t, std::set<std::size_t>> tuning, report;  // variants by seed
  for (const PlannedRun& run : plan.runs) (run.stage == Stage::tune ? tuning : report)[run.seed].insert(run.variant);
  for (const auto& [seed, variants] : tuning) {
    EXPECT_EQ(variants.size(), 1u) << seed;
    EXPECT_FALSE(report.contains(seed));
  }
  for (const auto& [seed, variants] : report) EXPECT_EQ(variants.size(), 4u) << seed;
}

TEST(RunPlan, FinalistsAreChosenByAllOfTheirSeeds) {
  const Folder folder;
  Comparison c = folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3]}}\n"));
  const std::int64_t first = c.tuning_seeds(0, 0).front();
  const auto loss = [&](const PlannedRun& run) {  // the first seed is lucky at 1e-3
    const double rate = run.setting[0];
    return rate == 1e-3 && run.seed == first ? -0.1 : bowl(rate, 2e-3);
  };
  EXPECT_EQ(play(c, loss).tuned[0].axes[0].second, 2e-3);
  Comparison at_once =
      folder.read(comparison_of("  a: {optimizer: {lr: [1.0e-3, 2.0e-3, 4.0e-3]}}\n", "tune: {final_seeds: 0}\n"));
  EXPECT_EQ(play(at_once, loss).tuned[0].axes[0].second, 1e-3);
}

TEST(Comparison, VariantsAreAlikeButForWhatTheyDeclare) {
  const Folder folder;
  for (const auto& [variant, difference] : std::initializer_list<std::pair<const char*, const char*>>{
           {"{model: {bias: true}}", "model.bias: false -> true"},
           {"{train: {batch: 8}}", "train.batch: 4 -> 8"},
           {"{train: {batch: [2, 4]}}", "train.batch, which is swept"},
           {"{train: {eval_batches: 3}}", "train.eval_batches: "},
           {"{data: {symbols: 5}}", "data.symbols: 6 -> 5"},
           {"{unlike: [model.bias], model: {bias: true, norm: rmsnorm}}", "model.norm.kind: "},
           {"{unlike: [train], train: {eval_batches: 3}}", "train.eval_batches: "},
           {"{unlike: [model.bia], model: {bias: true}}", "model.bias: "}}) {
    const std::string message = folder.refused(comparison_of(fmt::format("  a: {{}}\n  b: {}\n", variant)));
    EXPECT_HAS(message, "variants.b: ");
    EXPECT_HAS(message, difference);
  }
  for (const char* key : {"data", "data.symbols", "train.seed", "train.eval_batches", "model.context"}) {
    EXPECT_HAS(folder.refused(comparison_of(fmt::format("  a: {{}}\n  b: {{unlike: [{}]}}\n", key))), "unlike: ");
  }
  EXPECT_HAS(folder.refused(comparison_of("  a: {}\n  b: {train: {seed: 4}}\n")), "train.seed");
  EXPECT_HAS(folder.refused(comparison_of("  a: {}\n", "budgets: [1.0e+18]\n")), "budgets.0: ");

  const Comparison c = folder.read(
      comparison_of("  a: {}\n  b: {unlike: [model, train.batch], model: {bias: true}, train: {batch: [2, 4]}}\n"));
  EXPECT_TRUE(c.unlike(0).empty());
  EXPECT_EQ(c.unlike(1), (std::vector<std::string>{"model.bias: false -> true", "train.batch: 4 -> 2"}));
}

TEST(RunPlan, IsTheSameWhateverFinishesFirst) {
  const Folder folder;
  Comparison c = folder.read(comparison_of(
      "  a: {optimizer: {lr: [1.0e-3, 2.0e-3], weight_decay: [0.1, 0.2]}}\n  b: {optimizer: {lr: [0.1]}}\n"));
  const auto loss = [](const PlannedRun& run) {
    std::mt19937_64 noise(static_cast<std::uint64_t>(run.seed));
    return bowl(run.setting[0], 3e-2) + 1e-3 * static_cast<double>(noise() % 100);
  };
  const RunPlan one = play(c, loss), many = play(c, loss, 7);
  EXPECT_EQ(one.runs, many.runs);
  // A comparison that stopped after ten runs and is started again.
  std::map<PlannedRun, double> finished;
  for (std::size_t i = 0; i < 10; ++i) finished[one.runs[i]] = loss(one.runs[i]);
  EXPECT_EQ(play(c, loss, 3, finished).runs, one.runs);
  EXPECT_EQ(std::set<PlannedRun>(one.runs.begin(), one.runs.end()).size(), one.runs.size());
}

}  // namespace
}  // namespace monge::compare
