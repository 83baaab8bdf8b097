// The rules that treat a parameter as a whole, matrix or not, against plain loops, PyTorch and each other.
#include <gtest/gtest.h>

#include <cmath>

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

Values gradient(int step) { return test::random_gradient(step, n); }

/// Adam's direction without decay.
struct AdamOracle {
  double beta1, beta2, eps;
  Values m = Values(n, 0.0), v = Values(n, 0.0);
  Values operator()(const Values& g, int t) {
    Values u(n);
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
      u[i] = m[i] / (1 - std::pow(beta1, t)) / (std::sqrt(v[i] / (1 - std::pow(beta2, t))) + eps);
    }
    return u;
  }
};

TEST(Lamb, FollowsItsFormula) {
  // The second is longer than the limit of 10, for which the third and fourth have others.
  for (const auto& [scale, cap] : {std::pair{1.0, 10.0}, {100.0, 10.0}, {100.0, 3.0}, {100.0, 0.0}}) {
    RuleSteps run("name: lamb, lr: 0.02, betas: [0.8, 0.95], eps: 1.0e-3, weight_decay: 0.3" +
                      (cap == 10.0 ? "" : fmt::format(", cap: {}", cap)),
                  reference);
    Values p = run.value();
    for (double& x : p) x *= scale;
    run.set_value(p);
    AdamOracle adam{0.8, 0.95, 1e-3};
    for (int t = 1; t <= steps; ++t) {
      run.step({gradient(t)});
      Values r = adam(gradient(t), t);
      for (std::size_t i = 0; i < n; ++i) r[i] += 0.3 * p[i];
      const double ratio = (cap > 0.0 ? std::min(norm(p), cap) : norm(p)) / norm(r);
      for (std::size_t i = 0; i < n; ++i) p[i] -= 0.02 * ratio * r[i];
      ASSERT_TRUE(test::close(run.value(), p, 1e-12)) << t;
    }
  }
}

TEST(Lamb, IsAdamWForGainsAndBiasesAndForAZeroParameter) {
  for (const nn::Role role : {nn::Role::gain, nn::Role::bias}) {
    RuleSteps lamb("name: lamb, lr: 0.02, eps: 1.0e-8", reference, {{.shape = {n}, .role = role}});
    RuleSteps adamw("name: adamw, lr: 0.02", reference, {{.shape = {n}, .role = role}});
    for (int t = 1; t <= steps; ++t) {
      lamb.step({gradient(t)});
      adamw.step({gradient(t)});
    }
    EXPECT_TRUE(test::close(lamb.value(), adamw.value(), 1e-13));
  }
  RuleSteps lamb("name: lamb, lr: 0.02, eps: 1.0e-8", reference), adamw("name: adamw, lr: 0.02", reference);
  lamb.set_value(Values(n, 0.0));
  adamw.set_value(Values(n, 0.0));
  lamb.step({gradient(1)});
  adamw.step({gradient(1)});
  EXPECT_TRUE(test::close(lamb.value(), adamw.value(), 1e-13));
}

// torch.optim.Adafactor(lr=0.01, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.3) of PyTorch 2.15 in
// float64, from p_ij = cos(0.7 (3 i + j) + 0.2) with gradients sin(1.3 t + 0.9 (3 i + j)). Its weight decay takes the
// rate before the factor rms(p), as here.
TEST(Adafactor, FollowsPyTorch) {
  RuleSteps run("name: adafactor, lr: 0.01, momentum: 0, relative: true, weight_decay: 0.3", reference,
                {{.shape = {4, 3}}});
  const Values expected{0.9164832670109518,  0.5799524664821086,  -0.029435696091725284, -0.6237642721855765,
                        -0.9270297154537543, -0.7939496997639859, -0.28996723022592064,  0.3517123932176289,
                        0.8273131094445189,  0.9170099767100495,  0.5754685270208119,    -0.03579123584559296};
  Values start(12), g(12);
  for (int k = 0; k < 12; ++k) start[static_cast<std::size_t>(k)] = std::cos(0.7 * k + 0.2);
  run.set_value(start);
  for (int t = 1; t <= 20; ++t) {
    for (int k = 0; k < 12; ++k) g[static_cast<std::size_t>(k)] = std::sin(1.3 * t + 0.9 * k);
    run.step({g});
  }
  EXPECT_TRUE(test::close(run.value(), expected, 1e-12));
}

// With squared gradients a_i b_j at every step the factors represent them exactly, and the direction is the sign of the
// gradient.
TEST(Adafactor, IsExactForSquaresOfRankOne) {
  RuleSteps run("name: adafactor, lr: 0.01, momentum: 0, weight_decay: 0", reference);
  Values p = run.value(), g(n);
  for (int t = 1; t <= steps; ++t) {
    for (std::size_t i = 0; i < n; ++i) {
      const double size = (1.0 + static_cast<double>(i / 6)) * (0.5 + static_cast<double>(i % 6));
      const double sign = (i + static_cast<std::size_t>(t)) % 3 == 0 ? -1.0 : 1.0;
      g[i] = sign * size;
      p[i] -= 0.01 * sign;
    }
    run.step({g});
    ASSERT_TRUE(test::close(run.value(), p, 1e-12)) << t;
  }
}

