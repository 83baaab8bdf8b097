// The model of examples/custom_model: its gradients, its state, and its runs.
#include "../../examples/custom_model/averages.h"

#include <gtest/gtest.h>

#include "nn/cache_check.h"
#include "support/compare.h"
#include "support/tiny_run.h"

namespace averages {
namespace {

using monge::DType;
using monge::test::cpu;
using monge::test::random_ids;
using monge::test::reference;
using nn::ParameterStore;
using nn::Precision;

constexpr std::int64_t V = 7, T = 9;

AveragesOptions small() {
  AveragesOptions o;
  o.layers = 2;
  o.width = 8;
  o.context = T;
  return o;
}

TEST(Averages, GradientsAgreeWithCentralDifferences) {
  AveragesModel model(small(), V);
  ParameterStore store(model, reference, Precision::float32, 1);
  store.values().backend().scale(
      {.x = store.values(), .factor = 10.0, .out = store.values()});  // or gradients are lost in rounding
  const nn::Batch batch{{"tokens", random_ids({2, T}, V, 2)}, {"targets", random_ids({2, T}, V, 3)}};
  autograd::Tape tape;
  Var loss;
  {
    const autograd::Tape::Recording recording(tape);
    loss = model.loss(batch);
  }
  tape.backward(loss);
  const std::vector<double> gradients = store.grads().values();
  std::vector<double> values = store.values().values();
  const auto loss_at = [&](std::size_t i, double x) {
    std::vector<double> changed = values;
    changed[i] = x;
    store.values().backend().copy_from_host({.from = changed.data(), .to = store.values()});
    return model.loss(batch).value().item();
  };
  constexpr double h = 2e-5;
  for (const auto& e : store.entries()) {
    for (int k = 0; k < 3; ++k) {
      const auto i = static_cast<std::size_t>(e.begin + (k * 7919) % e.shape.numel());
      const auto difference = [&](double step) { return loss_at(i, values[i] + step) - loss_at(i, values[i] - step); };
      EXPECT_NEAR(gradients[i], (8 * difference(h) - difference(2 * h)) / (12 * h), 1e-8) << e.name;  // exact to h^4
    }
  }
}

TEST(Averages, TheStateStandsForAllTokensBefore) {
  for (const monge::Device device : {reference, cpu}) {
    AveragesModel model(small(), V);
    ParameterStore store(model, device, Precision::float32, 1, /*trainable=*/false);
    store.values().backend().scale({.x = store.values(), .factor = 10.0, .out = store.values()});
    const monge::nn::CacheCheck check =
        monge::nn::cache_check(model, random_ids({2, T}, V, 2, device), store.values().dtype());
    EXPECT_TRUE(check.ok) << check.message;
  }
}

TEST(Averages, ARunStopsResumesAndIsSampledBeyondItsContext) {
  add_averages();
  const monge::test::TempDirectory dir;
  const std::vector<std::string> kind{"model={kind: averages, width: 16, context: 8, dropout: 0.1}",
                                      "train.sample_tokens=50", "train.head_chunk=10"};
  monge::test::train_tiny(dir / "whole", kind);
  monge::test::train_tiny(dir / "parts", kind, false, 7);
  monge::test::train_tiny(dir / "parts", kind, true);
  monge::test::expect_same_run(dir / "whole", dir / "parts", 20);
  EXPECT_EQ(monge::test::read_file(dir / "whole/sample.txt").size(), 1u + 50u + 1u);
}

}  // namespace
}  // namespace averages
