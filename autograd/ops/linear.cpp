// Products: matmul, linear.
#include "autograd/ops.h"
#include "autograd/ops/common.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_matmul("matmul");
const Op op_linear("linear");
const Op op_mlp("mlp");
const Op op_split_linear("split_linear");

/// Shape of op(a) op(b).
Shape product_shape(const Shape& a, const Shape& b, bool transpose_a, bool transpose_b) {
  const bool ranks = a.rank() == b.rank() && (a.rank() == 2 || a.rank() == 3);
  require(ranks && (a.rank() == 2 || a[0] == b[0]) && a[transpose_a ? -2 : -1] == b[transpose_b ? -1 : -2],
          "[matmul] {}{} by {}{}: two matrices or two equally long batches of them, with inner sizes that agree", a,
          transpose_a ? " transposed" : "", b, transpose_b ? " transposed" : "");
  return a.with(-2, a[transpose_a ? -1 : -2]).with(-1, b[transpose_b ? -2 : -1]);
}

void check_linear(const Var& x, const Tensor& w, const Var& bias) {
  require(w.rank() == 2 && x.shape().rank() >= 1 && x.shape().last() == w.size(1),
          "[linear] x {} by weight {}: x (..., K), weight (M, K)", x.shape(), w.shape());
  require(!bias.defined() || bias.shape() == Shape{w.size(0)},
          "[linear] bias {} for weight {}: bias (M), weight (M, K)", bias.shape(), w.shape());
}

// The three parts of the backward of y = x W^T + bias; dy and x as matrices.

void weight_gradient(Gradients& g, std::size_t input, const Tensor& dy, const Tensor& x) {
  if (!g.wants(input)) return;
  const auto [dw, accumulate] = g.slot(input);
  dw.backend().matmul({.a = dy, .transpose_a = true, .b = x, .out = dw, .accumulate = accumulate});
}
void bias_gradient(Gradients& g, std::size_t input, const Tensor& dy) {
  if (!g.wants(input)) return;
  const auto [dbias, accumulate] = g.slot(input);
  dbias.backend().sum({.x = dy, .n = dy.size(0), .inner = dy.size(1), .out = dbias, .accumulate = accumulate});
}
void input_gradient(Gradients& g, std::size_t input, const Tensor& dy, const Tensor& w) {
  if (!g.wants(input)) return;
  const auto [dx, accumulate] = g.slot(input);
  dx.backend().matmul({.a = dy, .b = w, .out = as_rows(dx), .accumulate = accumulate});
}

}  // namespace

Var matmul(const Var& a, const Var& b, bool transpose_a, bool transpose_b) {
  const Tensor x = a.value(), w = b.value();
  const Tensor y = Tensor::empty(product_shape(x.shape(), w.shape(), transpose_a, transpose_b), x.dtype(), x.device());
  y.backend().matmul({.a = x, .transpose_a = transpose_a, .b = w, .transpose_b = transpose_b, .out = y});
  return Tape::record(op_matmul, y, {a, b}, [=](Gradients& g) {
    const Tensor& dy = g.out();
    const auto product = [&](std::size_t input, const Tensor& p, bool tp, const Tensor& q, bool tq) {
      const auto [grad, accumulate] = g.slot(input);
      grad.backend().matmul(
          {.a = p, .transpose_a = tp, .b = q, .transpose_b = tq, .out = grad, .accumulate = accumulate});
    };
    if (g.wants(0)) transpose_a ? product(0, w, transpose_b, dy, true) : product(0, dy, false, w, !transpose_b);
    if (g.wants(1)) transpose_b ? product(1, dy, true, x, transpose_a) : product(1, x, !transpose_a, dy, false);
  });
}

