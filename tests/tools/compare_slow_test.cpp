// `monge compare` with real runs: what is finished is never run again, whatever stops it, and the results are those of
// a comparison that nothing stopped.
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <thread>

#include "support/expect_error.h"
#include "support/program.h"
#include "tools/compare/runs/own_cores.h"
#include "tools/compare/runs/results.h"
#include "train/folder/folder_lock.h"

namespace monge {
namespace {

using compare::Results;
using Status = compare::Run::Status;
using compare::Stage;
using test::Program;
using test::write_file;

namespace fs = std::filesystem;

class CompareTest : public testing::Test {
 protected:
  void SetUp() override {
    program.write_config();
    write_comparison("300");
  }

  void write_comparison(const std::string& steps) const {
    write_file(program / "c.yaml",
               "baseline: adamw\nworkloads: [{config: config.yaml, name: tiny}]\n"
               "base: {train: {steps: " +
                   steps +
                   "}}\n"
                   "variants:\n"
                   "  adamw: {optimizer: {name: adamw, lr: [1.0e-2, 2.0e-2]}}\n"
                   "  sgd: {optimizer: {name: sgd, clip_norm: 0, lr: [0.1, 1.0e+6]}}\n"
                   "tune: {max_trials: 4}\nreport: {seeds: 2}\njobs: 2\n");
  }

  Results results(const std::string& out) const { return compare::read_results(program / (out + "/results.json")); }

  /// Summaries of finished runs, and the time each was written at.
  std::map<std::string, std::pair<ino_t, std::int64_t>> finished(const std::string& out) const {
    std::map<std::string, std::pair<ino_t, std::int64_t>> found;
    std::error_code none_yet;
    for (const auto& entry : fs::directory_iterator(program / (out + "/runs"), none_yet)) {
      struct stat info {};
      if (::stat((entry.path() / "summary.json").c_str(), &info) != 0) continue;
      found[entry.path().filename()] = {info.st_ino, info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
    }
    return found;
  }

  /// Hashes of the runs that were started, whatever became of them.
  std::set<std::string> started(const std::string& out) const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(program / (out + "/runs"))) {
      if (entry.path().extension() == ".yaml") found.insert(entry.path().stem());
    }
    return found;
  }

  /// Starts the program and does not wait.
  pid_t start(const std::string& arguments) const {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::execl("/bin/sh", "sh", "-c", program.command(arguments).c_str(), nullptr);
      ::_exit(127);
    }
    return pid;
  }