TEST(Adafactor, KeepsTheSecondMomentOfAVectorAndLimitsItsDirection) {
  RuleSteps run("name: adafactor, lr: 0.01, momentum: 0.5, clip: 0.4, weight_decay: 0.3", reference,
                {{.shape = {n}, .role = nn::Role::embedding}});
  Values p = run.value(), v(n, 0.0), m(n, 0.0), u(n);
  for (int t = 1; t <= steps; ++t) {
    run.step({gradient(t)});
    const Values g = gradient(t);
    const double beta = 1.0 - std::pow(t, -0.8);
    for (std::size_t i = 0; i < n; ++i) {
      v[i] = beta * v[i] + (1 - beta) * (g[i] * g[i] + 1e-30);
      u[i] = g[i] / std::sqrt(v[i]);
    }
    const double longest = std::max(1.0, norm(u) / std::sqrt(static_cast<double>(n)) / 0.4);
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = 0.5 * m[i] + 0.5 * u[i] / longest;
      p[i] = (1 - 0.01 * 0.3) * p[i] - 0.01 * m[i];
    }
    ASSERT_TRUE(test::close(run.value(), p, 1e-12)) << t;
  }
}

// The momentum averages steps, rate included: under a schedule that is not an average of directions.
TEST(Adafactor, AveragesStepsWithTheirRates) {
  RuleSteps run(
      "name: adafactor, lr: 0.01, momentum: 0.8, weight_decay: 0.3, schedule: {kind: linear, warmup: 6, final_lr: "
      "1e-4}",
      reference, {{.shape = {n}, .role = nn::Role::embedding}});
  Values p = run.value(), v(n, 0.0), m(n, 0.0), u(n);
  for (int t = 1; t <= steps; ++t) {
    run.step({gradient(t)});
    const Values g = gradient(t);
    const double beta = 1.0 - std::pow(t, -0.8), lr = run.optimizer().lr(t);
    for (std::size_t i = 0; i < n; ++i) {
      v[i] = beta * v[i] + (1 - beta) * (g[i] * g[i] + 1e-30);
      u[i] = g[i] / std::sqrt(v[i]);
    }
    const double longest = std::max(1.0, norm(u) / std::sqrt(static_cast<double>(n)));
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = 0.8 * m[i] + 0.2 * lr * u[i] / longest;
      p[i] = (1 - lr * 0.3) * p[i] - m[i];
    }
    ASSERT_TRUE(test::close(run.value(), p, 1e-12)) << t;
  }
}

/// Schedule-Free AdamW by its three sequences, with x stored.
struct ScheduleFreeOracle {
  double beta;
  Values x, y, z, v = Values(n, 0.0);
  double largest = 0.0, weights = 0.0;

  explicit ScheduleFreeOracle(double b, const Values& start) : beta(b), x(start), y(start), z(start) {}
  void step(const Values& g, int t, double lr) {
    largest = std::max(largest, lr);
    weights += largest * largest;
    const double c = largest * largest / weights;
    for (std::size_t i = 0; i < n; ++i) {
      v[i] = 0.95 * v[i] + 0.05 * g[i] * g[i];
      z[i] -= lr * (g[i] / (std::sqrt(v[i] / (1 - std::pow(0.95, t))) + 1e-3) + 0.3 * y[i]);
      x[i] = (1 - c) * x[i] + c * z[i];
      y[i] = (1 - beta) * z[i] + beta * x[i];
    }
  }
};

TEST(ScheduleFree, TrainsAtYAndIsEvaluatedAtX) {
  RuleSteps run(
      "name: schedule_free, lr: 0.02, betas: [0.9, 0.95], eps: 1.0e-3, weight_decay: 0.3, "
      "schedule: {kind: constant, warmup: 5}",
      reference);
  ScheduleFreeOracle oracle(0.9, run.value());
  for (int t = 1; t <= steps; ++t) {
    run.step({gradient(t)});
    oracle.step(gradient(t), t, run.optimizer().lr(t));
    ASSERT_TRUE(test::close(run.value(), oracle.y, 1e-12)) << t;
    {
      const EvaluationWeights averaged(run.optimizer());
      EXPECT_TRUE(test::close(run.value(), oracle.x, 1e-11)) << t;
    }
    EXPECT_TRUE(test::close(run.value(), oracle.y, 1e-12)) << t;
  }
}

// At a constant rate x is the plain average of all z (Polyak and Ruppert): w is the same at every step.
TEST(ScheduleFree, AveragesEvenlyAtAConstantRate) {
  RuleSteps run("name: schedule_free, lr: 0.02, betas: [0.9, 0.95]", reference);
  Values mean(n, 0.0);
  for (int t = 1; t <= steps; ++t) {
    run.step({gradient(t)});
    for (const auto& [name, tensor] : run.optimizer().state()) {
      if (name != "schedule_free.z") continue;
      const Values z = tensor.values();
      for (std::size_t i = 0; i < n; ++i) mean[i] += z[i] / steps;
    }
  }
  const EvaluationWeights averaged(run.optimizer());
  EXPECT_TRUE(test::close(run.value(), mean, 1e-11));
}

TEST(ScheduleFree, RefusesWhatCannotBe) {
  EXPECT_HAS(error_of([] { RuleSteps("name: schedule_free, betas: [0, 0.9]", reference); }), "betas");
  EXPECT_HAS(error_of([] { RuleSteps("name: schedule_free, chain: [{kind: cautious}]", reference); }),
             "allowed with it: mars");
  EXPECT_HAS(error_of([] { RuleSteps("name: schedule_free, chain: [{kind: ema}]", reference); }), "one average only");
}

}  // namespace
}  // namespace monge::optim
