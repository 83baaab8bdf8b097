// What a report warns of: each fault alone, and silence without one.
#include "tools/compare/report/lints.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/made_up_results.h"

namespace monge::compare {
namespace {

/// A comparison on two workloads with nothing to say against it: ten seeds, differences beyond doubt.
Results fair() {
  Results results = test::planted({0.0, -0.5}, 10, 1);
  results.tune_seeds = {101, 102};
  results.workloads.push_back({.name = "x", .optimum = 0.5, .target = 3.0});
  const std::vector<Run> runs = results.runs;
  for (Run run : runs) {
    run.workload = 1;
    results.runs.push_back(run);
  }
  for (std::size_t variant = 0; variant < 2; ++variant) {
    for (std::size_t workload = 0; workload < 2; ++workload) {
      results.tuned.push_back({.variant = variant, .workload = workload, .trials = 9});
    }
  }
  return results;
}

std::vector<Lint> lints_of(const Results& results) { return find_lints(results, analyse(results)); }

/// Exactly one lint, of this severity, with this in its text.
void expect_only(const Results& results, Severity severity, const std::string& part) {
  const std::vector<Lint> lints = lints_of(results);
  ASSERT_EQ(lints.size(), 1u) << (lints.empty() ? part : lints.back().text);
  EXPECT_EQ(lints.front().severity, severity) << lints.front().text;
  EXPECT_NE(lints.front().text.find(part), std::string::npos) << lints.front().text;
}

void expect_one_among(const Results& results, Severity severity, const std::string& part) {
  const std::vector<Lint> lints = lints_of(results);
  EXPECT_EQ(std::ranges::count_if(
                lints, [&](const Lint& l) { return l.severity == severity && l.text.find(part) != std::string::npos; }),
            1)
      << part;
  EXPECT_TRUE(std::ranges::is_sorted(lints, {}, &Lint::severity));
}

TEST(Lints, AFairComparisonHasNone) {
  for (const Lint& lint : lints_of(fair())) ADD_FAILURE() << lint.text;
}

TEST(Lints, OfThePlan) {
  Results results = fair();
  results.complete = false;
  expect_only(results, Severity::error, "not finished");

  results = fair();
  results.tune_seeds = {3, 101};
  expect_only(results, Severity::error, "on seed 3 that is also reported");

  results = fair();
  results.workloads[1].target_fixed_before = false;
  expect_only(results, Severity::warning, "target of x was chosen after");

  results = fair();
  results.workloads[1].target = 1.0;
  expect_only(results, Severity::warning, "No run reached the target of x");

  results = fair();
  results.workloads[1].optimum = 1.9;
  expect_only(results, Severity::error, "v1 on x has a loss below the best possible, 1.9000");
}

TEST(Lints, OfTuning) {
  Results results = fair();
  results.tuned[3].on_edge = {"optimizer.lr", "optimizer.weight_decay"};
  expect_only(results, Severity::error,
              "v1, best at the edge of what was tried: optimizer.lr on x and optimizer.weight_decay on x. Better");
  results.in_boxes = true;  // which may be chance
  expect_only(results, Severity::warning, "Widen the box there.");

  results.in_boxes = false;
  results.studies = 5;  // key by key; a warning where it is so in the minority of studies
  results.tuned[2].on_edge = {"optimizer.lr"};
  for (std::size_t study = 1; study < 3; ++study) {
    results.tuned.push_back(results.tuned[2]);
    results.tuned.back().study = study;
  }
  expect_one_among(results, Severity::error, "tried: optimizer.lr on w (3 of 5 studies). Better");
  expect_one_among(results, Severity::warning,
                   "optimizer.lr on x (1 of 5 studies) and optimizer.weight_decay on x (1 of 5");

  results = fair();
  results.tuned[2].trials = 30;
  expect_only(results, Severity::warning, "On w the variants had unequal numbers of trials: 9 for v0, 30 for v1");

  results = fair();
  results.tuned[2].fixed = results.tuned[3].fixed = {"optimizer.groups.0.lr"};
  expect_only(results, Severity::warning, "optimizer.groups.0.lr of v1 was given, not tuned, on w and x");
}

TEST(Lints, OfRuns) {
  Results results = fair();
  results.runs[4].points.back().step = 60;
  expect_only(results, Severity::error, "1 run of v0 on w ended before step 100");
  results.variants[0].unlike = {"train.steps: 100 -> 60"};
  EXPECT_TRUE(lints_of(results).empty());
  results = fair();
  for (compare::Run& run : results.runs) {
    if (run.variant == 1) run.points.back().step = 150;
  }
  results.variants[1].unlike = {"train.steps: 100 -> 150"};
  EXPECT_TRUE(lints_of(results).empty());

  results = fair();
  results.runs[4].status = compare::Run::Status::failed;
  expect_one_among(results, Severity::error, "1 run of v0 on w failed");

  results = fair();
  results.runs.push_back({.variant = 1,
                          .workload = 1,
                          .status = compare::Run::Status::failed,
                          .message = "exit code 2: device cpu\nmonge: out of memory"});
  results.runs.push_back(results.runs.back());  // another seed: said once
  expect_only(results, Severity::error, "v1 failed on x during tuning, and was dropped there: monge: out of");

  results = fair();
  results.runs[13].status = compare::Run::Status::diverged;
  expect_one_among(results, Severity::warning, "1 of 10 runs of v1 on w diverged");

  results = fair();
  for (compare::Run& run : results.runs) run.passes_per_step = run.variant == 1 ? 2.0 : 1.0;
  expect_only(results, Severity::warning, "A step of v1 takes more than one forward-backward");

  results = fair();
  for (compare::Run& run : results.runs) {
    if (run.variant == 1 && run.workload == 0 && run.seed % 2 == 0) run.step_milliseconds *= 1.5;
  }
  expect_only(results, Severity::warning, "v1 on w (21.1%)");

  for (compare::Run& run : results.runs) run.own_cores = false;  // then no second is shown
  EXPECT_TRUE(lints_of(results).empty());

  results = fair();
  for (compare::Run& run : results.runs) {
    if (run.variant == 1 && run.workload == 1 && run.seed == 4) run.final_loss += 0.2;
  }
  expect_only(results, Severity::warning, "1 run of v1 on x out of line with the others, whose median is ");
  expect_only(results, Severity::warning, ": seed 4 (");

  results = fair();
  for (compare::Run& run : results.runs) {
    if (run.variant == 1 && run.workload == 1) run.batches = "others";
  }
  expect_only(results, Severity::warning, "v1 and v0 on x did not begin alike");

  results = fair();
  std::erase_if(results.runs, [](const compare::Run& run) { return run.variant == 1 && run.workload == 1; });
  expect_one_among(results, Severity::error, "v1 has no finished run on x");
  results.complete = false;  // then that is no news
  expect_only(results, Severity::error, "not finished");
}

TEST(Lints, OfPower) {
  Results results = test::planted({0.0, -0.5}, 6, 1);
  expect_only(results, Severity::note, "one workload");

  results = test::planted({0.0, 0.0}, 8, 1);
  expect_one_among(results, Severity::note, "w, not distinguishable from v0: v1 (seen ");

  results = test::planted({0.0, -0.5}, 1, 1);
  expect_one_among(results, Severity::error, "v0 has a single run");

  results = test::planted({0.0, -0.5}, 3, 1);
  results.studies = 3;
  for (compare::Run& run : results.runs) run.study = static_cast<std::size_t>(run.seed - 1);
  expect_one_among(results, Severity::note, "With 3 studies everything rests on Student's law");
}

TEST(Lints, OfTheChoiceOfSettings) {
  Results results = test::planted({0.0, -0.5}, 6, 1);
  results.tuned = {{.variant = 1, .workload = 0, .axes = {{"optimizer.lr", 0.1}}, .trials = 2}};
  for (const std::int64_t seed : {201, 202, 203}) {
    for (const double rate : {0.1, 0.2}) {
      compare::Run run{.variant = 1, .stage = Stage::tune, .seed = seed, .axes = {{"optimizer.lr", rate}}};
      run.final_loss = rate == 0.1 ? 2.0 : 2.0 + 0.1 * static_cast<double>(seed - 202) + 0.001;
      results.runs.push_back(run);
    }
  }
  expect_one_among(results, Severity::note,
                   "1 of the 1 settings chosen were chosen within noise, the runner-up not being distinguishable from "
                   "them: v1 on w.");
}

}  // namespace
}  // namespace monge::compare
