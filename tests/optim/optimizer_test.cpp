// Update rules against plain double loops; groups, clipping, the guard against non-finite gradients.
#include "optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "core/backend.h"
#include "core/error.h"
#include "core/options/yaml.h"
#include "support/compare.h"

namespace monge::optim {
namespace {

using test::cpu;
using test::reference;

/// One parameter of each role.
class Toy : public nn::Module {
 public:
  Toy() {
    add_parameter("weight", {3, 5}, nn::Role::matrix, nn::Init::normal(1.0));
    add_parameter("table", {7, 2}, nn::Role::embedding, nn::Init::normal(1.0));
    add_parameter("gain", {4}, nn::Role::gain, nn::Init::constant(1.0));
    add_parameter("bias", {3}, nn::Role::bias, nn::Init::constant(0.5));
  }
};

OptimizerOptions parse(const std::string& yaml) {
  OptimizerOptions options;
  read_yaml_text(yaml, "test", {}, options);
  return options;
}

/// Values of all parameters after `steps` updates with gradients drawn by (seed, step).
std::map<std::string, std::vector<double>> run(const std::string& yaml, Device device, int steps,
                                               double gradient_scale = 1.0) {
  Toy toy;
  nn::ParameterStore store(toy, device, nn::Precision::float32, 1);
  Optimizer optimizer(parse(yaml), toy, store, 100);
  for (int step = 1; step <= steps; ++step) {
    for (const auto& e : store.entries()) {
      auto g = test::random_values(e.shape.numel(), static_cast<std::uint64_t>(step * 100 + e.shape.numel()));
      for (double& x : g) x *= gradient_scale;
      store.grad(e).backend().copy(
          {.from = Tensor::from(g, e.shape, store.grads().dtype(), device), .to = store.grad(e)});
    }
    optimizer.step(step);
  }
  std::map<std::string, std::vector<double>> out;
  for (const auto& e : store.entries()) out[e.name] = store.value(e).values();
  return out;
}

/// The same by the formulas, element by element. `update(p, g, m, v, step)` returns the new p.
template <class Formula>
std::map<std::string, std::vector<double>> by_hand(int steps, Formula update) {
  Toy toy;
  nn::ParameterStore store(toy, reference, nn::Precision::float32, 1);
  std::map<std::string, std::vector<double>> out;
  for (const auto& e : store.entries()) {
    auto p = store.value(e).values();
    const bool decays = e.role == nn::Role::matrix || e.role == nn::Role::embedding;
    std::vector<double> m(p.size(), 0.0), v(p.size(), 0.0);
    for (int step = 1; step <= steps; ++step) {
      const auto g = test::random_values(e.shape.numel(), static_cast<std::uint64_t>(step * 100 + e.shape.numel()));
      for (std::size_t i = 0; i < p.size(); ++i) p[i] = update(p[i], g[i], m[i], v[i], step, decays);
    }
    out[e.name] = p;
  }
  return out;
}

void expect_close(const std::map<std::string, std::vector<double>>& got,
                  const std::map<std::string, std::vector<double>>& expected, double tolerance) {
  for (const auto& [name, values] : expected) EXPECT_TRUE(test::close(got.at(name), values, tolerance)) << name;
}

TEST(AdamW, TwentyStepsFollowTheFormula) {
  const std::string yaml =
      "{name: adamw, lr: 0.01, betas: [0.8, 0.95], eps: 1e-6, weight_decay: 0.3, clip_norm: 0, schedule: constant}";
  const auto expected = by_hand(20, [](double p, double g, double& m, double& v, int t, bool decays) {
    m = 0.8 * m + 0.2 * g;
    v = 0.95 * v + 0.05 * g * g;
    const double mh = m / (1 - std::pow(0.8, t)), vh = v / (1 - std::pow(0.95, t));
    return (1 - 0.01 * (decays ? 0.3 : 0.0)) * p - 0.01 * mh / (std::sqrt(vh) + 1e-6);
  });
  expect_close(run(yaml, reference, 20), expected, 1e-12);
  expect_close(run(yaml, cpu, 20), expected, 1e-5);
}

TEST(Sgd, TwentyStepsFollowTheFormula) {
  for (const bool nesterov : {false, true}) {
    const std::string yaml = std::string("{name: sgd, lr: 0.01, momentum: 0.9, nesterov: ") +
                             (nesterov ? "true" : "false") + ", weight_decay: 0.3, clip_norm: 0, schedule: constant}";
    const auto expected = by_hand(20, [nesterov](double p, double g, double& b, double&, int t, bool decays) {
      b = t == 1 ? g : 0.9 * b + g;
      return (1 - 0.01 * (decays ? 0.3 : 0.0)) * p - 0.01 * (nesterov ? g + 0.9 * b : b);
    });
    expect_close(run(yaml, reference, 20), expected, 1e-12);
    expect_close(run(yaml, cpu, 20), expected, 1e-5);
  }
}

TEST(Sgd, WithoutMomentumHasNoState) {
  Toy toy;
  nn::ParameterStore store(toy, cpu, nn::Precision::float32, 1);
  Optimizer optimizer(parse("{name: sgd, momentum: 0}"), toy, store, 10);
  EXPECT_EQ(optimizer.state_bytes(), 0u);
  const auto expected = by_hand(3, [](double p, double g, double&, double&, int, bool) { return p - 0.01 * g; });
  expect_close(run("{name: sgd, lr: 0.01, momentum: 0, weight_decay: 0, clip_norm: 0, schedule: constant}", cpu, 3),
               expected, 1e-5);
}

TEST(Optimizer, ClipsTheGlobalNorm) {
  // SGD without momentum moves by lr times the clipped gradient, whose norm is then clip_norm.
  const std::string yaml = "{name: sgd, lr: 1, momentum: 0, weight_decay: 0, clip_norm: 0.5, schedule: constant}";
  for (const double scale : {1e-3, 1.0, 1e6}) {
    const auto before = run(yaml, cpu, 0), after = run(yaml, cpu, 1, scale);
    double squares = 0.0;
    for (const auto& [name, values] : after) {
      for (std::size_t i = 0; i < values.size(); ++i) squares += std::pow(values[i] - before.at(name)[i], 2);
    }
    if (scale > 0.1) {
      EXPECT_NEAR(std::sqrt(squares), 0.5, 1e-5);
    } else {
      EXPECT_LT(std::sqrt(squares), 0.1);  // short gradients stay as they are
    }
  }
}

TEST(Optimizer, ANonFiniteGradientChangesNothing) {
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    Toy toy;
    nn::ParameterStore store(toy, cpu, nn::Precision::float32, 1);
    Optimizer optimizer(parse("{name: adamw}"), toy, store, 10);
    store.grads().backend().fill({.x = store.grads(), .value = 1.0});
    optimizer.step(1);
    const auto values = store.values().values();
    const auto m = optimizer.state()[0].value.values();
    EXPECT_EQ(optimizer.control().values()[Control::finite], 1.0);
    store.grads().backend().fill({.x = store.grads().slice(20, 21), .value = bad});
    optimizer.step(2);
    EXPECT_EQ(optimizer.control().values()[Control::finite], 0.0);
    EXPECT_EQ(store.values().values(), values);
    EXPECT_EQ(optimizer.state()[0].value.values(), m);
  }
}

TEST(Optimizer, GroupsSelectByNameAndRole) {
  Toy toy;
  nn::ParameterStore store(toy, cpu, nn::Precision::float32, 1);
  Optimizer optimizer(
      parse("{weight_decay: 0.1, groups: [{match: 'w*', lr_scale: 2}, {role: gain, weight_decay: 0.5}]}"), toy, store,
      10);
  for (const auto& p : optimizer.targets()) {
    const std::string& name = p.entry.name;
    EXPECT_EQ(p.lr_scale, name == "weight" ? 2.0 : 1.0) << name;
    const double decay = name == "gain" ? 0.5 : name == "bias" ? 0.0 : 0.1;
    EXPECT_EQ(p.weight_decay, decay) << name;
  }
  try {
    Optimizer(parse("{groups: [{match: 'nothing.*'}]}"), toy, store, 10);
    FAIL() << "a group that matches nothing was accepted";
  } catch (const InputError& e) {
    EXPECT_NE(std::string(e.what()).find("nothing.*"), std::string::npos) << e.what();
  }
}

TEST(Optimizer, GroupsChangeTheUpdate) {
  const std::string base = "name: sgd, lr: 0.01, momentum: 0, weight_decay: 0, clip_norm: 0, schedule: constant";
  const auto start = run("{" + base + "}", cpu, 0), plain = run("{" + base + "}", cpu, 1),
             scaled = run("{" + base + ", groups: [{match: weight, lr_scale: 3}]}", cpu, 1);
  EXPECT_EQ(scaled.at("table"), plain.at("table"));
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_NEAR(scaled.at("weight")[i] - start.at("weight")[i], 3 * (plain.at("weight")[i] - start.at("weight")[i]),
                1e-6);
  }
}

TEST(Optimizer, StateIsThereFromTheStart) {
  Toy toy;
  nn::ParameterStore store(toy, cpu, nn::Precision::float32, 1);
  Optimizer optimizer(parse("{name: adamw}"), toy, store, 10);
  EXPECT_EQ(optimizer.state().size(), 2u);
  EXPECT_EQ(optimizer.state_bytes(), 2 * store.values().bytes());
  const auto allocations = backend_of(cpu).memory().usage().system_allocations;
  optimizer.step(1);
  EXPECT_EQ(backend_of(cpu).memory().usage().system_allocations, allocations);
}

TEST(Optimizer, RefusesBadSettings) {
  EXPECT_THROW(parse("{name: adamw, betas: [0.9]}"), InputError);
  EXPECT_THROW(parse("{name: adamw, betas: [0.9, 1.0]}"), InputError);
  EXPECT_THROW(parse("{name: sgd, momentum: 0, nesterov: true}"), InputError);
  EXPECT_THROW(parse("{name: adamx}"), InputError);
  EXPECT_THROW(parse("{lr: -1}"), InputError);
}

}  // namespace
}  // namespace monge::optim
