// K-FAC and EK-FAC against dense Fisher matrices, and the identities of the natural gradient. Expectations over targets
// are exact here: one pass for each target y, seeded with the root of its probability, so that the squares add up to
// the mean.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <functional>

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
using test::random_dense;
using test::reference;
using test::tensor;

/// A step is W -= u: rate 1, no momentum, no averages over measurements.
const std::string plain =
    "name: kfac, lr: 1, weight_decay: 0, betas: [0, 0.95], graft: false, every: 1, refresh: 1, decay: 0";

/// All rows, one after another.
Eigen::VectorXd flat(const Dense& x) { return Eigen::Map<const Eigen::VectorXd>(x.data(), x.size()); }

/// Stacked linear layers, with an activation after all but the last.
struct Net : nn::Module {
  Net(const std::vector<std::int64_t>& widths, Activation activation) {
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      layers.push_back(std::make_unique<nn::Linear>(
          nn::Linear::Options{.in = widths[i],
                              .out = widths[i + 1],
                              .stddev = 0.7,
                              .activation = i + 2 < widths.size() ? activation : Activation::none}));
      add_module(fmt::format("l{}", i), *layers.back());
    }
  }
  Var forward(const Tensor& x) const {
    Var y = x;
    for (const auto& layer : layers) y = layer->forward(y);
    return y;
  }
  std::vector<std::unique_ptr<nn::Linear>> layers;
};

class Rig {
 public:
  Rig(const std::string& yaml, const std::vector<std::int64_t>& widths, Activation activation = Activation::gelu)
      : net(widths, activation),
        store(net, reference, nn::Precision::float32, 3),
        optimizer(read(yaml), net, store, 100) {}

  /// Backward from y = net(x) with `seed` of its shape; what the gradients of the weights are then.
  std::vector<Dense> backward(const Dense& x, const Dense& seed) {
    store.clear_grads();
    Tape tape;
    Var y;
    {
      const Tape::Recording recording(tape);
      y = net.forward(tensor(x));
    }
    tape.backward(y, tensor(seed));
    store.complete_grads();
    std::vector<Dense> out;
    for (const auto& entry : store.entries()) out.push_back(dense(store.grad(entry)));
    return out;
  }
  Dense output(const Dense& x) const { return dense(net.forward(tensor(x)).value()); }

  /// The sampled passes of the next step: backward from x with each of the seeds, which are those of a mean over the
  /// rows of x.
  void measure(const Dense& x, const std::vector<Dense>& seeds) {
    optimizer.begin(steps + 1);
    for (const Dense& seed : seeds) backward(x, seed);
    optimizer.sampled(
        steps + 1, Tensor::from(std::vector<double>{1.0 / static_cast<double>(x.rows())}, {1}, DType::f64, reference));
  }
  /// The change of each weight in a step with gradient `g`: u times the rate.
  std::vector<Dense> step(const std::vector<Dense>& g) {
    std::vector<Dense> before, moved;
    for (std::size_t i = 0; i < g.size(); ++i) {
      const auto& entry = store.entries()[i];
      before.push_back(dense(store.value(entry)));
      store.grad(entry).backend().copy({.from = tensor(g[i]), .to = store.grad(entry)});
    }
    optimizer.step(++steps);
    for (std::size_t i = 0; i < g.size(); ++i) moved.push_back(before[i] - weight(i));
    return moved;
  }
  Dense weight(std::size_t i) const { return dense(store.value(store.entries()[i])); }
  void set_weight(std::size_t i, const Dense& w) {
    store.values().backend().copy({.from = tensor(w), .to = store.value(store.entries()[i])});
  }
  Dense state(const std::string& name) const {
    for (const NamedTensor& s : optimizer.state()) {
      if (s.name == name) return dense(s.value);
    }
    throw std::invalid_argument("no state " + name);
  }

  Net net;
  nn::ParameterStore store;
  Optimizer optimizer;
  std::int64_t steps = 0;

