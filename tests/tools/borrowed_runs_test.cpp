// Runs that another program made: which of them count, and which are made again. No run is trained here: what programs
// made is read from made-up results.
#include "tools/compare/runs/borrowed_runs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <regex>

#include "core/options/yaml.h"
#include "support/temp_directory.h"
#include "tools/compare/runs/runs.h"
#include "train/config/config.h"

namespace monge::compare {
namespace {

constexpr const char *here = "Monge 2, numerics 2", *older = "Monge 1, numerics 1", *oldest = "Monge 0, numerics 0";

std::string config_of(std::int64_t seed) {
  train::Config config;
  read_yaml_text(fmt::format("data: {{kind: markov}}\ntrain: {{seed: {}}}", seed), "test", {}, config);
  return "# data.txt has checksum 0123\n" + write_yaml(config);
}

compare::Run run_of(const std::string& program, std::int64_t seed, std::size_t variant = 0) {
  compare::Run run{.variant = variant, .seed = seed, .made_by = program};
  const double loss = 1.0 / (1.0 + static_cast<double>(seed));
  run.points = {{.step = 10, .val_loss = 2.0 * loss}, {.step = 20, .val_loss = loss}};
  run.final_loss = loss;
  run.config = config_of(seed);
  run.hash = Runs::hash(run.config, program);
  return run;
}

/// What a program has gathered.
Results gathered(const std::string& program, std::vector<compare::Run> runs) {
  Results results{.variants = {{.name = "a"}, {.name = "b"}}, .workloads = {{.name = "w"}}};
  results.runs = std::move(runs);
  results.build = program + ", program 0123456789abcdef";
  return results;
}

class Borrowed : public testing::Test {
 protected:
  Runs program() const { return {directory_ / "runs", {.numerics = here}}; }
  test::TempDirectory directory_;
};

TEST_F(Borrowed, CountWhereTheirWitnessCameOutTheSame) {
  Runs runs = program();
  EXPECT_EQ(runs.carry(gathered(older, {run_of(older, 1), run_of(older, 2), run_of(older, 3)})).size(), 3u);
  EXPECT_FALSE(runs.waits(config_of(2))) << "the first that is asked for is the witness";
  EXPECT_TRUE(runs.waits(config_of(1)));
  EXPECT_TRUE(runs.waits(config_of(3)));
  EXPECT_FALSE(runs.waits(config_of(2))) << "and stays it";
  EXPECT_FALSE(runs.waits(config_of(4))) << "which nobody has made";
  EXPECT_EQ(runs.result(config_of(1)), nullptr);
  EXPECT_EQ(runs.expected(config_of(1))->final_loss, 0.5);
  EXPECT_TRUE(runs.verdicts().empty());

  runs.carry(gathered(here, {run_of(here, 2)}));
  EXPECT_EQ(runs.result(config_of(1))->final_loss, 0.5);
  EXPECT_EQ(runs.result(config_of(1))->made_by, older);
  EXPECT_EQ(runs.result(config_of(2))->made_by, here);
  EXPECT_NE(runs.result(config_of(3)), nullptr);
  EXPECT_FALSE(runs.waits(config_of(3)));
  const Verdict verdict = runs.verdicts().at(0);
  EXPECT_TRUE(verdict.believed());
  EXPECT_EQ(verdict.made_by, older);
  EXPECT_EQ(verdict.variant + verdict.workload, "aw");
  EXPECT_EQ(verdict.borrowed, 3u);
  EXPECT_EQ(verdict.made_again, 1u);
}

TEST_F(Borrowed, OneBitOfOneLossRefusesAll) {
  const std::function<void(compare::Run&)> faults[] = {
      [](compare::Run& run) { run.points[0].val_loss = std::nextafter(run.points[0].val_loss, 9.0); },
      [](compare::Run& run) { run.final_loss = std::nextafter(run.final_loss, 9.0); },
      [](compare::Run& run) { run.points.pop_back(); },
      [](compare::Run& run) { run.points[1].step = 21; },
      [](compare::Run& run) { run.status = compare::Run::Status::diverged; },
  };
  for (const auto& fault : faults) {
    for (const bool own_first : {false, true}) {
      Runs runs = program();
      compare::Run witness = run_of(here, 2);
      fault(witness);
      if (own_first) runs.carry(gathered(here, {witness}));
      runs.carry(gathered(older, {run_of(older, 1), run_of(older, 2), run_of(older, 3)}));
      if (!own_first) runs.carry(gathered(here, {witness}));
      for (const std::int64_t seed : {1, 3}) {
        EXPECT_EQ(runs.result(config_of(seed)), nullptr);
        EXPECT_EQ(runs.expected(config_of(seed)), nullptr);
        EXPECT_FALSE(runs.waits(config_of(seed))) << "it is made anew";
      }
      ASSERT_EQ(runs.verdicts().size(), 1u);
      EXPECT_FALSE(runs.verdicts()[0].believed());
      EXPECT_EQ(runs.verdicts()[0].different, 1u);
    }
  }
}

TEST_F(Borrowed, ProgramsAndVariantsAreJudgedEachForItself) {
  Runs runs = program();
  runs.carry(gathered(older, {run_of(older, 1), run_of(older, 2), run_of(oldest, 3), run_of(oldest, 4),
                              run_of(older, 5, 1), run_of(older, 6, 1)}));
  for (const std::int64_t witness : {1, 3, 5}) {
    EXPECT_FALSE(runs.waits(config_of(witness)));
    EXPECT_TRUE(runs.waits(config_of(witness + 1)));
  }
  compare::Run other = run_of(here, 3);
  other.points[0].val_loss += 1.0;
  runs.carry(gathered(here, {run_of(here, 1), other}));
  EXPECT_NE(runs.result(config_of(2)), nullptr);
  EXPECT_EQ(runs.result(config_of(4)), nullptr);
  EXPECT_FALSE(runs.waits(config_of(4)));
  EXPECT_TRUE(runs.waits(config_of(6))) << "its witness has not ended";
  const std::vector<Verdict> verdicts = runs.verdicts();
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_EQ(verdicts[0].made_by, oldest);
  EXPECT_FALSE(verdicts[0].believed());
  EXPECT_TRUE(verdicts[1].believed());
}

TEST_F(Borrowed, TheSameRunOfTwoProgramsWaitsForOneWitness) {
  Runs runs = program();
  runs.carry(gathered(older, {run_of(older, 1), run_of(older, 2)}));
  runs.carry(gathered(oldest, {run_of(oldest, 1), run_of(oldest, 2)}));
  EXPECT_FALSE(runs.waits(config_of(1)));
  EXPECT_TRUE(runs.waits(config_of(2)));
  runs.carry(gathered(here, {run_of(here, 1)}));
  EXPECT_NE(runs.result(config_of(2)), nullptr);
  EXPECT_EQ(runs.verdicts().size(), 2u);
}

// The file that this program gathered holds what it believed, and no more the borrowed version of the witness.
TEST_F(Borrowed, WhatWasBelievedOnceIsNotAskedForAgain) {
  Results results = gathered(here, {run_of(here, 1), run_of(older, 2)});
  results.verdicts = {
      {.made_by = older, .variant = "a", .workload = "w", .borrowed = 2, .made_again = 1},
      {.made_by = oldest, .variant = "a", .workload = "w", .borrowed = 9, .made_again = 3, .different = 2}};
  const std::filesystem::path file = directory_ / "results.json";
  write_results(results, file);
  {
    Runs runs = program();
    EXPECT_EQ(runs.carry(read_results(file)).size(), 2u);
    EXPECT_EQ(runs.result(config_of(2))->made_by, older);
    ASSERT_EQ(runs.verdicts().size(), 2u);
    EXPECT_EQ(runs.verdicts()[0].borrowed, 9u);
    EXPECT_EQ(runs.verdicts()[0].different, 2u);
    EXPECT_TRUE(runs.verdicts()[1].believed());
    // It is no witness for what comes from the same program now.
    runs.carry(gathered(older, {run_of(older, 2), run_of(older, 3)}));
    EXPECT_EQ(runs.result(config_of(3)), nullptr);
    EXPECT_FALSE(runs.waits(config_of(3)));
  }
  // A third program believes neither before it has made a run of each again.
  Runs third(directory_ / "third", {.numerics = "Monge 3, numerics 3"});
  EXPECT_EQ(third.carry(read_results(file)).size(), 2u);
  for (const std::int64_t seed : {1, 2}) {
    EXPECT_EQ(third.result(config_of(seed)), nullptr);
    EXPECT_FALSE(third.waits(config_of(seed)));
  }
  EXPECT_TRUE(third.verdicts().empty());
}

TEST_F(Borrowed, SettingsThatAreNewHereHaveTheirDefaults) {
  const std::string without = std::regex_replace(config_of(1), std::regex("  patience:.*\n"), "");
  ASSERT_NE(without, config_of(1));
  compare::Run run = run_of(older, 1);
  run.config = without;
  run.hash = Runs::hash(without, older);
  Runs runs = program();
  runs.carry(gathered(older, {run, run_of(older, 2)}));
  EXPECT_FALSE(runs.waits(config_of(2)));
  EXPECT_TRUE(runs.waits(config_of(1)));
}

TEST_F(Borrowed, WhatCannotBeJudgedIsNotTaken) {
  compare::Run failed = run_of(older, 1), changed = run_of(older, 2), short_run = run_of(older, 3), unknown = failed;
  failed.status = compare::Run::Status::failed;
  changed.config += "\n";
  short_run.points.clear();
  unknown.config += "no_such_key: 1\n";
  unknown.hash = Runs::hash(unknown.config, older);
  Runs runs = program();
  EXPECT_TRUE(runs.carry(gathered(older, {failed, changed, short_run, unknown})).empty());
}

// A witness that was chosen and is no more asked for must not keep the others waiting.
TEST(BorrowedRuns, AWitnessThatDoesNotRunIsChosenAnew) {
  BorrowedRuns borrowed;
  for (const char* hash : {"1", "2"}) borrowed.add({"p", "a", "w"}, hash, {.points = {{.step = 1}}});
  EXPECT_FALSE(borrowed.waits("1"));
  borrowed.release_witnesses([](const std::string& hash) { return hash == "1"; });
  EXPECT_TRUE(borrowed.waits("2"));
  borrowed.release_witnesses([](const std::string&) { return false; });
  EXPECT_FALSE(borrowed.waits("2"));
}

}  // namespace
}  // namespace monge::compare
