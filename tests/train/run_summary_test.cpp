// What a run leaves in summary.json, and when.
#include "train/folder/run_summary.h"

#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "train/checkpoint/start_identity.h"
#include "train/run.h"

namespace monge::train {
namespace {

namespace fs = std::filesystem;

TEST(RunSummary, SaysWhatTheRunHasComeTo) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run");
  const RunSummary summary = read_summary(dir / "run/summary.json");
  const nlohmann::json last = test::metrics_of(dir / "run").back();
  EXPECT_FALSE(summary.diverged);
  EXPECT_EQ(summary.steps, 20);
  EXPECT_EQ(summary.val_loss.value(), last["val_loss"].get<double>());
  EXPECT_EQ(summary.val_loss.value() - summary.optimum.value(), last["excess_loss"].get<double>());
  EXPECT_EQ(summary.vocab, 6);
  EXPECT_GE(summary.state_bytes, 2 * 4 * summary.parameters);  // AdamW: two numbers of four bytes each
  EXPECT_EQ(summary.passes_per_step, 1.0);
  EXPECT_HAS(summary.data, "markov");
}

TEST(RunSummary, IsThereOnlyWhenTheRunIsFinished) {
  const test::TempDirectory dir;
  EXPECT_EQ(test::train_tiny(dir / "run", {}, false, 10), RunEnd::interrupted);
  EXPECT_FALSE(fs::exists(dir / "run/summary.json"));
  test::train_tiny(dir / "run", {}, true);
  EXPECT_TRUE(fs::exists(dir / "run/summary.json"));
  // More steps: it is a run under way again.
  EXPECT_EQ(test::train_tiny(dir / "run", {"train.steps=30"}, true, 25), RunEnd::interrupted);
  EXPECT_FALSE(fs::exists(dir / "run/summary.json"));
}

TEST(RunSummary, OfADivergedRunSaysWhy) {
  const test::TempDirectory dir;
  const std::string error = error_of<RunError>([&] {
    test::train_tiny(dir / "run", {"optimizer.lr=1e30", "optimizer.schedule.warmup=0"});
  });
  const RunSummary summary = read_summary(dir / "run/summary.json");
  EXPECT_TRUE(summary.diverged);
  EXPECT_EQ(summary.message, error);
  EXPECT_FALSE(summary.val_loss.has_value());
  EXPECT_GT(summary.parameters, 0);
}

TEST(RunSummary, ThatIsNoneIsAnError) {
  const test::TempDirectory dir;
  EXPECT_HAS(error_of([&] { read_summary(dir / "none.json"); }), "none.json");
  test::write_file(dir / "half.json", "{\"diverged\": false}");
  EXPECT_HAS(error_of([&] { read_summary(dir / "half.json"); }), "message");
}

TEST(StartIdentity, IsThatOfTheWeightsAndTheBatches) {
  const auto identity = [](const std::vector<std::string>& overrides) {
    return start_identity(train::Run(test::tiny_config(overrides)));
  };
  const StartIdentity one = identity({});
  EXPECT_EQ(one.weights.size(), 16u);
  for (const auto& [overrides, same_weights, same_batches] :
       std::initializer_list<std::tuple<std::vector<std::string>, bool, bool>>{
           {{"optimizer={name: muon}", "train.steps=3"}, true, true},
           {{"train.batch=8", "train.accumulate=1"}, true, true},
           {{"train.batch=2"}, true, false},
           {{"train.seed=4"}, false, false},
           {{"model.bias=true"}, false, true}}) {
    const StartIdentity other = identity(overrides);
    EXPECT_EQ(other.weights == one.weights, same_weights) << overrides[0];
    EXPECT_EQ(other.batches == one.batches, same_batches) << overrides[0];
  }
}

}  // namespace
}  // namespace monge::train
