// Softmax, norms and rotary positions of a device against the reference backend.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/kernels.h"

namespace monge {
namespace {

using test::some_rows;
using test::some_widths;
using test::tested;
using Tensors = std::vector<Tensor>;

class RowsKernels : public test::Kernels {};
MONGE_KERNEL_TESTS(RowsKernels);

const test::Kernel softmax = [](Backend& d, const Tensors& t) { d.softmax({.x = t[0], .y = t[1]}); };

TEST_P(RowsKernels, Softmax) {
  for (const std::int64_t r : some_rows) {
    for (const std::int64_t c : some_widths) compare({random({r, c}, 1, 3.0), blank({r, c})}, {1}, softmax);
  }
  compare({random({2, 50257}, 1, 3.0), blank({2, 50257})}, {1}, softmax);
}

TEST_P(RowsKernels, SoftmaxOfExtremeRows) {
  std::vector<double> values(4 * 65, -100.0);
  values[65 + 64] = 80.0;
  for (std::size_t i = 0; i < 65; ++i) values[2 * 65 + i] = (i % 3 == 0) ? 1e4 : -1e4;
  for (std::size_t i = 0; i < 65; ++i) values[3 * 65 + i] = (i == 5) ? 1.0 : -INFINITY;
  compare({tensor(values, {4, 65}), blank({4, 65})}, {1}, softmax);
}

TEST_P(RowsKernels, SoftmaxHandsNanOn) {
  const Tensor x = tensor({1.0, NAN, 2.0}, {3}), y = blank({3});
  backend_of(tested).softmax({.x = x, .y = y});
  for (const double v : y.values()) EXPECT_TRUE(std::isnan(v));
}

TEST_P(RowsKernels, SoftmaxBackward) {
  for (const std::int64_t r : some_rows) {
    for (const std::int64_t c : some_widths) {
      const Tensor y = blank({r, c});
      backend_of(tested).softmax({.x = random({r, c}, 1), .y = y});
      compare({y, random({r, c}, 2), blank({r, c})}, {2},
              [](Backend& d, const Tensors& t) { d.softmax_backward({.y = t[0], .dy = t[1], .dx = t[2]}); });
    }
  }
}

// --- norm ---

struct NormCase {
  NormKind kind;
  bool residual, gain, bias;
};

const std::vector<NormCase> norm_cases{{NormKind::layer, true, true, true},    {NormKind::layer, false, true, false},
                                       {NormKind::layer, false, false, false}, {NormKind::layer, true, false, true},
                                       {NormKind::rms, true, true, false},     {NormKind::rms, false, true, true},
                                       {NormKind::rms, false, false, false}};

enum NormTensor : std::size_t { X, Residual, Gain, Bias, Sum, Y, Mean, Rstd };

kernel::Norm norm_of(NormKind kind, const Tensors& t) {
  return {.kind = kind,
          .eps = 1e-5,
          .x = t[X],
          .residual = t[Residual],
          .gain = t[Gain],
          .bias = t[Bias],
          .sum = t[Sum],
          .y = t[Y],
          .mean = t[Mean],
          .rstd = t[Rstd]};
}

/// Few digits, so that x + residual is exact in bf16: the statistics are those of the rounded sum.
Tensor coarse(const Shape& shape, std::uint64_t seed, DType dtype, double scale) {
  auto values = test::random_values(shape.numel(), seed);
  for (double& v : values) v = std::clamp(std::round(v * 16.0) / 16.0, -3.9375, 3.9375) * scale;
  return Tensor::from(values, shape, dtype, tested);
}

TEST_P(RowsKernels, Norm) {
  const auto run = [](const NormCase& norm, const Shape& shape, double scale) {
    const Shape stat{shape.rows()}, row{shape.last()};
    const bool layer = norm.kind == NormKind::layer;
    const Tensors tensors{
        coarse(shape, 1, dtype(), scale),           norm.residual ? coarse(shape, 2, dtype(), scale) : Tensor(),
        norm.gain ? random(row, 3) : Tensor(),      norm.bias ? random(row, 4) : Tensor(),
        norm.residual ? blank(shape) : Tensor(),    blank(shape),
        layer ? blank(stat, DType::f32) : Tensor(), blank(stat, DType::f32)};
    compare(tensors, {Sum, Y, Mean, Rstd}, [&](Backend& d, const Tensors& t) { d.norm(norm_of(norm.kind, t)); });
  };
  for (const NormCase& norm : norm_cases) {
    for (const std::int64_t r : {1, 7, 65}) {
      for (const std::int64_t c : {2, 7, 16, 33, 64, 65, 257}) run(norm, {r, c}, 1.0);
    }
    run(norm, {3, 65}, 0x1p13);
    run(norm, {3, 65}, 0x1p-13);
    run(norm, {2, 300, 128}, 1.0);
  }
}

enum BackwardTensor : std::size_t { Bx, Bgain, Bmean, Brstd, Bdy, Bdsum, Bdx, Bdgain, Bdbias };

kernel::NormBackward norm_backward_of(NormKind kind, bool accumulate, const Tensors& t) {
  return {.kind = kind,
          .x = t[Bx],
          .gain = t[Bgain],
          .mean = t[Bmean],
          .rstd = t[Brstd],
          .dy = t[Bdy],
          .dsum = t[Bdsum],
          .dx = t[Bdx],
          .dgain = t[Bdgain],
          .dbias = t[Bdbias],
          .accumulate_gain = accumulate,
          .accumulate_bias = accumulate};
}

/// What a backward reads: inputs, and the statistics that the forward left.
Tensors norm_backward_inputs(const NormCase& norm, const Tensor& x, const Tensor& gain, DType gradient) {
  const Shape stat{x.shape().rows()}, row{x.shape().last()};
  const auto random = [&](const Shape& shape, std::uint64_t seed, DType dtype) {
    return test::random_tensor(shape, seed, dtype, tested);
  };
  kernel::Norm forward;
  forward.kind = norm.kind;
  forward.x = x;
  forward.gain = gain;
  forward.y = Tensor::like(x);
  forward.rstd = Tensor::empty(stat, DType::f32, tested);
  if (norm.kind == NormKind::layer) forward.mean = Tensor::empty(stat, DType::f32, tested);
  backend_of(tested).norm(forward);
  return {x,
          gain,
          forward.mean,
          forward.rstd,
          random(x.shape(), 5, x.dtype()),
          norm.residual ? random(x.shape(), 6, x.dtype()) : Tensor(),
          random(x.shape(), 7, x.dtype()),
          norm.gain ? random(row, 8, gradient) : Tensor(),
          norm.bias ? random(row, 9, gradient) : Tensor()};
}

TEST_P(RowsKernels, NormBackward) {
  const auto run = [](const NormCase& norm, const Shape& shape, double stddev) {
    const Tensor x = random(shape, 1, stddev), gain = norm.gain ? random({shape.last()}, 2) : Tensor();
    for (const bool accumulate : {false, true}) {
      const DType gradient = accumulate ? DType::f32 : dtype();
      compare(norm_backward_inputs(norm, x, gain, gradient), {Bdx, Bdgain, Bdbias},
              [&](Backend& d, const Tensors& t) { d.norm_backward(norm_backward_of(norm.kind, accumulate, t)); });
    }
  };
  for (const NormCase& norm : norm_cases) {
    for (const std::int64_t r : {1, 7, 65}) {
      for (const std::int64_t c : {7, 16, 33, 65, 257}) run(norm, {r, c}, 1.0);  // of 2, dx is all cancellation
    }
    run(norm, {3, 65}, 1e4);
  }
  run(norm_cases.front(), {700, 128}, 1.0);  // more than one chunk of rows
  run(norm_cases.back(), {700, 128}, 1.0);
}

TEST_P(RowsKernels, NormBackwardInPlaceOfTheSum) {
  const NormCase norm{NormKind::layer, true, true, true};
  auto apart = norm_backward_inputs(norm, random({65, 33}, 1), random({33}, 2), dtype());
  auto in_place = apart;
  in_place[Bdx] = in_place[Bdsum] = apart[Bdsum].clone();
  backend_of(tested).norm_backward(norm_backward_of(norm.kind, false, apart));
  backend_of(tested).norm_backward(norm_backward_of(norm.kind, false, in_place));
  EXPECT_EQ(in_place[Bdx].values(), apart[Bdx].values());
}

TEST_P(RowsKernels, NormBackwardIsTheSameForAnyThreads) {
  const NormCase norm{NormKind::layer, true, true, true};
  const auto inputs = norm_backward_inputs(norm, random({1000, 257}, 1), random({257}, 2), DType::f32);
  test::expect_same_for_any_threads([&] {
    backend_of(tested).norm_backward(norm_backward_of(norm.kind, false, inputs));
    auto values = inputs[Bdx].values();
    for (const std::size_t i : {Bdgain, Bdbias}) {
      for (const double v : inputs[i].values()) values.push_back(v);
    }
    return values;
  });
}

// --- rope ---

TEST_P(RowsKernels, Rope) {
  struct Case {
    std::int64_t B, T, W, heads, D, start;
    double base;
  };
  for (const Case& c :
       {Case{1, 1, 2, 1, 2, 0, 1e4}, Case{2, 65, 96, 2, 32, 0, 1e4}, Case{3, 7, 33, 1, 22, 5, 1e4},
        Case{1, 200, 64, 1, 64, 100000, 1e4}, Case{1, 9, 70, 1, 66, 3, 500.0}, Case{1, 4, 8, 0, 8, 0, 1e4}}) {
    for (const bool inverse : {false, true}) {
      const auto rope = [&](std::size_t out) {
        return [=](Backend& d, const Tensors& t) {
          d.rope({.x = t[0],
                  .y = t[out],
                  .heads = c.heads,
                  .head_dim = c.D,
                  .start = c.start,
                  .base = c.base,
                  .inverse = inverse});
        };
      };
      const Shape shape{c.B, c.T, c.W};
      const Tensor x = random(shape, 1);
      compare({x, blank(shape)}, {1}, rope(1));
      compare({x}, {0}, rope(0));
    }
  }
}

}  // namespace
}  // namespace monge
