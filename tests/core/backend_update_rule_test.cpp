// The elementwise update rules against the formulas of their papers in plain double, on both backends.
#include "core/update_rule/update_rule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/kernels.h"

namespace monge {
namespace {

using test::reference;
using test::tested;

/// One element of a rule by its formula: `s` are its states, `t` the step from 1. Returns u of p = keep p - lr u.
using Direction = std::function<double(double g, double* s, int t)>;

struct Case {
  const char* title;
  UpdateRule rule;
  Direction direction;
};

double sign_of(double x) { return x == 0.0 ? 0.0 : std::copysign(1.0, x); }

/// Half-life of an average, less one step, and its inverse: what AdEMAMix lets grow linearly.
double half_life(double beta) { return std::log(0.5) / std::log(beta) - 1.0; }
double of_half_life(double h) { return std::pow(0.5, 1.0 / (h + 1.0)); }

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"sgd", SgdRule{}, [](double g, double*, int) { return g; }},
      {"momentum", MomentumRule{0.9, false},
       [](double g, double* s, int t) { return s[0] = t == 1 ? g : 0.9 * s[0] + g; }},
      {"nesterov", MomentumRule{0.8, true},
       [](double g, double* s, int t) {
         s[0] = t == 1 ? g : 0.8 * s[0] + g;
         return g + 0.8 * s[0];
       }},
      {"signum", SignumRule{0.7},
       [](double g, double* s, int) {
         s[0] = 0.7 * s[0] + 0.3 * g;
         return sign_of(s[0]);
       }},
      {"lion", LionRule{0.6, 0.9},
       [](double g, double* s, int) {
         const double c = 0.6 * s[0] + 0.4 * g;
         s[0] = 0.9 * s[0] + 0.1 * g;
         return sign_of(c);
       }},
      {"adamw", AdamWRule{0.8, 0.95, 1e-3},
       [](double g, double* s, int t) {
         s[0] = 0.8 * s[0] + 0.2 * g;
         s[1] = 0.95 * s[1] + 0.05 * g * g;
         return s[0] / (1 - std::pow(0.8, t)) / (std::sqrt(s[1] / (1 - std::pow(0.95, t))) + 1e-3);
       }},
      {"nadamw", NAdamWRule{0.8, 0.95, 1e-3},
       [](double g, double* s, int t) {
         s[0] = 0.8 * s[0] + 0.2 * g;
         s[1] = 0.95 * s[1] + 0.05 * g * g;
         const double m = 0.8 * s[0] / (1 - std::pow(0.8, t + 1)) + 0.2 * g / (1 - std::pow(0.8, t));
         return m / (std::sqrt(s[1] / (1 - std::pow(0.95, t))) + 1e-3);
       }},
      {"ademamix", AdEMAMixRule{.beta1 = 0.8, .beta2 = 0.95, .beta3 = 0.99, .alpha = 3.0, .eps = 1e-3, .ramp = 12},
       [](double g, double* s, int t) {
         const double r = std::min(1.0, t / 12.0);
         const double beta3 = of_half_life((1 - r) * half_life(0.8) + r * half_life(0.99));
         s[0] = 0.8 * s[0] + 0.2 * g;
         s[1] = beta3 * s[1] + (1 - beta3) * g;
         s[2] = 0.95 * s[2] + 0.05 * g * g;
         const double m = s[0] / (1 - std::pow(0.8, t)) + r * 3.0 * s[1];
         return m / (std::sqrt(s[2] / (1 - std::pow(0.95, t))) + 1e-3);
       }},
      {"rms", RmsRule{.beta = 0.95, .eps = 1e-3},
       [](double g, double* s, int t) {
         s[0] = 0.95 * s[0] + 0.05 * g * g;
         return g / (std::sqrt(s[0] / (1 - std::pow(0.95, t))) + 1e-3);
       }},
  };
  return all;
}

constexpr int steps = 20;
constexpr double lr = 0.02, lr_scale = 0.5, weight_decay = 0.3, clip = 0.75;