  /// Starts the comparison, waits until `count` runs are finished, sends the signal and returns how it ended.
  int stop_after(const std::string& out, std::size_t count, int signal) const {
    const pid_t pid = start("compare c.yaml --out " + out);
    for (int i = 0; i < 6000 && finished(out).size() < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_GE(finished(out).size(), count);
    ::kill(pid, signal);
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  /// Nothing that was finished has been written again.
  void expect_kept(const std::map<std::string, std::pair<ino_t, std::int64_t>>& before, const std::string& out) const {
    const auto after = finished(out);
    for (const auto& [name, written] : before) {
      ASSERT_TRUE(after.contains(name)) << name;
      EXPECT_EQ(after.at(name), written) << name;
    }
  }

  /// Makes the runs that --plan prints, until it prints none; returns what it said the last time.
  test::Result make_planned(const std::string& comparison, const std::string& out) const {
    for (int rounds = 0; rounds < 20; ++rounds) {
      const test::Result planned = program.run(fmt::format("compare {} --out \"{}\" --plan", comparison, out));
      EXPECT_TRUE(planned.code == 0 || (planned.code == 3 && planned.out.empty())) << planned.err;
      if (planned.out.empty()) return planned;
      std::istringstream lines(planned.out);
      for (std::string line; std::getline(lines, line);) {
        const int end = std::system((line + " > /dev/null 2>&1").c_str());
        EXPECT_TRUE(WIFEXITED(end) && WEXITSTATUS(end) <= 3) << line;
      }
    }
    ADD_FAILURE() << "the plan has no end";
    return {};
  }

  Program program;
};

/// Without what the clock says, and whether it may be believed.
Results timeless(Results results) {
  for (compare::Run& run : results.runs) {
    run.step_milliseconds = 0.0;
    run.own_cores = false;
    for (compare::Point& point : run.points) point.seconds = 0.0;
  }
  return results;
}

std::string text_of(const Results& results, const fs::path& scratch) {
  compare::write_results(timeless(results), scratch);
  return test::read_file(scratch);
}

TEST_F(CompareTest, KilledAndInterruptedComparisonsEndLikeOneThatWasNot) {
  ASSERT_EQ(program.run("compare c.yaml --out whole").code, 0);
  const std::string whole = text_of(results("whole"), program / "scratch");

  EXPECT_EQ(stop_after("parts", 2, SIGKILL), 128 + SIGKILL);
  auto before = finished("parts");
  EXPECT_EQ(stop_after("parts", before.size() + 2, SIGINT), 130);
  expect_kept(before, "parts");
  const Results interrupted = results("parts");
  EXPECT_FALSE(interrupted.complete);
  EXPECT_FALSE(interrupted.runs.empty());

  before = finished("parts");
  const test::Result last = program.run("compare c.yaml --out parts");
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_HAS(last.out, fmt::format("{} runs were finished earlier", before.size()));
  expect_kept(before, "parts");
  const Results continued = results("parts");
  EXPECT_EQ(text_of(continued, program / "scratch"), whole);
  // What was finished before keeps its times as well.
  for (const compare::Run& run : interrupted.runs) {
    const auto same = std::ranges::find(continued.runs, run.hash, &compare::Run::hash);
    ASSERT_NE(same, continued.runs.end()) << run.hash;
    EXPECT_EQ(same->step_milliseconds, run.step_milliseconds);
    EXPECT_TRUE(std::ranges::equal(same->points, run.points, {}, &compare::Point::seconds, &compare::Point::seconds));
  }

  // Once complete, it is repeated to the byte.
  before = finished("parts");
  const std::vector<const char*> files{"results.json", "report.html", "report.md", "results.csv"};
  std::map<std::string, std::string> contents;
  for (const char* file : files) contents[file] = test::read_file(program / "parts" / file);
  ASSERT_EQ(program.run("compare c.yaml --out parts").code, 0);
  EXPECT_EQ(finished("parts"), before);
  for (const char* file : files) EXPECT_TRUE(test::read_file(program / "parts" / file) == contents[file]) << file;
}

// One machine makes some runs and is killed on the way, another makes others at the same time; gathered, they are the
// comparison of one.
TEST_F(CompareTest, TwoMachinesEndLikeOne) {
  const std::string two_workloads =
      "'workloads=[{config: config.yaml, name: tiny}, {config: other.yaml, name: other}]'";
  write_file(program / "other.yaml",
             std::regex_replace(test::read_file(program / "config.yaml"), std::regex("symbols: 6"), "symbols: 5"));
  const std::string whole = "compare c.yaml " + two_workloads;
  ASSERT_EQ(program.run(whole + " --out whole").code, 0);

  const pid_t second = start("compare c.yaml 'workloads=[{config: other.yaml, name: other}]' --out second");
  for (int kills = 0; kills < 2; ++kills) {
    const auto before = finished("first");
    EXPECT_EQ(stop_after("first", before.size() + 2, SIGKILL), 128 + SIGKILL);
    expect_kept(before, "first");
    EXPECT_LE(started("first").size(), finished("first").size() + 2) << "lost: the runs under way, of two jobs";
  }
  const auto before = finished("first");
  ASSERT_EQ(program.run("compare c.yaml --out first").code, 0);
  expect_kept(before, "first");
  int status = 0;
  ::waitpid(second, &status, 0);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);

  const test::Result gathered =
      program.run(whole + " --out gathered --carry first/results.json --carry second/results.json");
  ASSERT_EQ(gathered.code, 0) << gathered.err;
  EXPECT_TRUE(finished("gathered").empty()) << "nothing was left to run";
  EXPECT_EQ(text_of(results("gathered"), program / "scratch"), text_of(results("whole"), program / "scratch"));
}

TEST_F(CompareTest, AKilledComparisonLeavesNoRunBehind) {
  write_comparison("1000000");
  const pid_t pid = start("compare c.yaml --out long");
  const auto sizes = [&] {
    std::map<std::string, std::uintmax_t> out;
    std::error_code none_yet;
    for (const auto& entry : fs::directory_iterator(program / "long/runs", none_yet)) {
      const fs::path metrics = entry.path() / "metrics.jsonl";
      if (fs::exists(metrics, none_yet)) out[entry.path()] = fs::file_size(metrics, none_yet);
    }
    return out;
  };
  for (int i = 0; i < 1000 && sizes().size() < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_EQ(sizes().size(), 2u) << "two jobs";
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto left = sizes();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(sizes(), left) << "a run still trains";
}

TEST_F(CompareTest, ResultsHoldWhatTheRunsDid) {
  ASSERT_EQ(program.run("compare c.yaml --out out").code, 0);
  const Results r = results("out");
  EXPECT_TRUE(r.complete);
  std::size_t diverged = 0;
  for (const compare::Run& run : r.runs) {
    if (run.status == Status::diverged) {
      ++diverged;
      EXPECT_EQ(run.variant, 1u);
      EXPECT_TRUE(std::isinf(run.final_loss));
      EXPECT_NE(run.message, "");
      continue;
    }
    EXPECT_EQ(run.status, Status::done) << run.message;
    ASSERT_EQ(run.points.size(), 30u);
    EXPECT_EQ(run.points.back().step, 300);
    EXPECT_EQ(run.points.back().val_loss, run.final_loss);
    EXPECT_EQ(run.points.back().forward_backwards, 300.0);
    EXPECT_GT(run.points.front().seconds, 0.0);
    EXPECT_GT(run.points.back().seconds, run.points.front().seconds);
    EXPECT_GT(run.step_milliseconds, 0.0);
    EXPECT_LT(run.step_milliseconds, 1e3);
    EXPECT_FALSE(fs::exists(program / ("out/runs/" + run.hash + "/checkpoints")));
  }
  EXPECT_GE(diverged, 1u) << "a rate of a million";
  const compare::Workload& w = r.workloads.at(0);
  EXPECT_LT(w.optimum.value(), r.runs[0].final_loss);
  EXPECT_FALSE(w.target_fixed_before);
  EXPECT_GT(w.target.value(), *w.optimum);
  EXPECT_GT(r.runs[0].state_bytes, r.runs.back().state_bytes) << "AdamW keeps two moments, descent at most one";

  // A run of the report is the run that `monge train` makes of its configuration.
  const compare::Run& run = *std::ranges::find(r.runs, Stage::report, &compare::Run::stage);
  write_file(program / "again.yaml", run.config);
  ASSERT_EQ(program.run("train again.yaml --out again").code, 0);
  const std::string metrics = test::read_file(program / "again/metrics.jsonl");
  EXPECT_HAS(metrics, fmt::format("\"val_loss\":{}", run.final_loss));
}

TEST_F(CompareTest, ResultsAloneAreEnoughToGoOn) {
  write_comparison("20");
  ASSERT_EQ(program.run("compare c.yaml --out out").code, 0);
  const auto carry = [&] {
    fs::remove_all(program / "carried");
    fs::create_directory(program / "carried");
    fs::copy(program / "out/results.json", program / "carried/results.json");
  };
  carry();
  ASSERT_EQ(program.run("compare c.yaml --out carried").code, 0);
  EXPECT_TRUE(finished("carried").empty()) << "nothing was left to run";
  for (const char* file : {"results.json", "report.html", "results.csv"}) {
    EXPECT_EQ(test::read_file(program / "carried" / file), test::read_file(program / "out" / file)) << file;
  }
  carry();
  ASSERT_EQ(program.run("compare c.yaml --out carried report.seeds=3").code, 0);
  EXPECT_EQ(finished("carried").size(), 2u) << "one more seed of two variants";

  carry();
  write_file(program / "carried/results.json", "{}");
  const test::Result damaged = program.run("compare c.yaml --out carried");
  EXPECT_EQ(damaged.code, 0);
  EXPECT_HAS(damaged.err, "the folders of finished runs are read instead");
}

TEST_F(CompareTest, OtherFoldersAreCarried) {
  write_comparison("20");
  const std::string whole = "compare c.yaml --out whole", part = "compare c.yaml variants.sgd.optimizer.lr=0.1 --out ";
  ASSERT_EQ(program.run(part + "one seeds.first=1").code, 0);
  ASSERT_EQ(program.run(part + "two seeds.first=5").code, 0);  // runs that no one asks for
  const test::Result taken = program.run(whole + " --carry one/results.json --carry two/results.json report.seeds=2");
  ASSERT_EQ(taken.code, 0) << taken.err;
  EXPECT_EQ(taken.err.find("one/results.json"), std::string::npos) << taken.err;
  EXPECT_HAS(taken.err, "note: --carry two/results.json: none of its 14 runs is asked for here");
  const auto of_one = results("one").runs, of_two = results("two").runs, of_whole = results("whole").runs;
  std::size_t carried = 0;
  for (const compare::Run& run : of_whole) {
    const auto same = std::ranges::find(of_one, run.hash, &compare::Run::hash);
    EXPECT_EQ(fs::exists(program / ("whole/runs/" + run.hash)), same == of_one.end()) << "neither twice nor missing";
    EXPECT_EQ(std::ranges::count(of_two, run.hash, &compare::Run::hash), 0);
    if (same == of_one.end()) continue;
    ++carried;
    EXPECT_EQ(same->step_milliseconds, run.step_milliseconds);
  }
  EXPECT_GT(carried, 2u);
  EXPECT_LT(carried, of_whole.size());

  // What was carried stays, without the other folders.
  fs::remove_all(program / "one");
  const auto before = finished("whole");
  ASSERT_EQ(program.run(whole).code, 0);
  EXPECT_EQ(finished("whole"), before);

  // Results of another program are no error: they count for nothing.
  std::string others = test::read_file(program / "two/results.json");
  for (const compare::Run& run : of_two) others.replace(others.find(run.hash), run.hash.size(), "0123456789abcdef");
  write_file(program / "others.json", others);
  const test::Result none = program.run("compare c.yaml --out whole --carry others.json");
  EXPECT_EQ(none.code, 0);
  EXPECT_HAS(none.err, fmt::format("--carry others.json: none of its {} runs is taken over", of_two.size()));

  write_file(program / "damaged.json", test::read_file(program / "whole/results.json").substr(0, 1000));
  for (const char* file : {"none.json", "damaged.json", "config.yaml"}) {
    const test::Result wrong = program.run(fmt::format("compare c.yaml --out new --carry {}", file));
    EXPECT_EQ(wrong.code, 2);
    EXPECT_HAS(wrong.err, "--carry: ");
    EXPECT_HAS(wrong.err, file);
    EXPECT_FALSE(fs::exists(program / "new"));
  }
}

TEST_F(CompareTest, RunsHaveCoresOfTheirOwn) {
  cpu_set_t set;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(set), &set), 0);
  const auto cores = static_cast<std::size_t>(CPU_COUNT(&set));
  if (cores < 2) GTEST_SKIP() << "two jobs need two cores";
  write_file(program / "c.yaml",
             "baseline: a\nworkloads: [{config: config.yaml}]\nvariants: {a: {}, b: {optimizer: {lr: 0.02}}}\n"
             "report: {seeds: 1}\ntune: {final_seeds: 0}\njobs: 2\n");
  ::setenv("XDG_RUNTIME_DIR", program.path().c_str(), 1);  // the program sees no claims but those of this test
  const auto own = [&](const std::string& out, const std::string& overrides) {
    EXPECT_EQ(program.run(fmt::format("compare c.yaml --out {} {}", out, overrides)).code, 0);
    std::set<bool> found;
    for (const compare::Run& run : results(out).runs) found.insert(run.own_cores);
    return found;
  };
  const std::string all_cores = fmt::format("jobs=1 base.train.threads={}", cores);
  EXPECT_EQ(own("alone", ""), std::set{true});
  EXPECT_EQ(own("all", all_cores), std::set{true});
  EXPECT_EQ(own("many", fmt::format("jobs={}", cores + 1)), std::set{false});
  EXPECT_EQ(own("launched", "launcher=env"), std::set{false});
  {
    const compare::OwnCores others(cores - 1);
    ASSERT_EQ(others.cores().size(), cores - 1);
    EXPECT_EQ(own("beside", ""), std::set{false});
    EXPECT_EQ(own("beside_all", all_cores), std::set{false}) << "as many as it has threads, and not alone there";
    EXPECT_EQ(own("beside_one", "jobs=1"), std::set{true}) << "one core is left";
    const auto before = finished("alone");
    EXPECT_EQ(own("alone", "jobs=1"), std::set{true}) << "carried";
    EXPECT_EQ(finished("alone"), before);
  }
  ::unsetenv("XDG_RUNTIME_DIR");
}

