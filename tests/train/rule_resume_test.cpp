// A run that stops and goes on is the run that did not stop, bit for bit, with every update rule.
#include "optim/rule.h"
#include "support/tiny_run.h"

namespace monge::train {
namespace {

void expect_same_run_after_resume(const std::string& optimizer) {
  for (const char* setting : {"train.precision=float32", "train.precision=bfloat16", "device=reference"}) {
    SCOPED_TRACE(optimizer + " " + setting);
    const test::TempDirectory dir;
    const std::vector<std::string> overrides{"optimizer=" + optimizer, setting};
    test::train_tiny(dir / "whole", overrides);
    EXPECT_EQ(test::train_tiny(dir / "parts", overrides, false, 7), RunEnd::interrupted);
    EXPECT_EQ(test::train_tiny(dir / "parts", overrides, true), RunEnd::finished);
    test::expect_same_run(dir / "whole", dir / "parts", 20);
  }
}

TEST(RuleResume, EveryRuleGoesOnAsIfItHadNotStopped) {
  for (const std::string& name : optim::rules().names()) expect_same_run_after_resume("{name: " + name + "}");
}

TEST(RuleResume, TheAverageOfTheParametersGoesOn) {
  expect_same_run_after_resume("{name: adamw, chain: [{kind: ema, start: 4}]}");
}

TEST(RuleResume, TheRampOfAdEMAMixGoesOn) {
  expect_same_run_after_resume("{name: ademamix, betas: [0.9, 0.99, 0.95], ramp: 15}");
}

}  // namespace
}  // namespace monge::train
