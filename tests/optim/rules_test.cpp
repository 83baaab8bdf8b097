// Identities between rules, agreement with PyTorch, learning, names of state, settings.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "core/backend.h"
#include "core/options/yaml.h"
#include "optim/optimizer.h"
#include "support/compare.h"
#include "support/expect_error.h"

namespace monge::optim {
namespace {

using test::cpu;
using test::reference;

OptimizerOptions parse(const std::string& rule) {
  OptimizerOptions options;
  read_yaml_text("{" + rule + ", clip_norm: 0, schedule: constant}", "test", {}, options);
  return options;
}

/// One matrix of 24 elements.
class Toy : public nn::Module {
 public:
  Toy() { add_parameter("weight", {4, 6}, nn::Role::matrix, nn::Init::normal(1.0)); }
};

/// The parameters before and after each step, concatenated. `gradient(p, step)` gives the gradient of each step.
using Gradient = std::function<std::vector<double>(const std::vector<double>& p, int step)>;
std::vector<double> path_of(const std::string& rule, Device device, int steps, const Gradient& gradient) {
  Toy toy;
  nn::ParameterStore store(toy, device, nn::Precision::float32, 1);
  Optimizer optimizer(parse(rule), toy, store, steps);
  const auto& entry = store.entries()[0];
  std::vector<double> path = store.value(entry).values();
  const auto size = static_cast<std::ptrdiff_t>(path.size());
  store.clear_grads();
  for (int step = 1; step <= steps; ++step) {
    const std::vector<double> g = gradient({path.end() - size, path.end()}, step);
    store.grads().backend().copy(
        {.from = Tensor::from(g, entry.shape, store.grads().dtype(), device), .to = store.grad(entry)});
    optimizer.step(step);
    const std::vector<double> p = store.value(entry).values();
    path.insert(path.end(), p.begin(), p.end());
  }
  return path;
}

/// Twenty steps along random gradients times `scale`.
std::vector<double> random_path(const std::string& rule, Device device, double scale = 1.0) {
  return path_of(rule, device, 20, [=](const std::vector<double>& p, int step) {
    return test::random_values(static_cast<std::int64_t>(p.size()), static_cast<std::uint64_t>(step), 0.0, scale);
  });
}

/// For each rule a setting that minimises the quadratic below, the names of its state, and the elements in it.
struct Known {
  std::string yaml;
  std::vector<std::string> state;
  std::int64_t numbers = 0;  // a matrix of (4, 6); flat tensors are padded to 32
};
const std::map<std::string, Known>& known() {
  static const std::map<std::string, Known> all{
      {"adafactor",
       {"name: adafactor, lr: 0.05",
        {"adafactor.weight.rows", "adafactor.weight.cols", "adafactor.weight.momentum"},
        4 + 6 + 24}},
      {"lamb", {"name: lamb, lr: 0.02", {"lamb.m", "lamb.v"}, 64}},
      {"muon", {"name: muon, lr: 0.1", {"adamw.m", "adamw.v", "muon.weight.momentum"}, 24}},
      {"compositional_muon",
       {"name: compositional_muon, lr: 0.1", {"adamw.m", "adamw.v", "compositional_muon.weight.momentum"}, 24}},
      {"normuon",
       {"name: normuon, lr: 0.1", {"adamw.m", "adamw.v", "normuon.weight.momentum", "normuon.weight.rows"}, 28}},
      {"psgd_kron",
       {"name: psgd_kron, lr: 0.05",
        {"adamw.m", "adamw.v", "psgd_kron.bias_correction", "psgd_kron.weight.m", "psgd_kron.weight.left",
         "psgd_kron.weight.left_top", "psgd_kron.weight.left_bound", "psgd_kron.weight.right",
         "psgd_kron.weight.right_top", "psgd_kron.weight.right_bound"},
        1 + 24 + (16 + 4 + 1) + (36 + 6 + 1)}},
      {"shampoo",
       {"name: shampoo, lr: 0.05",
        {"adamw.m", "adamw.v", "shampoo.weight.m", "shampoo.weight.v", "shampoo.weight.left",
         "shampoo.weight.left_root", "shampoo.weight.right", "shampoo.weight.right_root"},
        2 * 24 + 2 * (16 + 36)}},
      {"soap",
       {"name: soap, lr: 0.05",
        {"adamw.m", "adamw.v", "soap.weight.m", "soap.weight.v", "soap.weight.left", "soap.weight.left_basis",
         "soap.weight.right", "soap.weight.right_basis"},
        2 * 24 + 2 * (16 + 36)}},
      {"soap_muon",
       {"name: soap_muon, lr: 0.05",
        {"adamw.m", "adamw.v", "soap_muon.weight.m", "soap_muon.weight.v", "soap_muon.weight.left",
         "soap_muon.weight.left_basis", "soap_muon.weight.right", "soap_muon.weight.right_basis"},
        2 * 24 + 2 * (16 + 36)}},
      {"schedule_free",
       {"name: schedule_free, lr: 0.1",
        {"schedule_free.v", "schedule_free.z", "schedule_free.largest_lr", "schedule_free.weights", "trained"},
        32 + 32 + 1 + 1 + 32}},
      {"sgd", {"name: sgd, lr: 0.02", {"sgd.buffer"}, 32}},
      {"signum", {"name: signum, lr: 0.02", {"signum.m"}, 32}},
      {"lion", {"name: lion, lr: 0.02", {"lion.m"}, 32}},
      {"adamw", {"name: adamw, lr: 0.05", {"adamw.m", "adamw.v"}, 64}},
      {"nadamw", {"name: nadamw, lr: 0.05", {"nadamw.m", "nadamw.v"}, 64}},
      {"ademamix",
       {"name: ademamix, lr: 0.05, betas: [0.9, 0.99, 0.95], alpha: 2, ramp: 200",
        {"ademamix.m", "ademamix.slow", "ademamix.v"},
        96}},
  };
  return all;
}

// Rules that need extra passes or linear layers are tested in kfac_test, natural_muon_test, newton_muon_test and
// sophia_test.
TEST(Rules, AllAreKnownHere) {
  std::vector<std::string> names{"ekfac", "kfac", "natural_muon", "newton_muon", "sophia"};
  for (const auto& [name, rule] : known()) names.push_back(name);
  std::ranges::sort(names);
  EXPECT_EQ(rules().names(), names);
}

TEST(Rules, NameTheirStateAndHaveItFromTheStart) {
  for (const auto& [name, rule] : known()) {
    Toy toy;
    nn::ParameterStore store(toy, cpu, nn::Precision::float32, 1);
    const Optimizer optimizer(parse(rule.yaml), toy, store, 10);
    std::vector<std::string> names;
    std::int64_t numbers = 0;
    for (const auto& [state, tensor] : optimizer.state()) {
      names.push_back(state);
      numbers += tensor.numel();
    }
    EXPECT_EQ(names, rule.state);
    EXPECT_EQ(numbers, rule.numbers) << name;
  }
}

// --- identities: two rules give the same numbers, and the same bits where their operations are the same ---

class Identities : public testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, Identities, testing::Values(cpu, reference),
                         [](const auto& info) { return info.param.kind == DeviceKind::cpu ? "cpu" : "reference"; });

TEST_P(Identities, LionWithEqualBetasIsSignum) {
  EXPECT_EQ(random_path("name: lion, lr: 0.01, betas: [0.9, 0.9]", GetParam()),
            random_path("name: signum, lr: 0.01, momentum: 0.9", GetParam()));
}

TEST_P(Identities, MarsWithoutCorrectionIsTheRuleAlone) {
  EXPECT_EQ(
      random_path("name: adamw, lr: 0.01, betas: [0.8, 0.95], chain: [{kind: mars, gamma: 0, norm: 0}]", GetParam()),
      random_path("name: adamw, lr: 0.01, betas: [0.8, 0.95]", GetParam()));
}

TEST_P(Identities, AdEMAMixWithoutItsSlowAverageIsAdamW) {
  EXPECT_EQ(random_path("name: ademamix, lr: 0.01, betas: [0.8, 0.95, 0.99], alpha: 0, ramp: 7", GetParam()),
            random_path("name: adamw, lr: 0.01, betas: [0.8, 0.95]", GetParam()));
}

TEST_P(Identities, AdEMAMixRampsOverTheRun) {  // of 20 steps
  EXPECT_EQ(random_path("name: ademamix, lr: 0.01", GetParam()),
            random_path("name: ademamix, lr: 0.01, ramp: 20", GetParam()));
  EXPECT_NE(random_path("name: ademamix, lr: 0.01", GetParam()),
            random_path("name: ademamix, lr: 0.01, ramp: 1", GetParam()));
}

TEST_P(Identities, WithoutMomentumNAdamWIsAdamW) {
  EXPECT_TRUE(test::close(random_path("name: nadamw, lr: 0.01, betas: [0, 0.95]", GetParam()),
                          random_path("name: adamw, lr: 0.01, betas: [0, 0.95]", GetParam()), 1e-7));
}

TEST_P(Identities, AdamWWithoutAveragesIsTheSignOfTheGradient) {
  EXPECT_TRUE(test::close(random_path("name: adamw, lr: 0.01, betas: [0, 0], eps: 0", GetParam()),
                          random_path("name: signum, lr: 0.01, momentum: 0", GetParam()), 1e-6));
}

TEST_P(Identities, OnlySgdFeelsTheScaleOfTheGradient) {
  for (const auto& [name, rule] : known()) {
    if (name == "psgd_kron") continue;  // has to learn the scale
    const std::set<std::string> without_eps{"adafactor", "compositional_muon", "lion", "muon", "normuon", "sgd",
                                            "signum"};
    const std::string yaml = rule.yaml + (without_eps.contains(name) ? "" : ", eps: 0");
    const auto plain = random_path(yaml, GetParam()), scaled = random_path(yaml, GetParam(), 1024.0);
    EXPECT_EQ(test::close(scaled, plain, 1e-6), name != "sgd") << name;
  }
}

// torch.optim.NAdam([p], lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3, momentum_decay=1e9,
// decoupled_weight_decay=True) of PyTorch 2.15 in float64, from p = (1, -2, 0.5) with p.grad_i = sin(1.3 t + i);
// such a momentum_decay leaves the momentum constant.
TEST(NAdamW, FollowsPyTorch) {
  struct ThreeNumbers : nn::Module {
    ThreeNumbers() { add_parameter("p", {3}, nn::Role::matrix, nn::Init::constant(0.0)); }
  };
  ThreeNumbers model;
  nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
  Optimizer optimizer(parse("name: nadamw, lr: 0.02, betas: [0.8, 0.95], eps: 1.0e-6, weight_decay: 0.3"), model, store,
                      20);
  const Tensor p = store.value(store.entries()[0]), grad = store.grad(store.entries()[0]);
  store.clear_grads();
  const std::vector<double> start{1.0, -2.0, 0.5};
  backend_of(reference).copy_from_host({.from = start.data(), .to = p});
  const std::map<int, std::vector<double>> expected{{1, {0.965111141092548, -2.01688885014858, 0.5258887057542182}},
                                                    {2, {0.9408600585067278, -1.998376362616266, 0.5482651262014614}},
                                                    {20, {0.8503984694378975, -1.784801123959795, 0.4963011026490804}}};
  for (int t = 1; t <= 20; ++t) {
    const std::vector<double> g{std::sin(1.3 * t), std::sin(1.3 * t + 1), std::sin(1.3 * t + 2)};
    backend_of(reference).copy_from_host({.from = g.data(), .to = grad});
    optimizer.step(t);
    if (expected.contains(t)) {
      EXPECT_TRUE(test::close(p.values(), expected.at(t), 1e-13)) << t;
    }
  }
}

// sum_i h_i (p_i - a_i)^2 / 2 with h between 0.5 and 10, from p ~ N(0, 1) to a ~ N(0, 1).
TEST(Rules, LearnAQuadratic) {
  const std::vector<double> target = test::random_values(24, 5);
  const auto curvature = [](std::size_t i) { return 0.5 * std::pow(20.0, static_cast<double>(i) / 23.0); };
  const auto loss = [&](std::span<const double> p) {
    double sum = 0.0;
    for (std::size_t i = 0; i < p.size(); ++i) sum += 0.5 * curvature(i) * std::pow(p[i] - target[i], 2);
    return sum;
  };
  for (const auto& [name, rule] : known()) {
    const auto path = path_of(rule.yaml + ", weight_decay: 0", cpu, 400, [&](const std::vector<double>& p, int) {
      std::vector<double> g(p.size());
      for (std::size_t i = 0; i < p.size(); ++i) g[i] = curvature(i) * (p[i] - target[i]);
      return g;
    });
    const std::span<const double> all(path);
    EXPECT_LT(loss(all.last(24)), 1e-3 * loss(all.first(24))) << name;
  }
}

TEST(Rules, RefuseBadSettings) {
  EXPECT_HAS(error_of([] { parse("name: lion, betas: [0.9]"); }), "optimizer.betas must be 2 numbers in [0, 1)");
  EXPECT_HAS(error_of([] { parse("name: nadamw, betas: [0.9, 1.0]"); }), "for example [0.9, 0.99]");
  EXPECT_HAS(error_of([] { parse("name: ademamix, betas: [0.9, 0.999]"); }), "optimizer.betas must be 3 numbers");
  EXPECT_HAS(error_of([] { parse("name: signum, momentum: 1"); }), "optimizer.momentum must be less than 1");
  EXPECT_HAS(error_of([] { parse("name: adamw, chain: [{kind: mars, gamma: -1}]"); }), "gamma");
  EXPECT_HAS(error_of([] { parse("name: ademamix, ramp: -1"); }), "ramp");
}

}  // namespace
}  // namespace monge::optim
