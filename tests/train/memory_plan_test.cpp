#include "train/memory_plan.h"

#include <cmath>

#include "core/error.h"
#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "train/run.h"

namespace monge::train {
namespace {

/// Planned total and measured peak of real training steps.
struct Comparison {
  double planned = 0.0, measured = 0.0;
};

Comparison compare(const std::vector<std::string>& overrides, std::int64_t vocab) {
  const Config config = test::tiny_config(overrides);
  const MemoryPlan plan = plan_memory(config, vocab);
  const auto made = make_model(config, vocab);
  nn::Model& model = *made;
  nn::ParameterStore store(model, parse_device("cpu"), precision_of(config), 1);
  optim::Optimizer optimizer(config.optimizer, model, store, 10);

  MemoryPools& memory = store.values().backend().memory();
  memory.reset_peak();
  TrainingStep training({.batch = config.train.batch, .record = 2}, model, store, optimizer);
  const auto tokens = static_cast<std::size_t>(config.train.batch * model.context());
  const auto next = [&] {
    return HostBatch{{"tokens", std::vector<std::int32_t>(tokens, 1)},
                     {"targets", std::vector<std::int32_t>(tokens, 0)}};
  };
  for (int step = 1; step <= 2; ++step) training.run(step, next);
  return {static_cast<double>(plan.total()), static_cast<double>(memory.usage().peak)};
}

TEST(MemoryPlan, IsCloseToWhatTrainingNeeds) {
  const std::vector<std::string> recipe{"model.layers=4",   "model.heads=4",   "model.width=128",
                                        "model.context=64", "model.dropout=0", "train.batch=12"};
  const auto with = [&recipe](std::vector<std::string> more) {
    more.insert(more.begin(), recipe.begin(), recipe.end());
    return more;
  };
  for (const auto& overrides :
       {with({}), with({"train.precision=bfloat16"}), with({"train.recompute=true"}), with({"train.batch=1"}),
        with({"model.position=goat", "model.block={kind: prenorm, layer_scale: 0.1, hybrid_norm: true}"}),
        with({"model.mlp.kind=swiglu", "model.norm=rmsnorm", "train.batch=3"})}) {
    const Comparison c = compare(overrides, 65);
    EXPECT_NEAR(c.planned, c.measured, 0.15 * c.measured) << overrides.back();
  }
}

TEST(MemoryPlan, IsCloseWithALargeVocabulary) {
  const Comparison c = compare({"model.width=64", "model.context=64", "train.batch=4"}, 50257);
  EXPECT_NEAR(c.planned, c.measured, 0.15 * c.measured);
}

TEST(MemoryPlan, CountsParametersGradientsAndState) {
  const Config config = test::tiny_config({"train.precision=bfloat16"});
  const auto model = make_model(config, 6);
  const nn::ParameterStore store(*model, parse_device("cpu"), nn::Precision::bfloat16, 1);
  const MemoryPlan plan = plan_memory(config, 6);
  const auto n = static_cast<std::size_t>(store.flat_size());
  EXPECT_EQ(plan.parameters, 6 * n);  // f32 and bf16
  EXPECT_EQ(plan.gradients, 4 * n);
  EXPECT_EQ(plan.optimizer, 8 * n);  // AdamW's two moments
  EXPECT_EQ(plan.total(), plan.parameters + plan.gradients + plan.optimizer + plan.activations);
}

// More than any machine has, in no time and in no memory.
TEST(MemoryPlan, OfAModelThatNoMachineHolds) {
  const MemoryPools& memory = backend_of(parse_device("cpu")).memory();
  const MemoryUsage before = memory.usage();
  const MemoryPlan plan = plan_memory(
      test::tiny_config({"model.layers=100", "model.heads=128", "model.width=16384", "train.batch=1000000"}), 6);
  EXPECT_GT(plan.total(), std::size_t{1} << 45);
  EXPECT_EQ(memory.usage().reserved, before.reserved);
  EXPECT_EQ(memory.usage().system_allocations, before.system_allocations);
}

TEST(MemoryPlan, IsMadeBeforeTheRun) {
  const std::string error = error_of<OutOfMemory>([] {
    train::Run(test::tiny_config({"model.layers=100", "model.heads=128", "model.width=16384"}));
  });
  for (const char* part : {"out of memory on cpu", "the run needs more", "optimizer", "model.layers"}) {
    EXPECT_HAS(error, part);
  }
}

}  // namespace
}  // namespace monge::train