// A launcher, and commands for others to run, come to the results of a comparison that runs everything itself.
TEST_F(CompareTest, OthersCanMakeTheRuns) {
  write_comparison("20");
  ASSERT_EQ(program.run("compare c.yaml --out whole").code, 0);
  ASSERT_EQ(program.run("compare c.yaml --out launched 'launcher=env MONGE_TEST_LAUNCHER=1'").code, 0);
  const test::Result broken = program.run("compare c.yaml --out none launcher=false");
  EXPECT_EQ(broken.code, 3);
  EXPECT_HAS(broken.err, "runs failed; the report says why");
  EXPECT_FALSE(results("none").runs.empty());
  for (const compare::Run& run : results("none").runs) {
    EXPECT_EQ(run.status, Status::failed);
    EXPECT_EQ(run.message, "exit code 1: it printed nothing");
  }

  make_planned("c.yaml", "it's planned");
  const Results whole = results("whole");
  for (const char* other : {"launched", "it's planned"}) {
    const Results same = results(other);
    ASSERT_EQ(same.runs.size(), whole.runs.size()) << other;
    for (std::size_t i = 0; i < whole.runs.size(); ++i) EXPECT_EQ(same.runs[i].final_loss, whole.runs[i].final_loss);
  }
}

TEST_F(CompareTest, EqualConfigurationsShareARun) {
  write_file(program / "c.yaml",
             "baseline: a\nworkloads: [{config: config.yaml}]\n"
             "variants: {a: {optimizer: {lr: 0.01}}, b: {optimizer: {lr: [0.01, 0.02]}}}\n"
             "tune: {max_trials: 2}\n");
  ASSERT_EQ(program.run("compare c.yaml --out out").code, 0);
  const Results r = results("out");
  std::set<std::string> hashes;
  for (const compare::Run& run : r.runs) hashes.insert(run.hash);
  EXPECT_LT(hashes.size(), r.runs.size());
  EXPECT_EQ(finished("out").size(), hashes.size());
  EXPECT_EQ(r.runs[0].final_loss, r.runs[1].final_loss);
}

