// A run that stops and goes on is the run that did not stop, bit for bit, with every update rule.
#include "optim/rule.h"
#include "support/expect_error.h"
#include "support/tiny_run.h"

namespace monge::train {
namespace {

void expect_same_run_after_resume(const std::string& optimizer, const std::string& attention = "softmax") {
  for (const char* setting : {"train.precision=float32", "train.precision=bfloat16", "device=reference"}) {
    SCOPED_TRACE(optimizer + " " + attention + " " + setting);
    const test::TempDirectory dir;
    const std::vector<std::string> overrides{"optimizer=" + optimizer, "model.attention=" + attention, setting};
    test::train_tiny(dir / "whole", overrides);
    EXPECT_EQ(test::train_tiny(dir / "parts", overrides, false, 7), RunEnd::interrupted);
    EXPECT_EQ(test::train_tiny(dir / "parts", overrides, true), RunEnd::finished);
    test::expect_same_run(dir / "whole", dir / "parts", 20);
  }
}

TEST(RuleResume, EveryRuleGoesOnAsIfItHadNotStopped) {
  for (const std::string& name : optim::rules().names()) expect_same_run_after_resume("{name: " + name + "}");
}

// A rule for matrices, one that observes linear layers, and one for single elements.
TEST(RuleResume, AarenGoesOnAsIfItHadNotStopped) {
  for (const char* name : {"adamw", "muon", "kfac"}) {
    expect_same_run_after_resume(fmt::format("{{name: {}}}", name), "aaren");
  }
}

TEST(RuleResume, RulesInTheFishersBasisGoOn) {
  for (const char* name : {"soap", "soap_muon"}) {
    expect_same_run_after_resume(fmt::format("{{name: {}, every: 3, qk_basis: fisher}}", name));
  }
}

TEST(RuleResume, TheAverageOfTheParametersGoesOn) {
  expect_same_run_after_resume("{name: adamw, chain: [{kind: ema, start: 4}]}");
}

// The saved model is the average where there is one: going on from there without it would be another run.
TEST(RuleResume, AnotherStateIsRefused) {
  const std::string ema = "optimizer.chain=[{kind: ema}]";
  for (const auto& [before, after, tensor] : std::initializer_list<std::tuple<std::string, std::string, const char*>>{
           {ema, "optimizer.chain=[]", "ema.average"},
           {"optimizer.chain=[]", ema, "ema.average"},
           {"optimizer={name: muon}", "optimizer={name: muon, base: {name: sgd}}", "adamw."}}) {
    const test::TempDirectory dir;
    test::train_tiny(dir / "run", {"train.steps=4", before});
    const std::string metrics = test::read_file(dir / "run/metrics.jsonl");
    const std::string message = error_of([&] {
      test::train_tiny(dir / "run", {"train.steps=8", after}, /*resume=*/true);
    });
    EXPECT_HAS(message, "an optimizer with other state");
    EXPECT_HAS(message, tensor);
    EXPECT_EQ(test::read_file(dir / "run/metrics.jsonl"), metrics);
  }
}

TEST(RuleResume, TheRampOfAdEMAMixGoesOn) {
  expect_same_run_after_resume("{name: ademamix, betas: [0.9, 0.99, 0.95], ramp: 15}");
}

}  // namespace
}  // namespace monge::train