 private:
  static OptimizerOptions read(const std::string& yaml) {
    OptimizerOptions options;
    options.clip_norm = 0.0;
    options.schedule = schedules().choose("constant");
    read_yaml_text("{" + yaml + "}", "test", {}, options);
    return options;
  }
};

Dense softmax(const Dense& z) {
  Dense p = (z.colwise() - z.rowwise().maxCoeff()).array().exp().matrix();
  return p.rowwise().sum().cwiseInverse().asDiagonal() * p;
}

/// For each row n and class y, the gradient of -log p_y of that row with respect to its logits, times sqrt(p_y); rows
/// one by one, so that the Fisher of one target is the mean over rows of the sums over y of the squares.
std::vector<Dense> class_seeds_by_row(const Dense& logits) {
  const Dense p = softmax(logits);
  std::vector<Dense> out;
  for (Eigen::Index n = 0; n < p.rows(); ++n) {
    for (Eigen::Index y = 0; y < p.cols(); ++y) {
      Dense seed = Dense::Zero(p.rows(), p.cols());
      seed.row(n) = p.row(n);
      seed(n, y) -= 1.0;
      seed.row(n) *= std::sqrt(p(n, y));
      out.push_back(seed);
    }
  }
  return out;
}

/// Gaussian targets around each output: the squares of the unit seeds.
std::vector<Dense> unit_seeds_by_row(std::int64_t rows, std::int64_t cols) {
  std::vector<Dense> out;
  for (std::int64_t k = 0; k < rows * cols; ++k) {
    out.push_back(Dense::Zero(rows, cols));
    out.back()(k / cols, k % cols) = 1.0;
  }
  return out;
}

/// The seeds of the mean loss in passes over all rows: those of one class or output at once.
std::vector<Dense> joined(const std::vector<Dense>& by_row) {
  const Eigen::Index rows = by_row.front().rows(), each = static_cast<Eigen::Index>(by_row.size()) / rows;
  std::vector<Dense> out(static_cast<std::size_t>(each), Dense::Zero(rows, by_row.front().cols()));
  for (std::size_t k = 0; k < by_row.size(); ++k) {
    out[k % static_cast<std::size_t>(each)] += by_row[k] / static_cast<double>(rows);
  }
  return out;
}

/// The Fisher matrix of one weight, dense: the mean over rows of the sum of squares of its gradients.
Dense dense_fisher(Rig& rig, const Dense& x, const std::vector<Dense>& seeds_by_row, std::size_t weight) {
  Dense f;
  for (const Dense& seed : seeds_by_row) {
    const Eigen::VectorXd g = flat(rig.backward(x, seed)[weight]);
    if (f.size() == 0) f = Dense::Zero(g.size(), g.size());
    f += g * g.transpose() / static_cast<double>(x.rows());
  }
  return f;
}

/// (F + damping mean(diagonal of F) I)^-1 g
Dense natural(const Dense& f, const Dense& g, double damping) {
  const Dense damped = f + damping * f.trace() / static_cast<double>(f.rows()) * Dense::Identity(f.rows(), f.cols());
  const Eigen::VectorXd u = damped.ldlt().solve(flat(g));
  return Eigen::Map<const Dense>(u.data(), g.rows(), g.cols());
}

std::vector<Dense> random_gradients(const Rig& rig) {
  std::vector<Dense> out;
  for (const auto& entry : rig.store.entries()) {
    out.push_back(random_dense(entry.shape[0], entry.shape[1], 50 + static_cast<std::uint64_t>(out.size())));
  }
  return out;
}

/// The largest error of the step's u against the dense natural gradient, over the weights.
double error_against_dense(const std::vector<std::int64_t>& widths, Activation activation, std::int64_t rows,
                           bool classes) {
  Rig rig(plain + ", damping: 0.05", widths, activation);
  const Dense x = random_dense(rows, widths.front(), 7);
  const std::vector<Dense> seeds = classes ? class_seeds_by_row(rig.output(x)) : unit_seeds_by_row(rows, widths.back());
  std::vector<Dense> expected;
  const std::vector<Dense> g = random_gradients(rig);
  for (std::size_t i = 0; i < g.size(); ++i) expected.push_back(natural(dense_fisher(rig, x, seeds, i), g[i], 0.05));
  rig.measure(x, joined(seeds));
  const std::vector<Dense> u = rig.step(g);
  double worst = 0.0;
  for (std::size_t i = 0; i < g.size(); ++i) worst = std::max(worst, difference(u[i], expected[i]));
  return worst;
}