Tensor control(Device device, double step, double finite = 1.0) {
  const std::vector<double> slots{lr, step, clip, finite, 0.0};
  return Tensor::from(slots, {Control::size}, backend_of(device).default_float(), device);
}

/// A parameter with all that a rule keeps of it.
struct Subject {
  Tensor param, copy;
  std::array<Tensor, max_update_states> states;

  Subject(const UpdateRule& rule, const Tensor& start, bool with_copy) : param(start.clone()) {
    for (std::size_t k = 0; k < states_of(rule).size(); ++k) {
      states[k] = Tensor::zeros(start.shape(), start.dtype(), start.device());
    }
    if (with_copy) copy = Tensor::zeros(start.shape(), DType::bf16, start.device());
  }

  void update(const UpdateRule& rule, const Tensor& grad, const Tensor& slots) const {
    param.backend().update({.rule = rule,
                            .param = param,
                            .grad = grad,
                            .states = states,
                            .copy = copy,
                            .control = slots,
                            .lr_scale = lr_scale,
                            .weight_decay = weight_decay});
  }
  std::vector<std::vector<double>> values() const {
    std::vector<std::vector<double>> out{param.values()};
    for (const Tensor& x : states) {
      if (x) out.push_back(x.values());
    }
    if (copy) out.push_back(copy.values());
    return out;
  }
};

Tensor gradient(std::int64_t n, int step, Device device) {
  return test::random_tensor({n}, static_cast<std::uint64_t>(100 + step), backend_of(device).default_float(), device);
}

/// Twenty steps of the rule on `device` and by the formula, from the same numbers.
void expect_formula(const Case& c, std::int64_t n, Device device, bool with_copy, double tolerance) {
  SCOPED_TRACE(testing::Message() << c.title << ", " << n << " elements");
  const auto size = static_cast<std::size_t>(n);
  const Tensor start = test::random_tensor({n}, 1, backend_of(device).default_float(), device);
  const Subject subject(c.rule, start, with_copy);
  std::vector<double> p = start.values();
  std::vector<std::vector<double>> states(max_update_states, std::vector<double>(size, 0.0));
  for (int t = 1; t <= steps; ++t) {
    const Tensor grad = gradient(n, t, device);
    subject.update(c.rule, grad, control(device, t));
    const std::vector<double> g = grad.values();
    for (std::size_t i = 0; i < size; ++i) {
      double s[max_update_states] = {states[0][i], states[1][i], states[2][i]};
      const double u = c.direction(clip * g[i], s, t);
      p[i] = (1 - lr * lr_scale * weight_decay) * p[i] - lr * lr_scale * u;
      for (std::size_t k = 0; k < max_update_states; ++k) states[k][i] = s[k];
    }
  }
  EXPECT_TRUE(test::close(subject.param.values(), p, tolerance));
  for (std::size_t k = 0; k < states_of(c.rule).size(); ++k) {
    EXPECT_TRUE(test::close(subject.states[k].values(), states[k], tolerance)) << states_of(c.rule)[k];
  }
  if (with_copy) test::expect_rounded_copy(subject.copy, subject.param);
}

TEST(UpdateRule, EveryRuleHasAFormulaHere) {
  std::vector<bool> seen(std::variant_size_v<UpdateRule>, false);
  for (const Case& c : cases()) seen[c.rule.index()] = true;
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_TRUE(seen[i]) << "rule " << i;
}

TEST(UpdateRule, TwentyStepsOnReferenceFollowTheFormula) {
  for (const Case& c : cases()) expect_formula(c, 37, reference, /*with_copy=*/false, 1e-13);
}

/// The dtype parameter says whether a bf16 copy is written.
class UpdateRuleKernels : public test::Kernels {
 protected:
  static bool with_copy() { return dtype() == DType::bf16; }
};
MONGE_KERNEL_TESTS(UpdateRuleKernels);

TEST_P(UpdateRuleKernels, TwentyStepsFollowTheFormula) {
  for (const Case& c : cases()) {
    for (const std::int64_t n : {1, 7, 16, 33, 257}) expect_formula(c, n, tested, with_copy(), 2e-6);
  }
}

