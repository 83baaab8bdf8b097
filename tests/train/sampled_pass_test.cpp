// The passes under targets drawn from the model, within training.
#include "support/tiny_run.h"
#include "train/folder/run_summary.h"

namespace monge::train {
namespace {

// The gradients of a step do not feel the pass before it: loss and norm of the first step are the same bits, with
// dropout and two micro-batches.
TEST(SampledPass, LeavesTheGradientsOfTheStepAlone) {
  const auto first = [](const std::string& rule) {
    const test::TempDirectory dir;
    test::train_tiny(dir / "run", {"optimizer=" + rule, "train.steps=1", "train.log_every=1", "train.eval_every=0"});
    const nlohmann::json line = test::metrics_of(dir / "run").back();
    return std::pair{line.at("train_loss").get<double>(), line.at("grad_norm").get<double>()};
  };
  const auto plain = first("{name: adamw}");
  for (const char* rule : {"{name: sophia}", "{name: kfac}", "{name: ekfac}", "{name: natural_muon}",
                           "{name: muon, base: {name: sophia}}"})
    EXPECT_EQ(first(rule), plain) << rule;
}

TEST(SampledPass, IsCounted) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", {"optimizer={name: sophia, every: 4}"});
  EXPECT_DOUBLE_EQ(read_summary(dir / "run" / "summary.json").passes_per_step, 1.25);
  test::train_tiny(dir / "plain");
  EXPECT_DOUBLE_EQ(read_summary(dir / "plain" / "summary.json").passes_per_step, 1.0);
}

// Recomputed blocks and a head by chunks show the same to the observers.
TEST(SampledPass, DoesNotDependOnHowActivationsAreKept) {
  const auto weights = [](const std::vector<std::string>& more) {
    const test::TempDirectory dir;
    std::vector<std::string> overrides{"optimizer={name: ekfac, every: 2, refresh: 2}", "device=reference"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    test::train_tiny(dir / "run", overrides);
    return test::read_file(test::checkpoint_dir(dir / "run", 20) / "model.safetensors");
  };
  const std::string plain = weights({});
  EXPECT_FALSE(plain.empty());
  EXPECT_TRUE(weights({"train.recompute=true"}) == plain);
  EXPECT_TRUE(weights({"optimizer.attention=row"}) != plain);  // which splits the projection; it trains
}

}  // namespace
}  // namespace monge::train
