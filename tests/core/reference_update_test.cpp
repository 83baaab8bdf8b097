// The reference backend's updates: steps worked out by hand and what they must leave alone.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/compare.h"

namespace monge {
namespace {

using test::close;
using test::reference;

Backend& backend() { return backend_of(reference); }

Tensor tensor(const std::vector<double>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}, DType::f64, reference);
}

Tensor control(double lr, double step, double clip = 1.0, double finite = 1.0) {
  return tensor({lr, step, clip, finite, 0.0});
}

TEST(Clip, ScalesDownToTheLargestNorm) {
  const Tensor slots = control(0.1, 1);
  backend().clip_factor({.grads = tensor({3, -4}), .max_norm = 1.0, .control = slots});
  EXPECT_TRUE(close(slots.values(), {0.1, 1, 0.2, 1, 5}, 1e-15));  // lr and step stay
}

TEST(Clip, LeavesSmallGradientsAndNoLimitAlone) {
  const Tensor slots = control(0.1, 1);
  for (const double limit : {5.0, 100.0, 0.0}) {
    backend().clip_factor({.grads = tensor({3, -4}), .max_norm = limit, .control = slots});
    EXPECT_EQ(slots.values()[Control::clip], 1.0) << limit;
  }
  backend().clip_factor({.grads = tensor({0, 0}), .max_norm = 1.0, .control = slots});
  EXPECT_EQ(slots.values()[Control::clip], 1.0);
}

TEST(Clip, ReportsNonFiniteGradients) {
  const Tensor slots = control(0.1, 1);
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    backend().clip_factor({.grads = tensor({1, bad}), .max_norm = 1.0, .control = slots});
    EXPECT_EQ(slots.values()[Control::finite], 0.0);
  }
  backend().clip_factor({.grads = tensor({1, 1}), .max_norm = 1.0, .control = slots});
  EXPECT_EQ(slots.values()[Control::finite], 1.0);
}

TEST(AdamW, TwoStepsByHand) {
  // beta1 = 1/2, beta2 = 3/4, lr = 0.1, decay = 0.5, clip = 1/2: g = 2 in both steps.
  // Step 1: m = 1, v = 1; unbiased 2 and 4: p = 0.95 * 3 - 0.1 * 2 / 2 = 2.75.
  // Step 2: m = 3/2, v = 7/4; unbiased 2 and 4: p = 0.95 * 2.75 - 0.1 = 2.5125.
  const Tensor param = tensor({3}), m = tensor({0}), v = tensor({0});
  kernel::Update args{.rule = AdamWRule{.beta1 = 0.5, .beta2 = 0.75, .eps = 0.0},
              .param = param,
              .grad = tensor({4}),
              .states = {m, v},
              .control = control(0.2, 1, 0.5),
              .lr_scale = 0.5,
              .weight_decay = 0.5};
  backend().update(args);
  EXPECT_NEAR(param.item(), 2.75, 1e-15);
  EXPECT_EQ(m.item(), 1.0);
  EXPECT_EQ(v.item(), 1.0);
  args.control = control(0.2, 2, 0.5);
  backend().update(args);
  EXPECT_NEAR(param.item(), 2.5125, 1e-15);
  EXPECT_EQ(m.item(), 1.5);
  EXPECT_EQ(v.item(), 1.75);
}

TEST(AdamW, EpsIsOutsideTheRoot) {
  const Tensor param = tensor({0});
  backend().update({.rule = AdamWRule{.eps = 1e-8},
                    .param = param,
                    .grad = tensor({1e-8}),
                    .states = {tensor({0}), tensor({0})},
                    .control = control(1.0, 1)});
  EXPECT_NEAR(param.item(), -0.5, 1e-12);
}

TEST(Sgd, PlainStepWithDecay) {
  const Tensor param = tensor({1, -2});
  backend().update(
      {.rule = SgdRule{}, .param = param, .grad = tensor({10, 20}), .control = control(0.1, 1), .weight_decay = 0.5});
  EXPECT_TRUE(close(param.values(), {0.95 - 1, -1.9 - 2}, 1e-15));
}

TEST(Sgd, MomentumAndNesterovByHand) {
  for (const bool nesterov : {false, true}) {
    const Tensor param = tensor({0}), buffer = tensor({1e9});  // the first step overwrites the buffer
    kernel::Update args{.rule = MomentumRule{0.5, nesterov},
                .param = param,
                .grad = tensor({1}),
                .states = {buffer},
                .control = control(1.0, 1)};
    backend().update(args);
    EXPECT_EQ(param.item(), nesterov ? -1.5 : -1.0);
    args.control = control(1.0, 2);
    backend().update(args);  // b = 1.5
    EXPECT_EQ(buffer.item(), 1.5);
    EXPECT_EQ(param.item(), nesterov ? -1.5 - 1.75 : -1.0 - 1.5);
  }
}