TEST(Kfac, IsExactForOneInput) { EXPECT_LT(error_against_dense({3, 4, 5}, Activation::gelu, 1, true), 1e-9); }

TEST(Kfac, IsExactForDeepLinearNets) { EXPECT_LT(error_against_dense({3, 4, 2, 5}, Activation::none, 9, false), 1e-9); }

// The comparison of the two tests above can fail: it finds the error where K-FAC is only an approximation.
TEST(Kfac, IsAnApproximationOtherwise) {
  EXPECT_GT(error_against_dense({3, 4, 5}, Activation::gelu, 9, true), 1e-2);
  EXPECT_GT(error_against_dense({3, 4, 5}, Activation::gelu, 9, false), 1e-3);
}

TEST(Kfac, OneFactorAlone) {
  const Dense x = random_dense(20, 3, 7), seed = random_dense(20, 5, 8) / 20.0, g = random_dense(5, 3, 9);
  const Dense a = x.transpose() * x / 20.0, b = 20.0 * seed.transpose() * seed;
  const auto step = [&](const std::string& factors) {
    Rig rig(plain + ", damping: 0.1, factors: " + factors, {3, 5});
    rig.measure(x, {seed});
    return rig.step({g})[0];
  };
  const Dense by_input = g * (a + 0.1 * a.trace() / 3.0 * Dense::Identity(3, 3)).inverse();
  const Dense by_output = (b + 0.1 * b.trace() / 5.0 * Dense::Identity(5, 5)).inverse() * g;
  EXPECT_LT(difference(step("input"), by_input), 1e-10);
  EXPECT_LT(difference(step("output"), by_output), 1e-10);
}

// A side longer than max_dim has no factor: here the output.
TEST(Kfac, LongSidesHaveNoFactor) {
  const Dense x = random_dense(20, 3, 7), seed = random_dense(20, 5, 8) / 20.0, g = random_dense(5, 3, 9);
  Rig all(plain + ", factors: input", {3, 5}), some(plain + ", max_dim: 4", {3, 5});
  all.measure(x, {seed});
  some.measure(x, {seed});
  EXPECT_LT(difference(some.step({g})[0], all.step({g})[0]), 1e-14);
}

TEST(Kfac, MuchDampingIsGradientDescent) {
  const Dense x = random_dense(20, 3, 7), seed = random_dense(20, 5, 8), g = random_dense(5, 3, 9);
  Rig rig("name: kfac, lr: 1.0e+9, weight_decay: 0, betas: [0, 0.95], graft: false, damping: 1.0e+9", {3, 5});
  rig.measure(x, {seed});
  const Dense u = rig.step({g})[0];
  EXPECT_LT(difference(u * (g.norm() / u.norm()), g), 1e-8);
}

// A shift of all logits changes no prediction: G has no curvature in this direction, so the damping alone matters
// there.
TEST(Kfac, DampingDecidesWhereThereIsNoCurvature) {
  Rig rig(plain + ", damping: 0.1", {3, 5});
  const Dense x = random_dense(9, 3, 7), g = Dense::Ones(5, 1) * random_dense(1, 3, 9);
  rig.measure(x, joined(class_seeds_by_row(rig.output(x))));
  const Dense u = rig.step({g})[0];
  const double curvature =
      rig.state("kfac.l0.weight.output").trace() * rig.state("kfac.l0.weight.input").trace() / 15.0;
  EXPECT_GT(curvature, 1e-3);
  EXPECT_LT(difference(u, g / (0.1 * curvature)), 1e-9);
}