// Chunks for the threads, whole vectors and rests of vectors: none may show in an element.
TEST_P(UpdateRuleKernels, ARangeInPiecesHasTheSameBits) {
  constexpr std::int64_t n = 40001;
  const Tensor start = test::random_tensor({n}, 1, DType::f32, tested);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.title);
    const Subject whole(c.rule, start, with_copy()), parts(c.rule, start, with_copy());
    for (int t = 1; t <= 3; ++t) {
      const Tensor grad = gradient(n, t, tested);
      whole.update(c.rule, grad, control(tested, t));
      for (const auto& [begin, end] : {std::pair{0, 13}, {13, 20014}, {20014, 40001}}) {
        Subject part = parts;
        part.param = parts.param.slice(begin, end);
        if (part.copy) part.copy = parts.copy.slice(begin, end);
        for (Tensor& x : part.states) x = x ? x.slice(begin, end) : x;
        part.update(c.rule, grad.slice(begin, end), control(tested, t));
      }
    }
    EXPECT_EQ(whole.values(), parts.values());
  }
}

TEST_P(UpdateRuleKernels, TheSameBitsForAnyThreads) {
  constexpr std::int64_t n = 100003;
  const Tensor start = test::random_tensor({n}, 1, DType::f32, tested), grad = gradient(n, 1, tested);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.title);
    test::expect_same_for_any_threads([&] {
      const Subject subject(c.rule, start, false);
      subject.update(c.rule, grad, control(tested, 2));
      return subject.param.values();
    });
  }
}

void expect_nothing_changes_without_a_finite_gradient(Device device, bool with_copy) {
  constexpr std::int64_t n = 33;
  const Tensor start = test::random_tensor({n}, 1, backend_of(device).default_float(), device);
  const Tensor bad = start.clone();
  backend_of(device).fill({.x = bad, .value = std::numeric_limits<double>::quiet_NaN()});
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.title);
    const Subject subject(c.rule, start, with_copy);
    subject.update(c.rule, gradient(n, 1, device), control(device, 1));
    const auto before = subject.values();
    subject.update(c.rule, bad, control(device, 2, /*finite=*/0.0));
    EXPECT_EQ(subject.values(), before);
  }
}

TEST(UpdateRule, NothingChangesOnReferenceWithoutAFiniteGradient) {
  expect_nothing_changes_without_a_finite_gradient(reference, false);
}

TEST_P(UpdateRuleKernels, NothingChangesWithoutAFiniteGradient) {
  expect_nothing_changes_without_a_finite_gradient(tested, with_copy());
}

// What stands in the buffer plays no part in the first step.
TEST_P(UpdateRuleKernels, TheFirstStepOfMomentumHasNoPast) {
  for (const Device device : {tested, reference}) {
    const Tensor start = test::random_tensor({19}, 1, backend_of(device).default_float(), device);
    const Subject clean(MomentumRule{}, start, false), spoilt(MomentumRule{}, start, false);
    backend_of(device).fill({.x = spoilt.states[0], .value = 1e9});
    for (const Subject* subject : {&clean, &spoilt})
      subject->update(MomentumRule{}, gradient(19, 1, device), control(device, 1));
    EXPECT_EQ(spoilt.values(), clean.values());
  }
}

// A gradient that is 0 has no sign: only the decay acts.
TEST_P(UpdateRuleKernels, ZeroHasNoSign) {
  for (const Device device : {tested, reference}) {
    const DType dtype = backend_of(device).default_float();
    const Tensor start = Tensor::from(std::vector<double>(19, 1.0), {19}, dtype, device);
    for (const UpdateRule& rule : {UpdateRule(SignumRule{}), UpdateRule(LionRule{})}) {
      const Subject subject(rule, start, false);
      subject.update(rule, Tensor::zeros({19}, dtype, device), control(device, 1));
      const double kept = 1 - lr * lr_scale * weight_decay;
      EXPECT_TRUE(test::close(subject.param.values(), std::vector<double>(19, kept), 1e-7)) << name_of(rule);
    }
  }
}

}  // namespace
}  // namespace monge