TEST_F(CompareTest, ARunThatFailsIsRecordedAndTheOthersGoOn) {
  write_file(program / "c.yaml",
             "baseline: a\nworkloads: [{config: config.yaml}]\n"
             "variants: {a: {}, b: {optimizer: {groups: [{match: nothing}]}}}\n");
  const test::Result end = program.run("compare c.yaml --out out");
  EXPECT_EQ(end.code, 3);
  EXPECT_HAS(end.err, "monge: 1 of 7 runs failed; the report says why");
  std::size_t failed = 0;
  for (const compare::Run& run : results("out").runs) {
    if (run.variant == 0) {
      EXPECT_EQ(run.status, Status::done);
      continue;
    }
    ++failed;
    EXPECT_EQ(run.status, Status::failed);
    EXPECT_HAS(run.message, "exit code 2");
    EXPECT_HAS(run.message, "no parameter matches 'nothing'");
  }
  EXPECT_EQ(failed, 1u) << "it is dropped after the first";
  EXPECT_HAS(test::read_file(program / "out/report.md"), "b failed on config during tuning, and was dropped");
}

// Others make the runs, and the program sees their folders alone.
TEST_F(CompareTest, ARunThatFailsForOthersIsNotAskedForAgain) {
  write_file(program / "c.yaml",
             "baseline: a\nworkloads: [{config: config.yaml}]\n"
             "variants: {a: {}, b: {optimizer: {groups: [{match: nothing}]}}}\nreport: {seeds: 2}\n");
  test::Result last = make_planned("c.yaml", "out");
  EXPECT_HAS(last.err, "note: 1 run failed");
  EXPECT_HAS(last.err, "no parameter matches 'nothing'");
  EXPECT_HAS(last.err, "remove out/runs/*/error.txt, or run this comparison without --plan");
  EXPECT_HAS(test::read_file(program / "out/report.md"), "b failed on config during tuning, and was dropped");
  const Results r = results("out");
  EXPECT_TRUE(r.complete);
  const auto failed = std::ranges::find(r.runs, Status::failed, &compare::Run::status);
  ASSERT_NE(failed, r.runs.end());

  // Once more when asked to, and not while someone is at it.
  const fs::path error = program / ("out/runs/" + failed->hash + "/error.txt");
  {
    const train::FolderLock other(error.parent_path(), "run");
    EXPECT_HAS(program.run("compare c.yaml --out out --plan").out, failed->hash);
  }
  fs::remove(error);
  EXPECT_HAS(program.run("compare c.yaml --out out --plan").out, failed->hash);
  last = make_planned("c.yaml", "out");
  EXPECT_TRUE(fs::exists(error));
  ASSERT_EQ(program.run("compare c.yaml --out out").code, 3);
  EXPECT_FALSE(fs::exists(error)) << "a comparison that makes its runs itself tries anew";
}