// The layer N W M^-1 on inputs M x computes N (W x): without damping a step leads to the same function for both.
TEST(Kfac, DoesNotDependOnTheBasis) {
  const Dense m = random_dense(3, 3, 1) + 3.0 * Dense::Identity(3, 3);
  const Dense n = random_dense(5, 5, 2) + 3.0 * Dense::Identity(5, 5);
  const Dense x = random_dense(20, 3, 7), seed = random_dense(20, 5, 8), g = random_dense(5, 3, 9);
  const auto steps = [&](const std::string& yaml) {
    Rig rig(yaml, {3, 5}), other(yaml, {3, 5});
    rig.measure(x, {seed});
    other.measure(x * m.transpose(), {seed * n.inverse()});
    const Dense u = rig.step({g})[0];
    const Dense v = other.step({n.inverse().transpose() * g * m.transpose()})[0];
    return difference(n.inverse() * v * m, u);
  };
  EXPECT_LT(steps(plain + ", damping: 0"), 1e-8);
  EXPECT_GT(steps(plain + ", damping: 0.5"), 1e-2);
  EXPECT_GT(steps("name: sgd, lr: 1, weight_decay: 0, momentum: 0"), 1e-2);
}

TEST(Kfac, SolvesLeastSquaresInOneStep) {
  Rig rig(plain + ", damping: 0", {3, 5});
  const Dense x = random_dense(20, 3, 7), solution = random_dense(5, 3, 9);
  rig.measure(x, joined(unit_seeds_by_row(20, 5)));
  rig.step(rig.backward(x, (rig.output(x) - x * solution.transpose()) / 20.0));
  EXPECT_LT(difference(rig.weight(0), solution), 1e-10);
}

double kl(const Dense& p, const Dense& q) {
  return (p.array() * (p.array() / q.array()).log()).sum() / static_cast<double>(p.rows());
}

// One layer under a softmax: the Fisher matrix of one input is G (x) A, so the limit is that of the KL divergence.
TEST(Kfac, KlClipLimitsTheChangeOfThePredictions) {
  const Dense x = random_dense(1, 3, 7), g = random_dense(5, 3, 9);
  for (const double limit : {1e-6, 1e-4}) {
    Rig rig(plain + fmt::format(", damping: 1.0e-6, kl_clip: {}", limit), {3, 5});
    const Dense before = softmax(rig.output(x));
    const std::vector<Dense> seeds = class_seeds_by_row(rig.output(x));
    rig.measure(x, joined(seeds));
    Dense toward = before;  // the gradient of a target
    toward(0, 2) -= 1.0;
    rig.step(rig.backward(x, toward));
    const double change = kl(before, softmax(rig.output(x)));
    EXPECT_LE(change, 0.5 * limit * 1.02);
    EXPECT_GE(change, 0.5 * limit * 0.95);
  }
  // Nothing to limit: the step is that without a limit.
  Rig limited(plain + ", kl_clip: 1.0e+9", {3, 5}), free(plain, {3, 5});
  for (Rig* rig : {&limited, &free}) rig->measure(x, joined(class_seeds_by_row(rig->output(x))));
  EXPECT_LT(difference(limited.step({g})[0], free.step({g})[0]), 1e-14);
}

TEST(Kfac, GraftedStepsHaveTheLengthOfAdamW) {
  Rig rig("name: kfac, lr: 0.1, weight_decay: 0, betas: [0.9, 0.95], every: 1, refresh: 1", {3, 5});
  Rig adamw("name: adamw, lr: 0.1, weight_decay: 0, betas: [0.9, 0.95]", {3, 5});
  const Dense x = random_dense(20, 3, 7);
  for (std::uint64_t t = 0; t < 5; ++t) {
    const Dense g = random_dense(5, 3, 60 + t);
    rig.measure(x, {random_dense(20, 5, 80 + t)});
    const Dense u = rig.step({g})[0], v = adamw.step({g})[0];
    EXPECT_NEAR(u.norm(), v.norm(), 1e-12);
    EXPECT_GT(difference(u, v), 0.05);
  }
}

