// Sophia-G against its formula, and as the base of a matrix rule.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/rule_steps.h"

namespace monge::optim {
namespace {

using test::reference;
using test::RuleSteps;
using Values = std::vector<double>;

constexpr std::size_t n = 24;

Values gradient(int step) { return test::random_gradient(step, n); }
/// Gradients of a pass with drawn targets: smaller for some elements, zero for one.
Values drawn(int step) {
  Values s = test::random_values(n, static_cast<std::uint64_t>(2000 + step));
  for (std::size_t i = 0; i < n; ++i) s[i] *= 0.02 * static_cast<double>(i);
  return s;
}

TEST(Sophia, FollowsItsFormula) {
  RuleSteps run("name: sophia, lr: 0.02, betas: [0.8, 0.9], rho: 0.5, every: 3, weight_decay: 0.3", reference);
  Values p = run.value(), m(n, 0.0), h(n, 0.0);
  std::size_t clamped = 0, moved = 0;
  for (int t = 1; t <= 20; ++t) {
    ASSERT_EQ(run.optimizer().samples(t), t % 3 == 1);
    if (t % 3 == 1) {
      run.sampled({drawn(t)}, 50.0);
      for (std::size_t i = 0; i < n; ++i) h[i] = 0.9 * h[i] + 0.1 * 50.0 * drawn(t)[i] * drawn(t)[i];
    }
    run.step({gradient(t)});
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = 0.8 * m[i] + 0.2 * gradient(t)[i];
      const double u = std::copysign(std::min(1.0, std::abs(m[i]) / std::max(0.5 * h[i], 1e-15)), m[i]);
      p[i] = (1 - 0.02 * 0.3) * p[i] - 0.02 * u;
      (std::abs(u) == 1.0 ? clamped : moved) += 1;
    }
    ASSERT_TRUE(test::close(run.value(), p, 1e-12)) << t;
  }
  EXPECT_GT(clamped, 50U);
  EXPECT_GT(moved, 50U);
  EXPECT_DOUBLE_EQ(run.optimizer().passes_per_step(), 1.34);
}

// As the base of another rule it gets its extra passes, and the other rule gets its own.
TEST(Sophia, MeasuresAsABaseRule) {
  const std::vector<test::OneParameter> parameters{{}, {.name = "gain", .shape = {n}, .role = nn::Role::gain}};
  RuleSteps base("name: muon, lr: 0.02, base: {name: sophia, lr: 0.02, every: 3}", reference, parameters);
  RuleSteps alone("name: sophia, lr: 0.02, every: 3", reference, parameters);
  for (int t = 1; t <= 7; ++t) {
    ASSERT_EQ(base.optimizer().samples(t), t % 3 == 1);
    for (RuleSteps* run : {&base, &alone}) {
      if (t % 3 == 1) run->sampled({drawn(t), drawn(t)}, 50.0);
      run->step({gradient(t), gradient(t)});
    }
    EXPECT_EQ(base.value(1), alone.value(1));
  }
  EXPECT_NE(base.value(0), alone.value(0));
}

}  // namespace
}  // namespace monge::optim