TEST_F(CompareTest, TheForecastCountsTheRunsAndTriesEachKind) {
  write_file(program / "c.yaml",
             "baseline: a\nworkloads: [{config: config.yaml}]\n"
             "base: {train: {steps: 300}}\n"
             "variants: {a: {optimizer: {lr: [0.01, 0.02], weight_decay: [0, 0.1, 0.2]}},\n"
             "  b: {}, c: {optimizer: {groups: [{match: nothing}]}}}\n"
             "tune: {seeds: 2, max_trials: 9}\nreport: {seeds: 3}\nbudgets: [1, 2]\n");
  const test::Result result = program.run("compare c.yaml --out out --forecast");
  EXPECT_EQ(result.code, 0) << result.err;
  // a: 2 seeds of 4 to 9 settings, 2 more of 3 finalists, then 3 seeds on 2 budgets; b and c: one setting.
  for (const char* line : {"a  20 to 30", "b  8", "c  8", "all  36 to 46"}) {
    const std::string squeezed = std::regex_replace(result.out, std::regex("  +"), "  ");
    EXPECT_HAS(squeezed, line);
  }
  EXPECT_HAS(result.out, "no parameter matches 'nothing'");
  EXPECT_EQ(finished("out").size(), 2u) << "one run each of a and b";
  EXPECT_FALSE(fs::exists(program / "out/results.json"));
}

