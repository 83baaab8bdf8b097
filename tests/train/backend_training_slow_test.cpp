// Training on a device: the losses are those of the next simpler one, runs repeat bit by bit, replayed steps are the
// eager ones, and a run moves from one device to another.
#include <gtest/gtest.h>

#include "simt/cuda_runtime.h"
#include "support/tested_device.h"
#include "support/tiny_run.h"

namespace monge::train {
namespace {

using test::expect_same_run;
using test::metrics_of;
using test::TempDirectory;
using test::tested;
using test::train_tiny;

/// What the tested device is compared with: the reference for cpu, cpu for a GPU.
Device simpler() { return tested == test::cpu ? test::reference : test::cpu; }

std::string on(Device device) { return "device=" + device.str(); }

using Overrides = std::vector<std::string>;
Overrides operator+(Overrides a, const Overrides& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<double> losses_of(const std::filesystem::path& run) {
  std::vector<double> out;
  for (const auto& line : metrics_of(run)) out.push_back(line["train_loss"]);
  return out;
}

/// Architectures that use every kind of kernel between them.
const std::vector<Overrides> models{
    {"model.dropout=0.1"},
    {"model.position=rope", "model.norm=rmsnorm", "model.mlp.kind=swiglu", "model.kv_heads=1", "model.tied_head=false"},
    {"model.position=alibi", "model.attention.kind=sigmoid", "model.attention.qk_norm=true"},
    {"model.position=goat", "model.block={kind: prenorm, layer_scale: 0.3, hybrid_norm: true}", "model.kv_heads=1"},
    {"model.attention.kind=entmax15", "optimizer.attention=row"},
    {"model.attention.kind=sigmoid", "model.attention.bias=-1", "train.recompute=true", "train.head_chunk=5"},
    {"optimizer={name: ekfac, every: 4}", "model.kv_heads=1"},
    {"optimizer={name: natural_muon, every: 4}", "model.kv_heads=1"},
    {"optimizer={name: muon, base: {name: sophia, every: 4}}", "train.head_chunk=5"},
    {"optimizer={name: compositional_muon, chain: [{kind: qk_clip, tau: 0.01}]}", "model.kv_heads=1"},
    {"optimizer={name: newton_muon, every: 4, chain: [{kind: qk_clip, tau: 0.01}]}", "train.recompute=true"},
    {"model.attention.key_prior=true", "model.attention.relative_prior=true", "optimizer.attention=fisher"},
    {"optimizer.attention={update: fisher, every: 4, joint: true}"},
};

// Both take ten steps from the same values on the same data; f32 differs from f64 in the seventh digit.
TEST(Training, TenStepLossesAreThoseOfTheSimplerDevice) {
  const Overrides ten{"train.steps=10", "train.log_every=1", "train.eval_every=0"};
  for (const Overrides& model : models) {
    SCOPED_TRACE(model.front());
    const TempDirectory dir;
    train_tiny(dir / "here", ten + model + Overrides{on(tested)});
    train_tiny(dir / "there", ten + model + Overrides{on(simpler())});
    const auto here = losses_of(dir / "here"), there = losses_of(dir / "there");
    ASSERT_EQ(here.size(), 10u);
    for (std::size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(here[i], there[i], 1e-4) << "step " << i + 1;
  }
}

TEST(Training, TwoRunsAreBitIdentical) {
  for (const char* precision : {"train.precision=float32", "train.precision=bfloat16"}) {
    const TempDirectory dir;
    for (const char* name : {"a", "b"}) train_tiny(dir / name, {precision, on(tested)});
    expect_same_run(dir / "a", dir / "b", 20);
  }
}

TEST(Training, ReplayedStepsAreTheEagerOnes) {
  for (const Overrides& model : models) {
    SCOPED_TRACE(model.front());
    const TempDirectory dir;
    const Overrides common = model + Overrides{on(tested), "train.precision=bfloat16"};
    train_tiny(dir / "replayed", common + Overrides{"cuda.graph=true"});
    train_tiny(dir / "eager", common + Overrides{"cuda.graph=false"});
    expect_same_run(dir / "replayed", dir / "eager", 20);
  }
}

TEST(Training, ARunMovesBetweenDevices) {
  for (const auto& [first, second] : {std::pair{simpler(), tested}, {tested, simpler()}}) {
    const TempDirectory dir;
    const Overrides each{"train.log_every=1"};
    train_tiny(dir / "moved", each + Overrides{on(first)}, false, 8);
    train_tiny(dir / "moved", each + Overrides{on(second)}, true);
    train_tiny(dir / "stayed", each + Overrides{on(first)});
    const auto moved = losses_of(dir / "moved"), stayed = losses_of(dir / "stayed");
    ASSERT_EQ(moved.size(), 20u);
    for (std::size_t i = 0; i < moved.size(); ++i) EXPECT_NEAR(moved[i], stayed[i], 1e-4) << "step " << i + 1;
  }
}

TEST(Training, TheHostWaitsForNothingBetweenTwoLines) {
  if (!test::tested_is_emulated) GTEST_SKIP() << "a real device does not count";
  for (const Overrides& model : models) {
    const auto is = [&](const char* rule) { return model.front().find(rule) != std::string::npos; };
    if (is("ekfac") || is("natural_muon") || is("joint")) continue;  // factorise on the host
    SCOPED_TRACE(model.front());
    train::Progress silent(nullptr);
    const TempDirectory dir;
    const Overrides quiet{"train.log_every=20", "train.eval_every=0", "train.checkpoint_every=20",
                          "train.sample_tokens=0"};
    // A recording forbids to wait, so the eager steps are the ones to look at.
    Trainer trainer(test::tiny_config(model + quiet + Overrides{on(tested), "cuda.graph=false"}), dir / "run", false,
                    silent);
    std::int64_t after_five = 0, after_nineteen = 0;
    trainer.run([&] {
      if (trainer.step() == 5) after_five = simt::machine().waits;
      if (trainer.step() == 19) after_nineteen = simt::machine().waits;
      return false;
    });
    EXPECT_GT(after_five, 0);
    EXPECT_EQ(after_nineteen, after_five);
    EXPECT_GT(simt::machine().waits, after_nineteen);  // for the line
  }
}

TEST(Training, NothingIsTakenFromTheSystemOnceStepsRepeat) {
  train::Progress silent(nullptr);
  const TempDirectory dir;
  Config config = test::tiny_config({on(tested), "train.eval_every=5", "train.sample_tokens=0"});
  Trainer trainer(config, dir / "run", false, silent);
  std::uint64_t after_five = 0;
  const MemoryPools& memory = backend_of(tested).memory();
  trainer.run([&] {
    if (trainer.step() == 10) after_five = memory.usage().system_allocations;
    return false;
  });
  EXPECT_EQ(memory.usage().system_allocations, after_five);
}

}  // namespace
}  // namespace monge::train
