// results.json: what is written is read back bit by bit, and what is no such file is refused with the key in question.
#include "tools/compare/runs/results.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/temp_directory.h"

namespace monge::compare {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Results example() {
  Results r{.title = "A \"title\" with \u00e9", .description = "", .baseline = 1, .level = 0.01};
  r.variants = {{"a", "{lr: [0.1]}"}, {"b", ""}};
  r.workloads = {{.name = "w",
                  .data = "markov",
                  .parameters = std::int64_t{1} << 40,
                  .optimum = 0.1 + 0.2,
                  .target_is_accuracy = true,
                  .target_source = "none",
                  .target_fixed_before = false,
                  .budgets = {0.5, 1.0}}};
  r.tune_seeds = {1};
  r.report_seeds = {101, 102};
  r.tuned = {{.variant = 1, .axes = {{"optimizer.lr", 1.0 / 3.0}, {"a.b", 0.0}}, .trials = 3, .on_edge = {"a.b"}}};
  Run run{.variant = 1, .stage = Stage::report, .seed = 101, .budget = 0.5, .axes = {{"z", 1e-300}, {"a", 2.0}}};
  run.points = {{.step = 10, .seconds = 5e-324, .forward_backwards = 20.0, .train_loss = 1.5, .val_loss = infinity},
                {.step = 20, .val_loss = std::nextafter(1.0, 2.0), .val_accuracy = 1.0 / 3.0}};
  run.final_loss = run.points[1].val_loss;
  run.own_cores = true;
  run.hash = "00ff";
  run.config = "a: 1\n";
  r.runs = {run,
            {.status = Run::Status::diverged, .message = "lost", .final_loss = infinity},
            {.status = Run::Status::failed, .message = "bytes \xff", .final_loss = infinity}};
  for (Run& each : r.runs) each.made_by = "another program";
  r.verdicts = {{.made_by = "x", .variant = "b", .workload = "w", .borrowed = 5, .made_again = 2, .different = 1}};
  r.build = "Monge 9, numerics 12, program 34";
  r.complete = false;
  return r;
}

class ResultsFile : public testing::Test {
 protected:
  /// The message about results in which `change` has been made.
  std::string refused(const std::function<void(nlohmann::json&)>& change) {
    write_results(example(), file);
    auto json = nlohmann::json::parse(test::read_file(file));
    change(json);
    test::write_file(file, json.dump());
    return error_of([&] { read_results(file); });
  }
  test::TempDirectory directory;
  std::filesystem::path file = directory / "results.json";
};

TEST_F(ResultsFile, ReadsBackWhatWasWritten) {
  const Results before = example();
  write_results(before, file);
  const Results after = read_results(file);
  EXPECT_EQ(after.title, before.title);
  EXPECT_EQ(after.baseline, 1u);
  EXPECT_EQ(after.workloads[0].optimum, before.workloads[0].optimum);
  EXPECT_FALSE(after.workloads[0].target.has_value());
  EXPECT_FALSE(after.workloads[0].target_fixed_before);
  EXPECT_EQ(after.workloads[0].parameters, std::int64_t{1} << 40);
  EXPECT_EQ(after.tuned[0].axes, before.tuned[0].axes);
  ASSERT_EQ(after.runs.size(), 3u);
  EXPECT_EQ(after.runs[0].axes, before.runs[0].axes);
  EXPECT_EQ(after.runs[0].stage, Stage::report);
  EXPECT_EQ(after.runs[0].final_loss, before.runs[0].final_loss);
  EXPECT_EQ(after.runs[0].points[0].seconds, 5e-324);
  EXPECT_EQ(after.runs[0].points[0].val_loss, infinity);
  EXPECT_FALSE(after.runs[0].points[1].train_loss.has_value());
  EXPECT_FALSE(after.runs[0].points[0].val_accuracy.has_value());
  EXPECT_EQ(after.runs[0].points[1].val_accuracy, 1.0 / 3.0);
  EXPECT_TRUE(after.workloads[0].target_is_accuracy);
  EXPECT_EQ(after.runs[1].status, Run::Status::diverged);
  EXPECT_EQ(after.runs[1].final_loss, infinity);
  EXPECT_EQ(after.runs[2].status, Run::Status::failed);
  EXPECT_TRUE(after.runs[0].own_cores);
  EXPECT_EQ(after.verdicts.at(0).different, 1u);
  EXPECT_FALSE(after.complete);
  // Everything else: what is written again is the same file.
  const std::string text = test::read_file(file);
  write_results(after, file);
  EXPECT_EQ(test::read_file(file), text);
}

TEST_F(ResultsFile, OlderOnesDoNotSayWhoseCoresTheyHad) {
  write_results(example(), file);
  auto json = nlohmann::json::parse(test::read_file(file));
  json["runs"][0].erase("own_cores");
  test::write_file(file, json.dump());
  EXPECT_FALSE(read_results(file).runs[0].own_cores);
}

TEST_F(ResultsFile, OlderOnesWereMadeByTheProgramThatGatheredThem) {
  write_results(example(), file);
  EXPECT_EQ(read_results(file).runs[0].made_by, "another program");
  auto json = nlohmann::json::parse(test::read_file(file));
  json["runs"][0].erase("made_by");
  json.erase("verdicts");
  test::write_file(file, json.dump());
  EXPECT_EQ(read_results(file).runs[0].made_by, "Monge 9, numerics 12");
  EXPECT_TRUE(read_results(file).verdicts.empty());
}

TEST_F(ResultsFile, RefusesWhatNoComparisonWrites) {
  for (const auto& level : {nlohmann::json(0.0), nlohmann::json(1), nlohmann::json(nullptr), nlohmann::json(-0.05)}) {
    EXPECT_HAS(refused([&](auto& json) { json["level"] = level; }), "level is");
  }
  EXPECT_HAS(refused([](auto& json) { json["margin"] = -1; }), "margin is -1");
  EXPECT_HAS(refused([](auto& json) { json["studies"] = 0; }), "studies is 0");
  EXPECT_HAS(refused([](auto& json) { json["studies"] = 1000000000; }), "studies is 1000000000");
  EXPECT_HAS(refused([](auto& json) { json["workloads"][0]["budgets"] = nlohmann::json::array(); }), "budgets of ");
  EXPECT_HAS(refused([](auto& json) { json["workloads"][0]["budgets"] = {2.0, 1.0}; }), "are [2, 1], allowed: rising");
  EXPECT_HAS(refused([](auto& json) { json["workloads"][0]["optimum"] = nullptr; }), "is not finite");
  EXPECT_HAS(refused([](auto& json) { json["tuned"][0]["tuned_at"] = nullptr; }), "a tuned setting is of no study");
  EXPECT_HAS(refused([](auto& json) { json["variants"][0]["name"] = ""; }), "a variant is called ''");
  EXPECT_HAS(refused([](auto& json) { json["variants"][0]["name"] = json["variants"][1]["name"]; }),
             "a variant is called");
  EXPECT_HAS(refused([](auto& json) { json["runs"][0]["study"] = 7; }), "is of no study");
  EXPECT_HAS(refused([](auto& json) { json["runs"][0]["points"][0]["seconds"] = -1; }), "has an impossible point");
  EXPECT_HAS(refused([](auto& json) { json["runs"][0]["step_milliseconds"] = nullptr; }), "impossible times");
  EXPECT_HAS(error_of([&] { read_results(directory.path()); }), "give the results.json");  // and no endless device
  EXPECT_HAS(error_of([&] { read_results("/dev/zero"); }), "give the results.json");
}

TEST_F(ResultsFile, RefusesWhatIsNone) {
  EXPECT_HAS(error_of([&] { read_results(directory / "none.json"); }), "none.json");
  test::write_file(file, "{");
  EXPECT_HAS(error_of([&] { read_results(file); }), "no JSON");
  test::write_file(file, "[]");
  EXPECT_HAS(error_of([&] { read_results(file); }), "expected a map");
  EXPECT_HAS(refused([](auto& json) { json["runs"][1].erase("hash"); }), "runs.1: expected the key 'hash'");
  EXPECT_HAS(refused([](auto& json) { json["runs"][0]["seed"] = "x"; }), "runs.0.seed: expected an integer, got \"x\"");
  EXPECT_HAS(refused([](auto& json) { json["runs"][0]["stage"] = "x"; }), "one of tune, report");
  EXPECT_HAS(refused([](auto& json) { json["workloads"][0]["optimum"] = true; }),
             "workloads.0.optimum: expected a number");
  EXPECT_HAS(refused([](auto& json) { json["baseline"] = 7; }), "baseline refers to");
  EXPECT_HAS(refused([](auto& json) { json["runs"][0]["workload"] = 1; }), "runs refers to");
}

TEST_F(ResultsFile, CannotBeWrittenEverywhere) {
  EXPECT_HAS(error_of<RunError>([&] { write_results(example(), directory / "no/folder.json"); }), "folder.json");
}

}  // namespace
}  // namespace monge::compare