TEST_F(CompareTest, TheSuiteGoesFromYamlToReport) {
  fs::create_directories(program / "data");
  std::string text;
  for (int i = 0; i < 40000; ++i) text += static_cast<char>('a' + i * i % 23);
  write_file(program / "data/shakespeare.txt", text);
  const std::string suite = MONGE_SOURCE_DIR "/configs/compare/suite.yaml";
  const test::Result result =
      program.run("compare " + suite +
                      " --out out base.train.steps=3 base.train.eval_every=1 base.train.eval_batches=1"
                      " base.optimizer.schedule.warmup=1 tune.max_trials=1 report.seeds=2",
                  fmt::format("export XDG_CACHE_HOME='{}'; ", (program / "cache").string()));
  ASSERT_EQ(result.code, 0) << result.err;
  const Results r = results("out");
  EXPECT_TRUE(r.complete);
  EXPECT_EQ(r.workloads.size(), 8u);
  EXPECT_EQ(r.runs.size(), r.variants.size() * r.workloads.size() * 3);
  for (const compare::Run& run : r.runs) EXPECT_NE(run.status, Status::failed) << run.message;
  for (const compare::Workload& w : r.workloads) EXPECT_TRUE(w.target && w.target_fixed_before) << w.name;
  const std::string report = test::read_file(program / "out/report.md");
  EXPECT_HAS(report, "## Across workloads");
  EXPECT_HAS(report, "| accuracy |");
}

