// Rows: softmax and the norms.
#include "autograd/ops.h"
#include "autograd/ops/common.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_softmax("softmax");
const Op op_layer_norm("layer_norm");
const Op op_rms_norm("rms_norm");
const Op op_add_norm("add_norm");

void require_per_column(const Op& op, const char* what, const Var& v, const Shape& x) {
  require(!v.defined() || v.shape() == Shape{x.last()}, "[{}] {} {} for rows of {}: it has one element per column",
          op.name(), what, v.shape(), x);
}

/// Allocates the outputs and runs the kernel; what it returns is all that backward needs.
kernel::Norm run_norm(const Op& op, NormKind kind, const Var& x, const Var& residual, const Var& gain, const Var& bias,
                      double eps) {
  require(x.shape().rank() >= 1, "[{}] of a scalar", op.name());
  require_per_column(op, "gain", gain, x.shape());
  require_per_column(op, "bias", bias, x.shape());
  const Tensor& rows = x.value();
  const auto statistic = [&] { return Tensor::empty({x.shape().rows()}, stat_dtype(rows), rows.device()); };
  kernel::Norm norm{.kind = kind,
                    .eps = eps,
                    .x = rows,
                    .residual = residual.value(),
                    .gain = gain.value(),
                    .bias = bias.value(),
                    .y = Tensor::like(rows),
                    .rstd = statistic()};
  if (residual.defined()) norm.sum = Tensor::like(rows);
  if (kind == NormKind::layer) norm.mean = statistic();
  rows.backend().norm(norm);
  return norm;
}

/// The saved part of a norm, ready for a backward call.
kernel::NormBackward saved(const kernel::Norm& norm) {
  return {.kind = norm.kind,
          .x = norm.sum.defined() ? norm.sum : norm.x,
          .gain = norm.gain,
          .mean = norm.mean,
          .rstd = norm.rstd};
}

/// Runs the kernel; the gradients of gain and bias go to inputs `gain` and `gain + 1`.
void run_norm_backward(kernel::NormBackward args, Gradients& g, std::size_t gain) {
  if (g.wants(gain)) {
    const auto [dgain, accumulate] = g.slot(gain);
    args.dgain = dgain;
    args.accumulate_gain = accumulate;
  }
  if (g.wants(gain + 1)) {
    const auto [dbias, accumulate] = g.slot(gain + 1);
    args.dbias = dbias;
    args.accumulate_bias = accumulate;
  }
  args.dy.backend().norm_backward(args);
}

Var norm_op(const Op& op, NormKind kind, const Var& x, const Var& gain, const Var& bias, double eps) {
  const kernel::Norm norm = run_norm(op, kind, x, {}, gain, bias, eps);
  return Tape::record(op, norm.y, {x, gain, bias}, [args = saved(norm)](Gradients& g) mutable {
    args.dy = g.out();
    args.dx = Tensor::like(g.out());
    run_norm_backward(args, g, 1);
    g.add(0, args.dx);
  });
}

}  // namespace

Var softmax(const Var& x) {
  require(x.shape().rank() >= 1, "[softmax] of a scalar");
  const Tensor y = Tensor::like(x.value());
  y.backend().softmax({.x = x.value(), .y = y});
  return Tape::record(op_softmax, y, {x}, [=](Gradients& g) {
    const Tensor dx = Tensor::like(y);
    y.backend().softmax_backward({.y = y, .dy = g.out(), .dx = dx});
    g.add(0, dx);
  });
}

Var layer_norm(const Var& x, const Var& gain, const Var& bias, double eps) {
  return norm_op(op_layer_norm, NormKind::layer, x, gain, bias, eps);
}

Var rms_norm(const Var& x, const Var& gain, double eps) {
  return norm_op(op_rms_norm, NormKind::rms, x, gain, {}, eps);
}

SumAndNorm add_norm(NormKind kind, const Var& x, const Var& residual, const Var& gain, const Var& bias, double eps) {
  require(x.shape() == residual.shape(), "[add_norm] x {} and residual {} have different shapes", x.shape(),
          residual.shape());
  require(kind == NormKind::layer || !bias.defined(), "[add_norm] an rms norm has no bias");
  const kernel::Norm norm = run_norm(op_add_norm, kind, x, residual, gain, bias, eps);
  auto outputs = Tape::record(op_add_norm, {norm.sum, norm.y}, std::vector<Var>{x, residual, gain, bias},
                              [args = saved(norm)](Gradients& g) mutable {
                                Tensor dsum = g.out(0);
                                if (g.out(1).defined()) {
                                  args.dy = g.out(1);
                                  args.dsum = dsum;
                                  args.dx = dsum.defined() ? g.reuse_out(0) : Tensor::like(args.dy);
                                  run_norm_backward(args, g, 2);
                                  dsum = args.dx;
                                }
                                g.add(0, dsum);
                                g.add(1, dsum);
                              });
  return {outputs[0], outputs[1]};
}

}  // namespace monge::autograd
