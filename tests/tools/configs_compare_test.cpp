// The comparisons of configs/compare: they can be read, and are fair by what a report warns of.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "support/temp_directory.h"
#include "tools/compare/runs/forecast.h"
#include "tools/compare/search/plan.h"

namespace monge::compare {
namespace {

class ComparisonsOfConfigs : public testing::TestWithParam<const char*> {
 protected:
  /// A place where the text that one workload needs is found.
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 4000; ++i) text += static_cast<char>('a' + i * i % 23);
    std::filesystem::create_directory(directory / "data");
    test::write_file(directory / "data/shakespeare.txt", text);
    ::setenv("XDG_CACHE_HOME", (directory / "cache").c_str(), 1);
    std::filesystem::current_path(directory.path());
  }
  void TearDown() override { std::filesystem::current_path("/"); }

  test::TempDirectory directory;
};

TEST_P(ComparisonsOfConfigs, AreFair) {
  Comparison comparison(std::string(MONGE_SOURCE_DIR "/configs/compare/") + GetParam(), {}, /*cores=*/2);
  const RunPlan plan = plan_runs(comparison, [](const PlannedRun&) { return std::nullopt; });
  const bool demo = std::string(GetParam()) == "demo.yaml";  // has one axis a variant, and says so
  for (const Tuned& tuned : plan.tuned) {
    EXPECT_TRUE(demo || tuned.fixed.empty()) << comparison.variant_name(tuned.variant) << ": " << tuned.fixed.front();
  }
  for (std::size_t v = 0; v < comparison.variants(); ++v) {
    ASSERT_GE(comparison.axes(v).size(), demo ? 1U : 2U) << comparison.variant_name(v);
    EXPECT_EQ(comparison.axes(v).front().key, "optimizer.lr") << comparison.variant_name(v);
  }
  for (const WorkloadOptions& workload : comparison.options().workloads) {
    if (std::string(GetParam()) != "suite.yaml" && !demo) break;  // what most of the baseline's runs reach
    EXPECT_GT(workload.target + workload.target_excess + workload.target_accuracy, 0.0) << workload.name;
  }
  const Trials trials = trials_of(comparison);
  EXPECT_GE(trials.most, trials.least + 2) << "the sweep leaves no trials to go beyond its ends";
}

INSTANTIATE_TEST_SUITE_P(All, ComparisonsOfConfigs,
                         testing::Values("attention_teacher.yaml", "demo.yaml", "natural_gradient.yaml",
                                         "natural_gradient_methods.yaml", "natural_gradient_more.yaml", "suite.yaml"),
                         [](const auto& info) {
                           const std::string name = info.param;
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace monge::compare