TEST_F(CompareTest, WrongInputIsOneErrorBeforeAnythingRuns) {
  write_file(program / "bad.yaml",
             "baseline: a\nworkloads: [{config: config.yaml}]\nvariants:\n  a: {}\n"
             "  b: {optimizer: {name: sgd, momentom: 0.9}}\n");
  const test::Result result = program.run("compare bad.yaml --out out");
  EXPECT_EQ(result.code, 2);
  EXPECT_HAS(result.err, "bad.yaml:5:30: optimizer.momentom: unknown key");
  EXPECT_HAS(result.err, "Did you mean 'momentum'");
  EXPECT_FALSE(fs::exists(program / "out"));
  const test::Result launched = program.run("compare c.yaml --out out launcher=nosuchlauncher");
  EXPECT_EQ(launched.code, 2);
  EXPECT_HAS(launched.err, "launcher: there is no program 'nosuchlauncher' on the PATH");
  EXPECT_FALSE(fs::exists(program / "out"));
  EXPECT_EQ(program.run("compare none.yaml --out out").code, 2);
  EXPECT_EQ(program.run("compare c.yaml --out /proc/monge").code, 2);
  EXPECT_EQ(program.run("compare --help").code, 0);
}

TEST_F(CompareTest, APlanOfManyRunsCanBeStopped) {
  const int status = std::system(fmt::format("cd '{}' && timeout --preserve-status -s INT -k 20 3 '{}/monge' compare "
                                             "c.yaml --out out tune.studies=1000 tune.seeds=50 --plan >/dev/null 2>&1",
                                             program.path().string(), MONGE_BINARY_DIR)
                                     .c_str());
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

TEST_F(CompareTest, OneComparisonAtATimeWorksInAFolder) {
  write_comparison("1000000");
  const pid_t pid = start("compare c.yaml --out out");
  for (int i = 0; i < 1000 && !fs::exists(program / "out/.lock"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const test::Result second = program.run("compare c.yaml --out out");
  EXPECT_EQ(second.code, 2);
  EXPECT_HAS(second.err, "another comparison is at work");
  EXPECT_HAS(second.err, fmt::format("process {} on ", pid));
  ::kill(pid, SIGTERM);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

}  // namespace
}  // namespace monge