Var linear(const Var& x, const Var& weight, const Var& bias, Activation activation) {
  const Tensor w = weight.value();
  check_linear(x, w, bias);

  const Tensor rows = as_rows(x.value());
  const Tensor y = Tensor::empty(x.shape().with(-1, w.size(0)), rows.dtype(), rows.device());
  const bool keeps_z = activation != Activation::none && Tape::would_record({x, weight, bias});
  const Tensor z = keeps_z ? Tensor::like(as_rows(y)) : Tensor();  // the value before the activation
  y.backend().matmul({.a = rows,
                      .b = w,
                      .transpose_b = true,
                      .out = as_rows(y),
                      .bias = bias.value(),
                      .activation = activation,
                      .pre_activation = z});

  return Tape::record(op_linear, y, {x, weight, bias}, [=](Gradients& g) {
    Tensor dz = as_rows(g.out());
    if (z.defined()) {
      dz = as_rows(g.reuse_out());
      dz.backend().activate_backward({.function = activation, .x = z, .dy = as_rows(g.out()), .dx = dz});
    }
    weight_gradient(g, 1, dz, rows);
    bias_gradient(g, 2, dz);
    input_gradient(g, 0, dz, w);
  });
}

Var mlp(const Var& x, const MlpWeights& weights, Activation activation) {
  const Tensor up = weights.up.value(), down = weights.down.value();
  check_linear(x, up, weights.up_bias);
  const Tensor rows = as_rows(x.value());
  const Tensor y = Tensor::empty(x.shape().with(-1, down.size(0)), rows.dtype(), rows.device());
  const Tensor hidden = Tensor::empty({rows.size(0), up.size(0)}, rows.dtype(), rows.device());
  check_linear(Var(hidden), down, weights.down_bias);
  const bool records = Tape::would_record({x, weights.up, weights.up_bias, weights.down, weights.down_bias});
  const Tensor z = records ? Tensor::like(hidden) : Tensor();  // the value before the activation
  y.backend().matmul({.a = rows,
                      .b = up,
                      .transpose_b = true,
                      .out = hidden,
                      .bias = weights.up_bias.value(),
                      .activation = activation,
                      .pre_activation = z});
  y.backend().matmul(
      {.a = hidden, .b = down, .transpose_b = true, .out = as_rows(y), .bias = weights.down_bias.value()});

  const auto backward = [=](Gradients& g) {
    const Tensor dy = as_rows(g.out());
    const Tensor dz = Tensor::like(z);
    dz.backend().matmul({.a = dy, .b = down, .out = dz});
    const Tensor& again = z;  // the hidden layer, over the value before the activation, which nobody needs any more
    dz.backend().activate_backward({.function = activation, .x = z, .dy = dz, .dx = dz, .y = again});
    weight_gradient(g, 3, dy, again);
    bias_gradient(g, 4, dy);
    weight_gradient(g, 1, dz, rows);
    bias_gradient(g, 2, dz);
    input_gradient(g, 0, dz, up);
  };
  return Tape::record(op_mlp, y, {x, weights.up, weights.up_bias, weights.down, weights.down_bias}, backward);
}

SplitLinear split_linear(const Var& x, const Var& weight, const Var& bias) {
  const Tensor w = weight.value();
  check_linear(x, w, bias);
  const Tensor rows = as_rows(x.value());
  const Tensor y = Tensor::empty(x.shape().with(-1, w.size(0)), rows.dtype(), rows.device());
  y.backend().matmul({.a = rows, .b = w, .transpose_b = true, .out = as_rows(y), .bias = bias.value()});

  const auto out =
      Tape::record(op_split_linear, {y, y}, std::initializer_list<Var>{x, weight, bias}, [=](Gradients& g) {
        if (g.out(1).defined()) weight_gradient(g, 1, as_rows(g.out(1)), rows);
        if (!g.out(0).defined()) return;
        bias_gradient(g, 2, as_rows(g.out(0)));
        input_gradient(g, 0, as_rows(g.out(0)), w);
      });
  return {out[0], out[1]};
}

}  // namespace monge::autograd
