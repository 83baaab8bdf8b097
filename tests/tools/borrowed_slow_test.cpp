// `monge compare` with runs that another program made: real runs, whose program is changed in results.json.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>
#include <thread>

#include "support/expect_error.h"
#include "support/program.h"
#include "tools/compare/runs/runs.h"

namespace monge {
namespace {

using compare::Results;

namespace fs = std::filesystem;

constexpr const char* older = "Monge 0, numerics 0";

class BorrowedTest : public testing::Test {
 protected:
  void SetUp() override {
    program.write_config();
    test::write_file(program / "c.yaml",
                     "baseline: adamw\nworkloads: [{config: config.yaml, name: tiny}]\n"
                     "base: {train: {steps: 60}}  # more than a forecast takes\nvariants:\n"
                     "  adamw: {optimizer: {name: adamw, lr: [1.0e-2, 2.0e-2]}}\n"
                     "  sgd: {optimizer: {name: sgd, clip_norm: 0, lr: [0.1, 0.2]}}\n"
                     "tune: {max_trials: 4}\nreport: {seeds: 2}\njobs: 2\n");
    ASSERT_EQ(program.run("compare c.yaml --out own").code, 0);
  }

  Results results(const std::string& out) const { return compare::read_results(program / (out + "/results.json")); }

  /// What `monge compare` made into `own`, as if another program had: `change` is what it computes otherwise.
  void lend(const std::function<void(std::vector<compare::Run>&)>& change = [](auto&) {}) const {
    Results r = results("own");
    r.build = fmt::format("{}, program 1", older);
    for (compare::Run& run : r.runs) {
      run.made_by = older;
      run.hash = compare::Runs::hash(run.config, older);
    }
    change(r.runs);
    compare::write_results(r, program / "lent.json");
  }

  /// Hashes of the runs that were made in a folder.
  std::set<std::string> made(const std::string& out) const {
    std::set<std::string> found;
    std::error_code none_yet;
    for (const auto& entry : fs::directory_iterator(program / (out + "/runs"), none_yet)) {
      if (fs::exists(entry.path() / "summary.json")) found.insert(entry.path().filename());
    }
    return found;
  }

  test::Program program;
};

std::size_t made_by(const Results& results, const std::string& who) {
  return static_cast<std::size_t>(std::ranges::count(results.runs, who, &compare::Run::made_by));
}

void expect_same_losses(const Results& one, const Results& other) {
  ASSERT_EQ(one.runs.size(), other.runs.size());
  for (std::size_t i = 0; i < one.runs.size(); ++i) {
    EXPECT_EQ(one.runs[i].final_loss, other.runs[i].final_loss);
    EXPECT_EQ(one.runs[i].config, other.runs[i].config);
  }
}

TEST_F(BorrowedTest, OneWitnessForEachVariant) {
  lend();
  const test::Result first = program.run("compare c.yaml --out out --carry lent.json");
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.err, "");
  EXPECT_HAS(first.out, ", by another program\n");
  EXPECT_EQ(made("out").size(), 2u);
  const Results r = results("out"), own = results("own");
  EXPECT_TRUE(r.complete);
  expect_same_losses(r, own);
  EXPECT_EQ(made_by(r, older), r.runs.size() - 2);
  ASSERT_EQ(r.verdicts.size(), 2u);
  for (const compare::Verdict& verdict : r.verdicts) EXPECT_EQ(verdict.made_again, 1u);
  for (const char* file : {"out/report.md", "out/report.html"}) {
    const std::string text = test::read_file(program / file);
    EXPECT_HAS(text, fmt::format("Borrowed: {} of the {} runs here, made by Monge 0, numerics 0.", r.runs.size() - 2,
                                 r.runs.size()));
    EXPECT_HAS(text, "2 runs made again by this program (adamw on tiny and sgd on tiny) came out the same");
  }

