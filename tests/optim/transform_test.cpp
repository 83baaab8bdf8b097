// The transforms around a rule, against plain loops and identities.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "support/expect_error.h"
#include "support/rule_steps.h"

namespace monge::optim {
namespace {

using test::norm;
using test::reference;
using test::RuleSteps;
using Values = std::vector<double>;

constexpr int steps = 20;
constexpr std::size_t n = 24;

Values gradient(int step, double scale = 1.0) { return test::random_gradient(step, n, scale); }

/// The values after each step of `yaml` against those of oracle(p, g, t), which changes p.
template <class Oracle>
void expect_path(const std::string& yaml, Oracle oracle, double scale = 1.0) {
  RuleSteps run(yaml, reference);
  Values p = run.value();
  for (int t = 1; t <= steps; ++t) {
    run.step({gradient(t, scale)});
    oracle(p, gradient(t, scale), t);
    ASSERT_TRUE(test::close(run.value(), p, 1e-12)) << yaml << " step " << t;
  }
}

TEST(Mars, CorrectsAndLimitsGradients) {
  for (const double scale : {1.0, 0.01}) {  // beyond the limit, and below it
    Values previous(n, 0.0);
    expect_path(
        "name: sgd, lr: 0.1, momentum: 0, weight_decay: 0.3, chain: [{kind: mars, gamma: 0.2, beta: 0.8}]",
        [&](Values& p, const Values& g, int t) {
          Values c(n);
          for (std::size_t i = 0; i < n; ++i) c[i] = g[i] + (t == 1 ? 0.0 : 0.2 * 0.8 / 0.2 * (g[i] - previous[i]));
          const double length = std::max(1.0, norm(c));
          for (std::size_t i = 0; i < n; ++i) p[i] = (1 - 0.1 * 0.3) * p[i] - 0.1 * c[i] / length;
          previous = g;
        },
        scale);
  }
}

TEST(Cautious, StepsOnlyAlongTheGradient) {
  Values m(n, 0.0);
  expect_path("name: signum, lr: 0.1, momentum: 0.9, weight_decay: 0.3, chain: [{kind: cautious}]",
              [&](Values& p, const Values& g, int) {
                double agree = 0.0;
                Values u(n);
                for (std::size_t i = 0; i < n; ++i) {
                  m[i] = 0.9 * m[i] + 0.1 * g[i];
                  u[i] = m[i] > 0.0 ? 1.0 : -1.0;
                  if (u[i] * g[i] > 0.0) agree += 1.0 / n;
                }
                for (std::size_t i = 0; i < n; ++i) {
                  p[i] *= 1 - 0.1 * 0.3;
                  if (u[i] * g[i] > 0.0) p[i] -= 0.1 * u[i] / agree;
                }
              });
}

// The mask is by the gradient, not by what mars makes of it, in either order.
TEST(Cautious, AsksTheGradientItselfUnderMars) {
  for (const char* chain : {"{kind: mars, gamma: 0.4, beta: 0.8, norm: 0}, {kind: cautious}",
                            "{kind: cautious}, {kind: mars, gamma: 0.4, beta: 0.8, norm: 0}"}) {
    Values previous(n, 0.0);
    int differ = 0;
    expect_path(fmt::format("name: sgd, lr: 0.1, momentum: 0, weight_decay: 0, chain: [{}]", chain),
                [&](Values& p, const Values& g, int t) {
                  Values c(n);
                  double agree = 0.0;
                  for (std::size_t i = 0; i < n; ++i) {
                    c[i] = g[i] + (t == 1 ? 0.0 : 0.4 * 0.8 / 0.2 * (g[i] - previous[i]));
                    if (c[i] * g[i] > 0.0) agree += 1.0 / n;
                  }
                  for (std::size_t i = 0; i < n; ++i) {
                    if (c[i] * g[i] > 0.0) {
                      p[i] -= 0.1 * c[i] / agree;
                    } else {
                      ++differ;
                    }
                  }
                  previous = g;
                });
    EXPECT_GT(differ, 10);
  }
}

TEST(Cautious, IsNothingForADirectionThatIsTheGradient) {
  RuleSteps plain("name: sgd, lr: 0.1, momentum: 0", reference);
  RuleSteps cautious("name: sgd, lr: 0.1, momentum: 0, chain: [{kind: cautious}]", reference);
  for (int t = 1; t <= steps; ++t) {
    plain.step({gradient(t)});
    cautious.step({gradient(t)});
    EXPECT_TRUE(test::close(cautious.value(), plain.value(), 1e-14));
  }
}

TEST(CautiousDecay, DecaysOnlyAlongTheStep) {
  expect_path("name: sgd, lr: 0.1, momentum: 0, weight_decay: 0.3, chain: [{kind: cautious_decay}]",
              [&](Values& p, const Values& g, int) {
                for (std::size_t i = 0; i < n; ++i) p[i] -= 0.1 * (g[i] + (g[i] * p[i] >= 0.0 ? 0.3 * p[i] : 0.0));
              });
}

TEST(Hyperball, KeepsTheNormAndStepsRelativeToIt) {
  RuleSteps run("name: adamw, lr: 0.1, weight_decay: 0.3, chain: [{kind: hyperball}]", reference);
  RuleSteps direction("name: adamw, lr: 1, weight_decay: 0", reference);
  Values p = run.value();
  const double radius = norm(p);
  for (int t = 1; t <= steps; ++t) {
    direction.set_value(Values(n, 0.0));
    direction.step({gradient(t)});
    const Values u = direction.value();  // negated
    for (std::size_t i = 0; i < n; ++i) p[i] += 0.1 * radius * u[i] / norm(u);
    const double length = norm(p);
    for (double& x : p) x *= radius / length;
    run.step({gradient(t)});
    ASSERT_TRUE(test::close(run.value(), p, 1e-12)) << t;
    EXPECT_NEAR(norm(run.value()), radius, 1e-12 * radius);
  }
}

TEST(Hyperball, LeavesAMatrixThatStartsAtZeroToTheRule) {
  struct Zero : nn::Module {
    Zero() { add_parameter("w", {4, 6}, nn::Role::matrix, nn::Init::constant(0.0)); }
  } model;
  nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
  OptimizerOptions options;
  read_yaml_text("{name: sgd, lr: 0.1, momentum: 0, clip_norm: 0, schedule: constant, chain: [{kind: hyperball}]}",
                 "test", {}, options);
  Optimizer optimizer(options, model, store, steps);
  store.clear_grads();
  const Tensor grad = store.grad(store.entries()[0]);
  Values p(n, 0.0);
  for (int t = 1; t <= steps; ++t) {
    grad.backend().copy({.from = Tensor::from(gradient(t), grad.shape(), grad.dtype(), grad.device()), .to = grad});
    optimizer.step(t);
    for (std::size_t i = 0; i < n; ++i) p[i] -= 0.1 * gradient(t)[i];
    ASSERT_TRUE(test::close(store.value(store.entries()[0]).values(), p, 1e-12)) << t;
  }
}

TEST(Ema, IsEvaluatedAtTheAverage) {
  for (const int start : {0, 7}) {
    RuleSteps run(fmt::format("name: sgd, lr: 0.1, momentum: 0, chain: [{{kind: ema, decay: 0.8, start: {}}}]", start),
                  reference);
    RuleSteps plain("name: sgd, lr: 0.1, momentum: 0", reference);
    Values e = run.value();
    for (int t = 1; t <= steps; ++t) {
      run.step({gradient(t)});
      plain.step({gradient(t)});
      const Values p = plain.value();
      for (std::size_t i = 0; i < n; ++i) {
        const double share = std::max(0.2, 9.0 / (10.0 + t - start));
        e[i] = t <= start ? p[i] : (1.0 - share) * e[i] + share * p[i];
      }
      {
        const EvaluationWeights averaged(run.optimizer());
        EXPECT_TRUE(test::close(run.value(), e, 1e-13)) << t;
      }
      EXPECT_EQ(run.value(), p) << t;
    }
  }
}

// A rule alone and the same rule through its directions, as with transforms.
TEST(Chain, TakesTheStepsOfEveryRule) {
  for (const std::string& name : rules().names()) {
    const std::set<std::string> need_linear_layers{"ekfac", "kfac", "natural_muon", "newton_muon"};
    if (name == "schedule_free" || need_linear_layers.contains(name)) continue;  // schedule_free has no directions
    // Without weight decay, cautious_decay changes only the code path.
    const std::string yaml = fmt::format("name: {}, lr: 0.02, weight_decay: 0", name);
    const char* link = name == "lamb" ? "{kind: mars, gamma: 0, norm: 0}" : "{kind: cautious_decay}";
    RuleSteps alone(yaml, reference), chained(fmt::format("{}, chain: [{}]", yaml, link), reference);
    for (int t = 1; t <= steps; ++t) {
      alone.step({gradient(t)});
      chained.step({gradient(t)});
    }
    EXPECT_TRUE(test::close(chained.value(), alone.value(), 1e-12)) << name;
  }
}

TEST(Chain, RefusesTwoThatDecideOnDecay) {
  EXPECT_HAS(error_of([] { RuleSteps("name: lamb, chain: [{kind: hyperball}]", reference); }), "use one of them");
  EXPECT_HAS(error_of([] { RuleSteps("name: adamw, chain: [{kind: nothing}]", reference); }), "allowed: cautious");
}

}  // namespace
}  // namespace monge::optim
