// Newton-Muon against its formula in plain dense loops, and the cases in which it is Muon.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "autograd/ops.h"
#include "core/options/yaml.h"
#include "nn/gpt.h"
#include "nn/layers.h"
#include "optim/optimizer.h"
#include "support/dense.h"
#include "support/expect_error.h"

namespace monge::optim {
namespace {

using autograd::Tape;
using autograd::Var;
using test::Dense;
using test::dense;
using test::difference;
using test::polar_factor;
using test::random_dense;
using test::reference;
using test::tensor;

/// relu(x W1^T) W2^T, with 3, 5 and 2 numbers.
struct Net : nn::Module {
  Net() {
    add_module("first", first);
    add_module("second", second);
  }
  nn::Linear first{{.in = 3, .out = 5, .stddev = 0.7, .activation = Activation::relu}};
  nn::Linear second{{.in = 5, .out = 2, .stddev = 0.7}};
};

class Rig {
 public:
  explicit Rig(const std::string& yaml)
      : store_(net_, reference, nn::Precision::float32, 3), optimizer_(read(yaml), net_, store_, 100) {}

  /// A step with the gradients of forward passes over each of `batches`, y weighted by random numbers.
  void step(const std::vector<Dense>& batches) {
    const std::int64_t number = ++steps_;
    optimizer_.begin(number);
    store_.clear_grads();
    for (const Dense& x : batches) {
      Tape tape;
      Var y;
      {
        const Tape::Recording recording(tape);
        y = net_.second.forward(net_.first.forward(tensor(x)));
      }
      tape.backward(y, tensor(random_dense(x.rows(), 2, static_cast<std::uint64_t>(100 + number))));
    }
    store_.complete_grads();
    gradients = {gradient(0), gradient(1)};
    optimizer_.step(number);
  }
  Dense weight(std::size_t i) const { return dense(store_.value(entry(i))); }
  /// What goes into the second layer.
  Dense hidden(const Dense& x) const { return (x * weight(0).transpose()).cwiseMax(0.0); }
  const Optimizer& optimizer() const { return optimizer_; }

  std::vector<Dense> gradients;  // of the last step

 private:
  const nn::ParameterStore::Entry& entry(std::size_t i) const { return store_.entries()[i]; }
  Dense gradient(std::size_t i) const { return dense(store_.grad(entry(i))); }
  static OptimizerOptions read(const std::string& yaml) {
    OptimizerOptions options;
    options.clip_norm = 0.0;
    options.schedule = schedules().choose("constant");
    read_yaml_text("{" + yaml + "}", "test", {}, options);
    return options;
  }

