// The reference backend against closed forms, numbers worked out by hand and identities: pointwise kernels, products,
// reductions and rows.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <numeric>

#include "support/compare.h"

namespace monge {
namespace {

using test::close;
using test::random_tensor;
using test::reference;

Backend& backend() { return backend_of(reference); }

Tensor tensor(const std::vector<double>& values, const Shape& shape) {
  return Tensor::from(values, shape, DType::f64, reference);
}
Tensor tensor(const std::vector<double>& values) { return tensor(values, {static_cast<std::int64_t>(values.size())}); }
Tensor empty(const Shape& shape) { return Tensor::empty(shape, DType::f64, reference); }

// --- elementwise ---

TEST(Elementwise, TheSecondArgumentRepeatsAlongSuffixes) {
  const Tensor a = tensor({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor out = empty({2, 3});
  backend().add({.a = a, .b = tensor({10, 20, 30}), .out = out});
  EXPECT_EQ(out.values(), (std::vector<double>{11, 22, 33, 14, 25, 36}));
  backend().mul({.a = a, .b = tensor({2}), .out = out});
  EXPECT_EQ(out.values(), (std::vector<double>{2, 4, 6, 8, 10, 12}));
  backend().mul({.a = a, .b = a, .out = out});
  EXPECT_EQ(out.values(), (std::vector<double>{1, 4, 9, 16, 25, 36}));
  backend().add({.a = a, .b = a, .out = a});
  EXPECT_EQ(a.values(), (std::vector<double>{2, 4, 6, 8, 10, 12}));
}

TEST(Elementwise, ScaleAndAddScaled) {
  const Tensor x = tensor({1, -2, 3}), y = tensor({10, 20, 30}), out = empty({3});
  backend().scale({.x = x, .factor = -0.5, .out = out});
  EXPECT_EQ(out.values(), (std::vector<double>{-0.5, 1, -1.5}));
  backend().add_scaled({.x = x, .factor = 2.0, .y = y});
  EXPECT_EQ(y.values(), (std::vector<double>{12, 16, 36}));
}

TEST(Activation, PublishedValues) {
  // gelu(x) = x Phi(x) with Phi(1) = 0.841344746068542949 and Phi(-3) = 0.00134989803163009453; silu(1) = 1 / (1 +
  // 1/e).
  const Tensor x = tensor({0, 1, -3, 40, -40}), y = empty({5});
  backend().activate({.function = Activation::gelu, .x = x, .y = y});
  EXPECT_TRUE(close(y.values(), {0, 0.841344746068542949, -3 * 0.00134989803163009453, 40, 0}, 1e-15));
  backend().activate({.function = Activation::silu, .x = x, .y = y});
  EXPECT_TRUE(close(y.values(), {0, 0.731058578630004879, -3 / (1 + std::exp(3.0)), 40, -40 * std::exp(-40.0)}, 1e-15));
  backend().activate(
      {.function = Activation::gelu_tanh, .x = x, .y = y});  // 0.841191990608 is PyTorch's gelu(1, approximate="tanh")
  EXPECT_NEAR(y.values()[1], 0.8411919906082768, 1e-15);
  backend().activate({.function = Activation::none, .x = x, .y = y});
  EXPECT_EQ(y.values(), x.values());
}

TEST(Activation, TheTanhFormStaysNearTheExactOne) {
  const Tensor x = empty({1001}), exact = empty({1001}), approximate = empty({1001});
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data_as<double>()[i] = -8.0 + 0.016 * static_cast<double>(i);
  backend().activate({.function = Activation::gelu, .x = x, .y = exact});
  backend().activate({.function = Activation::gelu_tanh, .x = x, .y = approximate});
  const auto a = exact.values(), b = approximate.values();
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 5e-4);
}

TEST(Activation, SymmetryOfTheExactForms) {  // f(x) - f(-x) = x for gelu, gelu_tanh and silu
  const Tensor x = random_tensor({100}, 1), minus_x = empty({100}), y = empty({100}), z = empty({100});
  backend().scale({.x = x, .factor = -1.0, .out = minus_x});
  for (const auto kind : {Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
    backend().activate({.function = kind, .x = x, .y = y});
    backend().activate({.function = kind, .x = minus_x, .y = z});
    backend().add_scaled({.x = z, .factor = -1.0, .y = y});
    EXPECT_TRUE(close(y, x, 1e-14)) << name_of(kind);
  }
}

// --- products ---

TEST(Matmul, ByHandInAllFourTransposes) {
  const Tensor a = tensor({1, 2, 3, 4, 5, 6}, {2, 3}), a_t = tensor({1, 4, 2, 5, 3, 6}, {3, 2});
  const Tensor b = tensor({1, 0, 2, -1, 3, 1}, {3, 2}), b_t = tensor({1, 2, 3, 0, -1, 1}, {2, 3});
  const std::vector<double> expected{14, 1, 32, 1};
  const Tensor out = empty({2, 2});
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      backend().fill({.x = out, .value = -7.0});
      backend().matmul({.a = transpose_a ? a_t : a,
                        .transpose_a = transpose_a,
                        .b = transpose_b ? b_t : b,
                        .transpose_b = transpose_b,
                        .out = out});
      EXPECT_EQ(out.values(), expected) << transpose_a << transpose_b;
    }
  }
}

TEST(Matmul, AccumulatesAndAddsBiasAndActivation) {
  const Tensor a = tensor({1, 2}, {1, 2}), b = tensor({3, -4, 5, 1}, {2, 2});  // a b = (13, -2)
  const Tensor out = tensor({100, 200}, {1, 2}), before = empty({1, 2}), expected = empty({1, 2});
  backend().matmul({.a = a, .b = b, .out = out, .accumulate = true});
  EXPECT_EQ(out.values(), (std::vector<double>{113, 198}));
  backend().matmul(
      {.a = a, .b = b, .out = out, .bias = tensor({-13, 3}), .activation = Activation::gelu, .pre_activation = before});
  EXPECT_EQ(before.values(), (std::vector<double>{0, 1}));
  backend().activate({.function = Activation::gelu, .x = before, .y = expected});
  EXPECT_EQ(out.values(), expected.values());
}

TEST(Matmul, ABatchIsOneProductPerMatrix) {
  const Tensor a = random_tensor({3, 4, 5}, 1), b = random_tensor({3, 6, 5}, 2), out = empty({3, 4, 6});
  backend().matmul({.a = a, .b = b, .transpose_b = true, .out = out});
  for (std::int64_t n = 0; n < 3; ++n) {
    const Tensor one = empty({4, 6});
    backend().matmul({.a = a.slice(n, n + 1).reshape({4, 5}),
                      .b = b.slice(n, n + 1).reshape({6, 5}),
                      .transpose_b = true,
                      .out = one});
    EXPECT_EQ(out.slice(n, n + 1).values(), one.values());
  }
}

TEST(Matmul, AnEmptyInnerDimensionLeavesTheBias) {
  const Tensor out = empty({2, 2});
  backend().matmul({.a = empty({2, 0}), .b = empty({0, 2}), .out = out, .bias = tensor({1, 2})});
  EXPECT_EQ(out.values(), (std::vector<double>{1, 2, 1, 2}));
}

// --- shape and reductions ---

TEST(StridedCopy, TransposesAndUndoesIt) {
  const Tensor x = random_tensor({2, 3, 4, 5}, 1), y = empty({2, 5, 4, 3}), back = empty({2, 3, 4, 5});
  backend().strided_copy({.from = StridedView(x).transpose(1, 3), .to = y});
  const auto in = x.values(), out = y.values();
  EXPECT_EQ(out[((1 * 5 + 4) * 4 + 2) * 3 + 1], in[((1 * 3 + 1) * 4 + 2) * 5 + 4]);
  backend().strided_copy({.from = y, .to = StridedView(back).transpose(-1, 1)});
  EXPECT_EQ(back.values(), in);
}

TEST(StridedCopy, PartsOfBothSides) {
  const Tensor x = tensor({1, 2, 3, 4, 5, 6}, {2, 3}), y = tensor({10, 20, 30, 40}, {2, 2});
  backend().strided_copy({.from = StridedView(x).slice(1, 1, 3), .to = y, .accumulate = true});
  EXPECT_EQ(y.values(), (std::vector<double>{12, 23, 35, 46}));
  backend().strided_copy({.from = StridedView(x).slice(1, 0, 1), .to = StridedView(y).slice(-1, 1, 2)});
  EXPECT_EQ(y.values(), (std::vector<double>{12, 1, 35, 4}));
}

TEST(Sum, OverEachPlaceOfTheDimension) {
  const Tensor x = tensor({1, 2, 3, 4, 5, 6}, {2, 3}), rows = empty({2}), columns = tensor({100, 100, 100});
  backend().sum({.x = x, .outer = 2, .n = 3, .factor = 1.0 / 3.0, .out = rows});
  EXPECT_TRUE(close(rows.values(), {2, 5}, 1e-15));
  backend().sum({.x = x, .n = 2, .inner = 3, .factor = 2.0, .out = columns, .accumulate = true});
  EXPECT_EQ(columns.values(), (std::vector<double>{110, 114, 118}));
}

TEST(Sum, RepeatIsItsAdjoint) {  // <sum(x), y> = <x, repeat(y)>
  const Tensor x = random_tensor({2, 5, 3}, 1), y = random_tensor({2, 3}, 2);
  const Tensor summed = empty({2, 3}), repeated = empty({2, 5, 3});
  backend().sum({.x = x, .outer = 2, .n = 5, .inner = 3, .factor = 0.7, .out = summed});
  backend().repeat({.x = y, .outer = 2, .n = 5, .inner = 3, .factor = 0.7, .out = repeated});
  const auto inner = [](const Tensor& a, const Tensor& b) {
    const auto u = a.values(), v = b.values();
    return std::inner_product(u.begin(), u.end(), v.begin(), 0.0);
  };
  EXPECT_NEAR(inner(summed, y), inner(x, repeated), 1e-13);
}

// --- rows ---

TEST(Softmax, ClosedForm) {
  const Tensor x = tensor({0, std::log(2.0), std::log(5.0), 1000, 1000, -1000}, {2, 3}), y = empty({2, 3});
  backend().softmax({.x = x, .y = y});
  EXPECT_TRUE(close(y.values(), {1.0 / 8, 2.0 / 8, 5.0 / 8, 0.5, 0.5, 0}, 1e-15));
}

TEST(Softmax, RowsSumToOneAndIgnoreAShift) {
  const Tensor x = random_tensor({7, 65}, 1, DType::f64, reference, 5.0), y = empty({7, 65}), shifted = empty({7, 65});
  backend().softmax({.x = x, .y = y});
  const auto p = y.values();
  for (std::size_t r = 0; r < 7; ++r) {
    EXPECT_NEAR(std::accumulate(p.begin() + r * 65, p.begin() + (r + 1) * 65, 0.0), 1.0, 1e-14);
  }
  backend().add({.a = x, .b = tensor({123.0}), .out = x});
  backend().softmax({.x = x, .y = shifted});
  EXPECT_TRUE(close(shifted, y, 1e-12));
}

TEST(Norm, LayerRowsHaveMeanZeroAndVarianceOne) {
  const std::int64_t R = 5, C = 33;
  const Tensor x = random_tensor({R, C}, 1, DType::f64, reference, 3.0), y = empty({R, C});
  const Tensor mean = empty({R}), rstd = empty({R});
  backend().norm({.eps = 0.0, .x = x, .y = y, .mean = mean, .rstd = rstd});
  const auto values = y.values();
  for (std::int64_t r = 0; r < R; ++r) {
    double first = 0.0, second = 0.0;
    for (std::int64_t c = 0; c < C; ++c) {
      first += values[r * C + c] / C;
      second += values[r * C + c] * values[r * C + c] / C;
    }
    EXPECT_NEAR(first, 0.0, 1e-14);
    EXPECT_NEAR(second, 1.0, 1e-13);
  }
}

TEST(Norm, ByHandWithResidualGainAndBias) {
  // x + residual = (1, 3): mean 2, variance 1; with eps = 3 rstd = 1/2.
  const Tensor sum = empty({1, 2}), y = empty({1, 2}), mean = empty({1}), rstd = empty({1});
  backend().norm({.eps = 3.0,
                  .x = tensor({0.5, 1}, {1, 2}),
                  .residual = tensor({0.5, 2}, {1, 2}),
                  .gain = tensor({10, 20}),
                  .bias = tensor({1, -1}),
                  .sum = sum,
                  .y = y,
                  .mean = mean,
                  .rstd = rstd});
  EXPECT_EQ(sum.values(), (std::vector<double>{1, 3}));
  EXPECT_EQ(mean.item(), 2.0);
  EXPECT_EQ(rstd.item(), 0.5);
  EXPECT_EQ(y.values(), (std::vector<double>{-4, 9}));
}

TEST(Norm, RmsKeepsTheDirection) {
  const Tensor x = tensor({3, 4}, {1, 2}), y = empty({1, 2}), rstd = empty({1});
  backend().norm({.kind = NormKind::rms, .eps = 0.0, .x = x, .y = y, .rstd = rstd});
  const double root_mean_square = std::sqrt(12.5);
  EXPECT_NEAR(rstd.item(), 1.0 / root_mean_square, 1e-15);
  EXPECT_TRUE(close(y.values(), {3 / root_mean_square, 4 / root_mean_square}, 1e-15));
}

TEST(Norm, ALargeMeanDoesNotCancel) {
  const Tensor x = random_tensor({1, 64}, 1), far = empty({1, 64}), y = empty({1, 64}), z = empty({1, 64});
  const Tensor mean = empty({1}), rstd = empty({1});
  backend().add({.a = x, .b = tensor({1e6}), .out = far});
  backend().norm({.x = x, .y = y, .mean = mean, .rstd = rstd});
  backend().norm({.x = far, .y = z, .mean = mean, .rstd = rstd});
  EXPECT_TRUE(close(z, y, 1e-8));
}

TEST(Rope, ByHand) {
  // D = 4, base = 16: pair (0, 2) turns by the position, pair (1, 3) by position * 16^(-1/2).
  const double a = 3.0, b = 0.75;
  const Tensor x = tensor({1, 2, 0, 0, 9}, {1, 1, 5}), y = empty({1, 1, 5});
  backend().rope({.x = x, .y = y, .heads = 1, .head_dim = 4, .start = 3, .base = 16.0});
  EXPECT_TRUE(close(y.values(), {std::cos(a), 2 * std::cos(b), std::sin(a), 2 * std::sin(b), 9}, 1e-15));
}

TEST(Rope, TheInverseUndoesItAndTheRestIsCopied) {
  const Tensor x = random_tensor({2, 5, 3 * 8 + 4}, 1), y = empty({2, 5, 28}), back = empty({2, 5, 28});
  kernel::Rope rope{.x = x, .y = y, .heads = 3, .head_dim = 8, .start = 11};
  backend().rope(rope);
  EXPECT_GT(test::max_relative_error(y, x), 0.1);
  for (std::int64_t row = 0; row < 10; ++row) {
    EXPECT_EQ(y.flat_view(row * 28 + 24, {4}).values(), x.flat_view(row * 28 + 24, {4}).values());
  }
  rope.x = y;
  rope.y = back;
  rope.inverse = true;
  backend().rope(rope);
  EXPECT_TRUE(close(back, x, 1e-14));
  rope.y = y;  // in place
  backend().rope(rope);
  EXPECT_EQ(y.values(), back.values());
}

TEST(Rope, ScoresDependOnRelativePositionsOnly) {
  const std::int64_t D = 16;
  const auto q = random_tensor({1, 1, D}, 1), k = random_tensor({1, 1, D}, 2);
  const auto score = [&](std::int64_t i, std::int64_t j) {
    const Tensor turned_q = empty({1, 1, D}), turned_k = empty({1, 1, D}), out = empty({1, 1});
    backend().rope({.x = q, .y = turned_q, .heads = 1, .head_dim = D, .start = i});
    backend().rope({.x = k, .y = turned_k, .heads = 1, .head_dim = D, .start = j});
    backend().matmul({.a = turned_q.reshape({1, D}), .b = turned_k.reshape({1, D}), .transpose_b = true, .out = out});
    return out.item();
  };
  EXPECT_NEAR(score(3, 1), score(103, 101), 1e-12);
  EXPECT_NEAR(score(0, 7), score(50, 57), 1e-12);
  EXPECT_GT(std::abs(score(3, 1) - score(4, 1)), 1e-3);
}

}  // namespace
}  // namespace monge
