#include "core/kernel/rows.h"

#include "core/kernel/need.h"

namespace monge::kernel {

Call check(const Softmax& args, Device device) {
  const auto& [x, y] = args;
  const Call call("softmax", device, {{"x", &x}, {"y", &y}});
  call.same_shape("y", y, x);
  call.apart("y", y, x);
  return call;
}

Call check(const SoftmaxBackward& args, Device device) {
  const auto& [y, dy, dx] = args;
  const Call call("softmax_backward", device, {{"y", &y}, {"dy", &dy}, {"dx", &dx}});
  call.same_shape("dy", dy, y);
  call.same_shape("dx", dx, y);
  call.apart("dx", dx, y);
  call.apart("dx", dx, dy);
  return call;
}

Call check(const Norm& args, Device device) {
  const bool rms = args.kind == NormKind::rms;
  const Call call("norm", device,
                  {{"x", &args.x},
                   optional("residual", &args.residual),
                   optional("gain", &args.gain).uncounted(),
                   optional("bias", &args.bias).uncounted(),
                   {"sum", &args.sum, Type::number, !args.residual.defined()},
                   {"y", &args.y},
                   Arg{"mean", &args.mean, Type::f32, rms}.uncounted(),
                   Arg{"rstd", &args.rstd, Type::f32}.uncounted()});
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  need(call, columns > 0, "the last dimension is empty");
  need(call, !args.sum || args.residual, "sum goes with residual");
  need(call, !rms || !args.mean, "rms has no mean");
  call.matrix("residual", args.residual, rows, columns);
  call.matrix("sum", args.sum, rows, columns);
  call.matrix("y", args.y, rows, columns);
  call.count("gain", args.gain, columns);
  call.count("bias", args.bias, columns);
  call.count("mean", args.mean, rows);
  call.count("rstd", args.rstd, rows);
  for (const Tensor* in : {&args.x, &args.residual}) {
    call.apart("y", args.y, *in);
    call.apart("sum", args.sum, *in);
  }
  call.apart("sum", args.sum, args.y);
  return call;
}

Call check(const NormBackward& args, Device device) {
  const bool rms = args.kind == NormKind::rms;
  const Call call("norm_backward", device,
                  {{"x", &args.x},
                   optional("gain", &args.gain).uncounted(),
                   Arg{"mean", &args.mean, Type::f32, rms}.uncounted(),
                   Arg{"rstd", &args.rstd, Type::f32}.uncounted(),
                   {"dy", &args.dy},
                   optional("dsum", &args.dsum),
                   {"dx", &args.dx},
                   optional("dgain", &args.dgain, Type::wide_number).uncounted(),
                   optional("dbias", &args.dbias, Type::wide_number).uncounted()});
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  need(call, columns > 0, "the last dimension is empty");
  need(call, !rms || !args.mean, "rms has no mean");
  call.matrix("dy", args.dy, rows, columns);
  call.matrix("dsum", args.dsum, rows, columns);
  call.matrix("dx", args.dx, rows, columns);
  call.count("gain", args.gain, columns);
  call.count("mean", args.mean, rows);
  call.count("rstd", args.rstd, rows);
  call.count("dgain", args.dgain, columns);
  call.count("dbias", args.dbias, columns);
  call.apart("dx", args.dx, args.x);
  call.apart("dx", args.dx, args.dy);
  if (args.dsum) call.apart_or_same("dx", args.dx, args.dsum);
  return call;
}

Call check(const Rope& args, Device device) {
  const Call call("rope", device, {{"x", &args.x}, {"y", &args.y}});
  need(call, args.x.rank() == 3, "x must be (B, T, W)");
  call.same_shape("y", args.y, args.x);
  need(call, args.heads >= 0 && args.head_dim > 0 && args.head_dim % 2 == 0,
       "head_dim must be even and positive, got {}", args.head_dim);
  need(call, args.heads * args.head_dim <= args.x.shape().last(), "{} heads of {} do not fit in a row", args.heads,
       args.head_dim);
  need(call, args.start >= 0 && args.base > 0.0, "start must not be negative and base must be positive, got {} and {}",
       args.start, args.base);
  call.apart_or_same("y", args.y, args.x);
  return call;
}

}  // namespace monge::kernel