  Net net_;
  nn::ParameterStore store_;
  Optimizer optimizer_;
  std::int64_t steps_ = 0;
};

const std::string settings = "lr: 0.1, weight_decay: 0.3, momentum: 0.8, iterations: 0, scale: keller";

Dense batch(int step, std::int64_t rows = 7) { return random_dense(rows, 3, static_cast<std::uint64_t>(step)); }

// Two passes in a step, of lengths that differ from step to step: K is the mean over all positions, of the steps that
// measure alone.
TEST(NewtonMuon, FollowsItsFormula) {
  Rig rig("name: newton_muon, damping: 0.3, every: 3, decay: 0.6, " + settings);
  std::vector<Dense> average{Dense::Zero(3, 3), Dense::Zero(5, 5)}, momentum{Dense::Zero(5, 3), Dense::Zero(2, 5)};
  std::vector<Dense> inverse(2);
  int measurements = 0;
  for (int t = 1; t <= 8; ++t) {
    const std::vector<Dense> passes{batch(t), batch(50 + t, t + 1)};
    std::vector<Dense> weights{rig.weight(0), rig.weight(1)}, seen{Dense::Zero(3, 3), Dense::Zero(5, 5)};
    for (const Dense& x : passes) {
      seen[0] += x.transpose() * x / (8.0 + t);
      seen[1] += rig.hidden(x).transpose() * rig.hidden(x) / (8.0 + t);
    }
    rig.step(passes);
    if (t % 3 == 1) ++measurements;
    for (std::size_t i = 0; i < 2; ++i) {
      if (t % 3 == 1) {
        average[i] = 0.6 * average[i] + 0.4 * seen[i];
        const Dense k = average[i] / (1.0 - std::pow(0.6, measurements));
        const Dense one = Dense::Identity(k.rows(), k.cols());
        inverse[i] = (k + 0.3 * k.trace() / static_cast<double>(k.rows()) * one).inverse();
      }
      const Dense g = rig.gradients[i] * inverse[i];
      momentum[i] = 0.8 * momentum[i] + 0.2 * g;
      const double scale = std::sqrt(std::max(1.0, static_cast<double>(g.rows()) / static_cast<double>(g.cols())));
      const Dense expected = (1 - 0.1 * 0.3) * weights[i] - 0.1 * scale * polar_factor(0.8 * momentum[i] + 0.2 * g);
      EXPECT_LT(difference(rig.weight(i), expected), 1e-9) << t << " " << i;
    }
  }
  EXPECT_EQ(measurements, 3);
}

// X^T X / N = I: there is nothing to divide by, and no damping changes a direction.
TEST(NewtonMuon, IsMuonForWhiteInputs) {
  const Dense q = Eigen::HouseholderQR<Dense>(batch(1)).householderQ() * Dense::Identity(7, 3);
  const Dense white = std::sqrt(7.0) * q;
  const auto first_layer = [](const std::string& name, const Dense& x) {
    Rig rig(fmt::format("name: {}, {}", name, settings));
    rig.step({x});
    return rig.weight(0);
  };
  const std::string newton = "newton_muon, damping: 0.7";
  EXPECT_LT(difference(first_layer(newton, white), first_layer("muon", white)), 1e-10);
  EXPECT_GT(difference(first_layer(newton, batch(1)), first_layer("muon", batch(1))), 1e-3);
}

TEST(NewtonMuon, LeavesMatricesWithLongRowsToMuon) {
  Rig newton("name: newton_muon, max_dim: 4, " + settings), muon("name: muon, " + settings);
  newton.step({batch(1)});
  muon.step({batch(1)});
  EXPECT_EQ(newton.weight(1), muon.weight(1));
  EXPECT_NE(newton.weight(0), muon.weight(0));
  bool said = false;
  for (const std::string& note : newton.optimizer().notes()) said |= note.find("1 of 2 matrices") != std::string::npos;
  EXPECT_TRUE(said);
}

TEST(NewtonMuon, NeedsNoExtraPass) {
  const Rig rig("name: newton_muon, every: 3, " + settings);
  for (std::int64_t step = 1; step <= 6; ++step) {
    EXPECT_FALSE(rig.optimizer().samples(step));
    EXPECT_EQ(rig.optimizer().repeats(step), step % 3 != 1) << step;
  }
}

// W_q, W_k and W_v share one K, head by head as well.
TEST(NewtonMuon, JointProjectionsShareTheirInput) {
  for (const char* yaml : {"{name: newton_muon}", "{name: newton_muon, per_head: true}"}) {
    nn::GptOptions options;
    options.layers = 1;
    options.width = 8;
    options.heads = 2;
    nn::Gpt gpt(options, 11);
    nn::ParameterStore store(gpt, reference, nn::Precision::float32, 1);
    OptimizerOptions read;
    read_yaml_text(yaml, "test", {}, read);
    std::vector<std::string> names;
    for (const NamedTensor& s : Optimizer(read, gpt, store, 10).state()) {
      if (s.name.find("input") != std::string::npos) names.push_back(s.name);
    }
    ASSERT_EQ(names.size(), 2 * 4) << yaml;
    EXPECT_NE(std::ranges::find(names, "newton_muon.blocks.0.attention.qkv.weight.input"), names.end());
    EXPECT_NE(std::ranges::find(names, "newton_muon.blocks.0.mlp.down.weight.input_inverse"), names.end());
  }
}

struct OwnMatrix : nn::Module {
  OwnMatrix() { add_parameter("table", {3, 4}, nn::Role::matrix, nn::Init::normal(1.0)); }
};

TEST(NewtonMuon, WantsLinearLayers) {
  OwnMatrix model;
  nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
  OptimizerOptions options;
  read_yaml_text("{name: newton_muon}", "test", {}, options);
  EXPECT_HAS(error_of([&] { Optimizer(options, model, store, 10); }), "table is not the weight of an nn::Linear");
  EXPECT_HAS(error_of([] {
               OptimizerOptions bad;
               read_yaml_text("{name: newton_muon, decay: 1}", "test", {}, bad);
             }),
             "must be below 1");
}

}  // namespace
}  // namespace monge::optim
