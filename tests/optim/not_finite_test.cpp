// The promise of optimizer.h: a gradient that is not finite changes no parameter and no state, in whatever step it
// comes. For every rule, transform and attention update in the registries, on a small model.
#include <gtest/gtest.h>

#include <cmath>

#include "core/backend.h"
#include "core/options/yaml.h"
#include "nn/gpt.h"
#include "optim/optimizer.h"
#include "support/compare.h"

namespace monge::optim {
namespace {

using Values = std::vector<std::vector<double>>;

constexpr std::int64_t vocab = 11;

class Run {
 public:
  Run(const std::string& yaml, Device device)
      : model_(options(), vocab),
        store_(model_, device, nn::Precision::float32, 1),
        optimizer_(read(yaml), model_, store_, 100) {}

  /// Both passes of a step. With `bad`, one element of the gradients of each becomes that number.
  void step(std::int64_t number, double bad = 0.0) {
    optimizer_.begin(number);
    if (optimizer_.samples(number)) {
      pass(number, bad);
      optimizer_.sampled(
          number, Tensor::from(std::vector<double>{1.0 / 18}, {1}, store_.values().dtype(), store_.values().device()));
    }
    pass(number, bad);
    optimizer_.step(number);
  }

  /// Everything that a checkpoint holds.
  Values everything() const {
    Values out{store_.values().values()};
    for (const NamedTensor& s : optimizer_.state()) {
      if (s.name != "trained") out.push_back(s.value.values());  // a buffer, filled by an evaluation
    }
    return out;
  }

 private:
  static nn::GptOptions options() {
    nn::GptOptions o;
    o.layers = 1;
    o.heads = 2;
    o.width = 8;
    o.context = 6;
    return o;
  }
  static OptimizerOptions read(const std::string& yaml) {
    OptimizerOptions o;
    read_yaml_text("{lr: 0.01, " + yaml + "}", "test", {}, o);
    return o;
  }

  void pass(std::int64_t number, double bad) {
    store_.clear_grads();
    autograd::Tape tape;
    autograd::Var loss;
    {
      const autograd::Tape::Recording recording(tape);
      const auto seed = static_cast<std::uint64_t>(2 * number);
      loss = model_.loss(ids(seed), ids(seed + 1));
    }
    tape.backward(loss);
    store_.complete_grads();
    if (bad == 0.0) return;
    for (const auto& entry : store_.entries()) {  // some elements of each, as after an overflow in the backward pass
      store_.grads().backend().fill({.x = store_.grads().slice(entry.begin, entry.begin + 2), .value = bad});
    }
  }

  Tensor ids(std::uint64_t seed) const { return test::random_ids({3, 6}, vocab, seed, store_.values().device()); }

  nn::Gpt model_;
  nn::ParameterStore store_;
  Optimizer optimizer_;
};

/// Each of the first steps is tried with bad gradients, then taken with good ones.
void expect_nothing_changes(const std::string& yaml) {
  Run run(yaml, test::cpu);
  for (std::int64_t step = 1; step <= 13; ++step) {
    const Values before = run.everything();
    run.step(step, step % 2 == 0 ? HUGE_VAL : std::nan(""));
    ASSERT_EQ(run.everything(), before) << yaml << ", step " << step;
    run.step(step);
    ASSERT_NE(run.everything(), before) << yaml << ", step " << step;
  }
}

TEST(NotFinite, ChangesNothingUnderAnyRule) {
  for (const std::string& name : rules().names()) expect_nothing_changes("name: " + name);
  for (const std::string& name : base_rules().names()) expect_nothing_changes("name: muon, base: {name: " + name + "}");
  expect_nothing_changes("name: shampoo, graft: false");
  expect_nothing_changes("name: kfac, graft: false, kl_clip: 1.0e-4");
  expect_nothing_changes("name: adafactor, relative: true");
}

TEST(NotFinite, ChangesNothingUnderAnyTransform) {
  for (const char* rule : {"adamw", "muon", "soap"}) {
    for (const std::string& kind : transforms().names()) {
      expect_nothing_changes(fmt::format("name: {}, chain: [{{kind: {}}}]", rule, kind));
    }
  }
  expect_nothing_changes("name: adamw, chain: [{kind: mars}, {kind: cautious}, {kind: ema, start: 5}]");
}

TEST(NotFinite, ChangesNothingUnderAnyAttentionUpdate) {
  for (const std::string& update : attention_updates().names()) {
    expect_nothing_changes(fmt::format("name: adamw, attention: {{update: {}}}", update));
  }
  expect_nothing_changes("name: adamw, attention: {update: scaled, factor: 1.7}");
}

}  // namespace
}  // namespace monge::optim