TEST(Kfac, GoesWithTransforms) {
  const std::string yaml = "name: kfac, lr: 0.1, weight_decay: 0, every: 2, refresh: 1";
  Rig alone(yaml, {3, 5}), chained(yaml + ", chain: [{kind: cautious_decay}]", {3, 5});
  for (std::uint64_t t = 0; t < 5; ++t) {
    for (Rig* rig : {&alone, &chained}) {
      if (t % 2 == 0) rig->measure(random_dense(20, 3, 7 + t), {random_dense(20, 5, 80 + t)});
      rig->step({random_dense(5, 3, 60 + t)});
    }
  }
  EXPECT_LT(difference(chained.weight(0), alone.weight(0)), 1e-12);
}

// In the bases of the step before, S is the diagonal of the exact Fisher matrix; that of K-FAC is not.
TEST(Ekfac, MeasuresTheDiagonalOfTheFisherMatrix) {
  const Dense x = random_dense(9, 3, 7);
  const auto error = [&](const std::string& name) {
    Rig rig(fmt::format("name: {}, weight_decay: 0, graft: false, every: 1, refresh: 2, decay: 0", name), {3, 4, 5});
    const std::vector<Dense> seeds = class_seeds_by_row(rig.output(x));
    const std::vector<Dense> still{Dense::Zero(4, 3), Dense::Zero(5, 4)};
    for (int t = 0; t < 4; ++t) {  // the fourth measurement is the first that computes no bases
      rig.measure(x, joined(seeds));
      rig.step(still);
    }
    double worst = 0.0;
    for (std::size_t i = 0; i < 2; ++i) {
      const std::string weight = fmt::format("{}.l{}.weight.", name, i);
      const Dense qa = rig.state(weight + "input_basis"), qg = rig.state(weight + "output_basis");
      const Dense f = dense_fisher(rig, x, seeds, i), s = rig.state(weight + "spectrum");
      Dense expected(s.rows(), s.cols());
      for (Eigen::Index r = 0; r < s.rows(); ++r) {
        for (Eigen::Index c = 0; c < s.cols(); ++c) {
          const Eigen::VectorXd along = flat(qg.col(r) * qa.col(c).transpose());
          expected(r, c) = along.dot(f * along);
        }
      }
      worst = std::max(worst, difference(s, expected));
    }
    return worst;
  };
  EXPECT_LT(error("ekfac"), 1e-10);
  EXPECT_GT(error("kfac"), 1e-2);
}

// With new eigenvectors at every measurement it could measure along none of them.
TEST(Ekfac, RefusesToBeKfac) {
  EXPECT_HAS(error_of([] { Rig("name: ekfac, refresh: 1", {3, 5}); }), "with 1 it would be kfac");
}

// Measurements at steps 1, 3, 5, ...; bases at the first two, then at every second one.
TEST(Kfac, ComputesBasesAsOftenAsAsked) {
  Rig rig("name: kfac, every: 2, refresh: 2", {3, 5});
  std::vector<int> measured, changed;
  Dense last = rig.state("kfac.l0.weight.input_basis");
  for (int step = 1; step <= 12; ++step) {
    if (rig.optimizer.samples(step)) {
      measured.push_back(step);
      rig.measure(random_dense(20, 3, static_cast<std::uint64_t>(step)), {random_dense(20, 5, 8)});
    }
    rig.step({random_dense(5, 3, 9)});
    const Dense now = rig.state("kfac.l0.weight.input_basis");
    if (now != last) changed.push_back(step);
    last = now;
  }
  EXPECT_EQ(measured, (std::vector<int>{1, 3, 5, 7, 9, 11}));
  EXPECT_EQ(changed, (std::vector<int>{1, 3, 5, 9}));
  EXPECT_DOUBLE_EQ(rig.optimizer.passes_per_step(), 1.5);
}