  // The same command, with or without the other's results, makes nothing more and writes the same.
  const std::string json = test::read_file(program / "out/results.json");
  for (const char* again : {"compare c.yaml --out out --carry lent.json", "compare c.yaml --out out"}) {
    ASSERT_EQ(program.run(again).code, 0);
    EXPECT_EQ(made("out").size(), 2u) << again;
    EXPECT_EQ(test::read_file(program / "out/results.json"), json) << again;
  }
  // So does the results file alone.
  ASSERT_EQ(program.run("compare c.yaml --out next --carry out").code, 0);
  EXPECT_TRUE(made("next").empty());
  EXPECT_EQ(made_by(results("next"), older), made_by(r, older));
}

TEST_F(BorrowedTest, WhatComesOutOtherwiseIsMadeAnew) {
  lend([](std::vector<compare::Run>& runs) {
    double& loss = std::ranges::find(runs, std::size_t{1}, &compare::Run::variant)->points.front().val_loss;
    loss = std::nextafter(loss, 9.0);
  });
  ASSERT_EQ(program.run("compare c.yaml --out out --carry lent.json").code, 0);
  const Results r = results("out"), own = results("own");
  expect_same_losses(r, own);
  std::set<std::string> of_sgd;
  for (const compare::Run& run : r.runs) {
    if (run.variant == 1) {
      EXPECT_NE(run.made_by, older);
      of_sgd.insert(run.hash);
    }
  }
  EXPECT_EQ(made("out").size(), of_sgd.size() + 1);
  EXPECT_HAS(test::read_file(program / "out/report.md"),
             fmt::format("Refused: {} runs of sgd on tiny, made by Monge 0, numerics 0. Of {} made again by this "
                         "program, 1 came out otherwise",
                         of_sgd.size(), of_sgd.size()));
}

TEST_F(BorrowedTest, AStopDoesNotMakeMoreWitnesses) {
  lend();
  const std::string command = "compare c.yaml jobs=1 --out out --carry lent.json";
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execl("/bin/sh", "sh", "-c", program.command(command).c_str(), nullptr);
    ::_exit(127);
  }
  for (int i = 0; i < 6000 && made("out").empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  EXPECT_GE(made("out").size(), 1u);
  ASSERT_EQ(program.run(command).code, 0);
  EXPECT_EQ(made("out").size(), 2u);
  expect_same_losses(results("out"), results("own"));
}

// A newer program in the folder of an older one: what it has not judged yet is not lost when results.json is written.
TEST_F(BorrowedTest, TheFolderOfAnotherProgramGoesOn) {
  lend();
  fs::create_directory(program / "mine");
  fs::copy(program / "lent.json", program / "mine/results.json");
  ASSERT_EQ(program.run("compare c.yaml --out mine --plan").code, 0);
  EXPECT_TRUE(results("mine").runs.empty());
  ASSERT_EQ(program.run("compare c.yaml --out mine").code, 0);
  EXPECT_EQ(made("mine").size(), 2u);
  expect_same_losses(results("mine"), results("own"));
}

TEST_F(BorrowedTest, AreNotToBeMadeInPlansAndForecasts) {
  lend();
  const test::Result forecast = program.run("compare c.yaml --out out --forecast --carry lent.json");
  ASSERT_EQ(forecast.code, 0) << forecast.err;
  const std::string squeezed = std::regex_replace(forecast.out, std::regex("  +"), "  ");
  for (const char* line : {"adamw  1  ", "sgd  1  ", "all  2  "}) EXPECT_HAS(squeezed, line);

  const test::Result plan = program.run("compare c.yaml --out planned --plan --carry lent.json");
  ASSERT_EQ(plan.code, 0) << plan.err;
  EXPECT_EQ(std::ranges::count(plan.out, '\n'), 2) << plan.out;
  std::istringstream lines(plan.out);
  for (std::string line; std::getline(lines, line);) ASSERT_EQ(std::system((line + " > /dev/null 2>&1").c_str()), 0);
  const test::Result done = program.run("compare c.yaml --out planned --plan --carry lent.json");
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "");
  EXPECT_TRUE(results("planned").complete);
}

}  // namespace
}  // namespace monge