/// One matrix of a kernel::DirectedStep: `before` the base rule, and `param` after it.
kernel::DirectedStep::Matrix matrix(const std::vector<double>& before, const std::vector<double>& param,
                            const std::vector<double>& direction, const std::vector<double>& gradient) {
  return {
      .param = tensor(param), .before = tensor(before), .direction = tensor(direction), .gradient = tensor(gradient)};
}

TEST(DirectedStep, GoesAlongTheDirectionInsteadOfWhatTheRuleDid) {
  kernel::DirectedStep args{.matrices = {matrix({1, -2}, {50, 60}, {3, 4}, {1, 1})}, .control = control(0.2, 1)};
  args.matrices[0].lr_scale = 0.5;
  args.matrices[0].weight_decay = 0.5;
  backend().directed_step(args);
  EXPECT_TRUE(close(args.matrices[0].param.values(), {0.95 - 0.3, -1.9 - 0.4}, 1e-15));
}

// The rule moved the parameter by (0.3, 0.4) and let it decay by a tenth: the step is as long as the first alone.
TEST(DirectedStep, GraftsTheLengthOfTheRulesStepWithoutItsDecay) {
  for (const double graft : {1.0, 0.5}) {
    kernel::DirectedStep args{.matrices = {matrix({1, -2}, {0.9 - 0.3, -1.8 - 0.4}, {0, 7}, {0, 1})},
                      .control = control(0.2, 1)};
    args.matrices[0].weight_decay = 0.5;
    args.graft = graft;
    backend().directed_step(args);
    EXPECT_TRUE(close(args.matrices[0].param.values(), {0.9, -1.8 - 0.5 * graft}, 1e-15));
  }
}

TEST(DirectedStep, TheDivergenceOfAllMatricesTogetherIsCapped) {
  // f = 0.1 for both, <v, gradient> = 3 and 5: sum f^2 <v, gradient> = 0.08.
  for (const double kl : {0.02, 0.08, 1.0}) {
    kernel::DirectedStep args{.matrices = {matrix({0}, {9}, {3}, {1}), matrix({0, 0}, {9, 9}, {1, 2}, {1, 2})},
                      .control = control(0.1, 1)};
    args.kl = kl;
    backend().directed_step(args);
    const double kept = kl == 0.02 ? 0.5 : 1.0;  // sqrt(0.02 / 0.08)
    EXPECT_TRUE(close(args.matrices[0].param.values(), {-0.3 * kept}, 1e-14)) << kl;
    EXPECT_TRUE(close(args.matrices[1].param.values(), {-0.1 * kept, -0.2 * kept}, 1e-14)) << kl;
  }
}

TEST(DirectedStep, WithoutADirectionAMatrixOnlyDecays) {
  for (const double graft : {0.0, 1.0}) {
    kernel::DirectedStep args{.matrices = {matrix({2, 4}, {7, 7}, {0, 0}, {1, 1})}, .control = control(0.1, 1)};
    args.matrices[0].weight_decay = 5.0;
    args.graft = graft;
    args.kl = 1e-3;
    backend().directed_step(args);
    EXPECT_TRUE(close(args.matrices[0].param.values(), {1, 2}, 1e-15));
  }
}

TEST(Dot, IsTheSumOfProducts) {
  const Tensor out = tensor({NAN});
  backend().dot({.a = tensor({1, 2, 3}), .b = tensor({4, -5, 6}), .out = out});
  EXPECT_EQ(out.item(), 12.0);
  backend().dot({.a = tensor({}), .b = tensor({}), .out = out});
  EXPECT_EQ(out.item(), 0.0);
}

TEST(DirectedStep, ANonFiniteGradientChangesNothing) {
  const Tensor param = tensor({1}), grad = tensor({std::numeric_limits<double>::quiet_NaN()});
  backend().directed_step(
      {.matrices = {{.param = param, .before = tensor({2}), .direction = tensor({3}), .gradient = grad}},
       .graft = 1.0,
       .kl = 1.0,
       .control = control(0.1, 5, 1.0, 0.0)});
  EXPECT_EQ(param.item(), 1.0);
}

}  // namespace
}  // namespace monge