// Averages over measurements are bias-corrected: repeating the same measurement changes nothing.
TEST(Kfac, AveragesAreWithoutBias) {
  const Dense x = random_dense(20, 3, 7), seed = random_dense(20, 5, 8), g = random_dense(5, 3, 9);
  Rig rig("name: kfac, lr: 1, weight_decay: 0, betas: [0, 0.95], graft: false, every: 1, refresh: 1, decay: 0.9",
          {3, 5});
  std::vector<Dense> steps;
  for (int t = 0; t < 3; ++t) {
    rig.measure(x, {seed});
    steps.push_back(rig.step({g})[0]);
  }
  EXPECT_LT(difference(steps[1], steps[0]), 1e-9);
  EXPECT_LT(difference(steps[2], steps[0]), 1e-9);
}

// 25,000 targets drawn from the predictions of a layer give its G = mean of diag(p) - p p^T, within five
// standard deviations of at most 0.5 / sqrt(25000).
TEST(Kfac, DrawnTargetsEstimateTheExactFactor) {
  constexpr std::int64_t N = 25000;
  Rig rig(plain, {3, 5});
  Dense x(N, 3);
  const Dense kinds = random_dense(4, 3, 7);
  for (Eigen::Index n = 0; n < N; ++n) x.row(n) = kinds.row(n % 4);
  rig.optimizer.begin(1);
  Tape tape;
  Var loss;
  {
    const Tape::Recording recording(tape);
    const Var logits = rig.net.forward(tensor(x));
    const Tensor targets = Tensor::zeros({N}, DType::i32, reference, Pool::data);
    targets.backend().sample_targets(
        {.logits = logits.value(), .random = {.seed = 1, .stream = 2}, .targets = targets});
    loss = autograd::cross_entropy(logits, targets);
  }
  tape.backward(loss);
  rig.optimizer.sampled(1, Tensor::from(std::vector<double>{1.0 / N}, {1}, DType::f64, reference));
  const Dense p = softmax(rig.output(kinds));
  Dense expected = Dense::Zero(5, 5);
  for (Eigen::Index k = 0; k < 4; ++k) {
    expected += 0.25 * (Dense(p.row(k).asDiagonal()) - p.row(k).transpose() * p.row(k));
  }
  EXPECT_LT((rig.state("kfac.l0.weight.output") - expected).cwiseAbs().maxCoeff(), 5 * 0.5 / std::sqrt(25000.0));
  EXPECT_GT(expected.cwiseAbs().maxCoeff(), 0.1);
}

// W_q, W_k and W_v share one A and have a G each, and each head one with per_head.
TEST(Kfac, JointProjectionsShareTheirInput) {
  const auto states = [](const std::string& yaml) {
    nn::GptOptions options;
    options.layers = 1;
    options.width = 8;
    options.heads = 2;
    nn::Gpt gpt(options, 11);
    nn::ParameterStore store(gpt, reference, nn::Precision::float32, 1);
    OptimizerOptions read;
    read_yaml_text("{" + yaml + "}", "test", {}, read);
    std::vector<std::string> names;
    for (const NamedTensor& s : Optimizer(read, gpt, store, 10).state()) {
      if (s.name.find("attention.qkv") != std::string::npos && s.name.find("put") != std::string::npos &&
          s.name.find("basis") == std::string::npos) {
        names.push_back(s.name.substr(std::string("kfac.blocks.0.attention.qkv.weight.").size()));
      }
    }
    return names;
  };
  EXPECT_EQ(states("name: kfac"), (std::vector<std::string>{"input", "q.output", "k.output", "v.output"}));
  EXPECT_EQ(states("name: kfac, per_head: true").size(), 7);
}

struct OwnMatrix : nn::Module {
  OwnMatrix() { add_parameter("table", {3, 4}, nn::Role::matrix, nn::Init::normal(1.0)); }
};

TEST(Kfac, WantsLinearLayers) {
  OwnMatrix model;
  nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
  OptimizerOptions options;
  read_yaml_text("{name: kfac}", "test", {}, options);
  const std::string message = error_of([&] { Optimizer(options, model, store, 10); });
  EXPECT_HAS(message, "table is not the weight of an nn::Linear");
}

}  // namespace
}  // namespace monge::optim
