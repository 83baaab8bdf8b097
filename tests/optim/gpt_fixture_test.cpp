// A whole model against PyTorch: logits, every gradient and ten AdamW losses (tools/fixtures/make_fixtures.py).
#include <gtest/gtest.h>

#include "core/options/yaml.h"
#include "core/safetensors.h"
#include "nn/gpt.h"
#include "optim/optimizer.h"
#include "support/compare.h"

namespace monge::optim {
namespace {

using autograd::Tape;
using autograd::Var;

constexpr std::int64_t vocab = 37;

struct Case {
  Device device;
  bool bias;
};

/// The model of the fixture with its parameters.
class GptFixture : public testing::TestWithParam<Case> {
 protected:
  GptFixture()
      : file_(std::string(MONGE_SOURCE_DIR "/tests/fixtures/") + (GetParam().bias ? "gpt_bias" : "gpt") +
              ".safetensors"),
        model_(options(), vocab),
        store_(model_, GetParam().device, nn::Precision::float32, 1) {
    for (const auto& entry : store_.entries()) file_.read("param/" + entry.name, store_.value(entry));
  }

  static nn::GptOptions options() {
    nn::GptOptions o;
    o.layers = 2;
    o.heads = 4;
    o.width = 32;
    o.context = 16;
    o.bias = GetParam().bias;
    return o;
  }

  Tensor tensor(const std::string& name) const { return file_.tensor(name, GetParam().device); }
  bool exact() const { return GetParam().device.kind == DeviceKind::reference; }

  double gradients(const Tensor& tokens, const Tensor& targets) {
    store_.clear_grads();
    Tape tape;
    Var loss;
    {
      Tape::Recording recording(tape);
      loss = model_.loss(tokens, targets);
    }
    const double value = loss.value().item();
    tape.backward(loss);
    store_.complete_grads();
    return value;
  }

  SafeTensors file_;
  nn::Gpt model_;
  nn::ParameterStore store_;
};

TEST_P(GptFixture, LogitsAndLossAgree) {
  const Tensor logits = model_.forward(tensor("tokens")).value();
  EXPECT_TRUE(test::close(logits.values(), tensor("logits").values(), exact() ? 1e-6 : 1e-4));
  const double loss = model_.loss(tensor("tokens"), tensor("targets")).value().item();
  EXPECT_NEAR(loss, tensor("loss").item(), exact() ? 1e-9 : 1e-5);
}

TEST_P(GptFixture, EveryParameterGradientAgrees) {
  gradients(tensor("tokens"), tensor("targets"));
  for (const auto& entry : store_.entries()) {
    // The fixture's gradients are stored in f32.
    EXPECT_TRUE(test::close(store_.grad(entry).values(), tensor("grad/" + entry.name).values(), exact() ? 1e-6 : 1e-3))
        << entry.name;
  }
}

TEST_P(GptFixture, TenAdamWLossesAgree) {
  OptimizerOptions options;
  read_yaml_text(
      "{name: adamw, lr: 1e-3, betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.1, clip_norm: 1, schedule: constant}",
      "test", {}, options);
  Optimizer optimizer(options, model_, store_, 10);
  const Tensor tokens = tensor("adamw/tokens"), targets = tensor("adamw/targets");
  const auto losses = tensor("adamw/losses").values(), norms = tensor("adamw/grad_norms").values();
  const Shape batch{tokens.size(1), tokens.size(2)};
  for (std::int64_t step = 1; step <= 10; ++step) {
    const auto i = static_cast<std::size_t>(step - 1);
    const double loss =
        gradients(tokens.slice(step - 1, step).reshape(batch), targets.slice(step - 1, step).reshape(batch));
    optimizer.step(step);
    EXPECT_NEAR(loss, losses[i], (exact() ? 1e-9 : 1e-4) * losses[i]) << "step " << step;
    EXPECT_NEAR(optimizer.control().values()[Control::grad_norm], norms[i], (exact() ? 1e-8 : 1e-3) * norms[i])
        << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(All, GptFixture,
                         testing::Values(Case{test::cpu, false}, Case{test::cpu, true}, Case{test::reference, false},
                                         Case{test::reference, true}),
                         [](const auto& info) {
                           return info.param.device.str() + (info.param.bias ? "_biases" : "_plain");
                         });

}  // namespace
}  // namespace monge::optim
