#include "core/check.h"

#include "core/check_call.h"
#include "core/error.h"

namespace monge::check {

// --- memory ---

void copy_from_host(Device device, const void* from, const Tensor& to) {
  const Call call("copy_from_host", device, {{"to", &to, Type::any}});
  call.need(from != nullptr || to.bytes() == 0, "the host address is null");
}

void copy_to_host(Device device, const Tensor& from, const void* to) {
  const Call call("copy_to_host", device, {{"from", &from, Type::any}});
  call.need(to != nullptr || from.bytes() == 0, "the host address is null");
}

void copy(Device device, const Tensor& from, const Tensor& to) {
  const Call call("copy", device, {{"from", &from, Type::any}, {"to", &to, Type::any}});
  call.need(is_floating(from.dtype()) == is_floating(to.dtype()), "floats and integers do not convert");
  call.count("to", to, from.numel());
  call.apart("to", to, from);
}

void fill(Device device, const Tensor& x) { const Call call("fill", device, {{"x", &x, Type::any}}); }

// --- random ---

namespace {

void check_random(const Call& call, const Random& random) { call.count("random.step", random.step, 1); }

void draw(const char* op, Device device, const Tensor& x, const Random& random) {
  const Call call(op, device, {{"x", &x}, optional("random.step", &random.step, Type::i32)});
  check_random(call, random);
}

}  // namespace

void uniform(Device device, const Tensor& x, const Random& random) { draw("uniform", device, x, random); }
void normal(Device device, const Tensor& x, const Random& random) { draw("normal", device, x, random); }

void dropout(Device device, const Tensor& x, const Tensor& y, double p, const Random& random) {
  const Call call("dropout", device, {{"x", &x}, {"y", &y}, optional("random.step", &random.step, Type::i32)});
  check_random(call, random);
  call.need(p >= 0.0 && p < 1.0, "p must be in [0, 1), got {}", p);
  call.same_shape("y", y, x);
  call.apart_or_same("y", y, x);
}

// --- products ---

void matmul(Device device, const Matmul& args) {
  const Call call("matmul", device,
                  {{"a", &args.a},
                   {"b", &args.b},
                   {"out", &args.out, Type::wide_number},
                   optional("bias", &args.bias),
                   optional("pre_activation", &args.pre_activation, Type::wide_number)});
  const int rank = args.a.rank();
  call.need(rank == 2 || rank == 3, "a must have 2 or 3 dimensions");
  call.need(args.b.rank() == rank && args.out.rank() == rank, "a, b and out must have the same number of dimensions");
  call.need(rank == 2 || (args.a.size(0) == args.b.size(0) && args.a.size(0) == args.out.size(0)),
            "a, b and out must share their first dimension");
  const auto m = args.a.size(args.transpose_a ? -1 : -2), k = args.a.size(args.transpose_a ? -2 : -1);
  const auto k_of_b = args.b.size(args.transpose_b ? -1 : -2), n = args.b.size(args.transpose_b ? -2 : -1);
  const auto mark = [](bool transposed) { return transposed ? " (transposed)" : ""; };
  call.need(k == k_of_b, "K is {} in a{} and {} in b{}", k, mark(args.transpose_a), k_of_b, mark(args.transpose_b));
  call.need(args.out.size(-2) == m && args.out.size(-1) == n, "out must be ({}{}, {})", rank == 3 ? "N, " : "", m, n);
  call.need(!args.bias || (args.bias.rank() == 1 && args.bias.numel() == n), "bias must be ({})", n);
  call.same_shape("pre_activation", args.pre_activation, args.out);
  call.need(!args.pre_activation || args.pre_activation.dtype() == args.out.dtype(),
            "pre_activation must have the dtype of out");
  call.need(!args.accumulate || (!args.bias && !args.pre_activation && args.activation == Activation::none),
            "accumulate goes with neither bias nor activation");
  for (const Tensor* in : {&args.a, &args.b, &args.bias}) {
    call.apart("out", args.out, *in);
    call.apart("pre_activation", args.pre_activation, *in);
  }
  call.apart("pre_activation", args.pre_activation, args.out);
}

// --- elementwise ---

namespace {

bool is_suffix(const Shape& b, const Shape& a) {
  if (b.rank() > a.rank()) return false;
  for (int i = 1; i <= b.rank(); ++i) {
    if (b[-i] != a[-i]) return false;
  }
  return true;
}

void binary(const char* op, Device device, const Tensor& a, const Tensor& b, const Tensor& out,
            Type type = Type::number) {
  const Call call(op, device, {{"a", &a, type}, {"b", &b, type}, {"out", &out, type}});
  call.need(b.numel() == 1 || is_suffix(b.shape(), a.shape()),
            "b must have the shape of a, a suffix of it or one element");
  call.same_shape("out", out, a);
  call.apart_or_same("out", out, a);
  if (!b.same_memory(a)) call.apart("out", out, b);
}

/// y = f(x), element by element.
void unary(const char* op, Device device, const char* x_name, const Tensor& x, const char* y_name, const Tensor& y,
           Type type = Type::number) {
  const Call call(op, device, {{x_name, &x, type}, {y_name, &y, type}});
  call.same_shape(y_name, y, x);
  call.apart_or_same(y_name, y, x);
}

}  // namespace

void add(Device device, const Tensor& a, const Tensor& b, const Tensor& out) { binary("add", device, a, b, out); }
void mul(Device device, const Tensor& a, const Tensor& b, const Tensor& out) { binary("mul", device, a, b, out); }
void scale(Device device, const Tensor& x, const Tensor& out) { unary("scale", device, "x", x, "out", out); }

void add_scaled(Device device, const Tensor& x, const Tensor& y) {
  const Call call("add_scaled", device, {{"x", &x}, {"y", &y, Type::wide_number}});
  call.same_shape("y", y, x);
  call.apart("y", y, x);
}

void pointwise(Device device, Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out) {
  if (takes_two(function)) return binary("pointwise", device, a, b, out, Type::f32);
  require(!b.defined(), "[pointwise] b must be none for a function of one number");
  unary("pointwise", device, "a", a, "out", out, Type::f32);
}

void activation(Device device, const Tensor& x, const Tensor& y) {
  const Call call("activation", device, {{"x", &x}, {"y", &y}});
  call.same_shape("y", y, x);
  call.apart_or_same("y", y, x);
}

void activation_backward(Device device, const Tensor& x, const Tensor& dy, const Tensor& dx, const Tensor& y) {
  const Call call("activation_backward", device, {{"x", &x}, {"dy", &dy}, {"dx", &dx}, optional("y", &y)});
  call.same_shape("dy", dy, x);
  call.same_shape("dx", dx, x);
  call.apart("dx", dx, x);
  call.apart_or_same("dx", dx, dy);
  call.same_shape("y", y, x);
  call.apart_or_same("y", y, x);
  call.apart("y", y, dy);
  call.apart("y", y, dx);
}

// --- shape ---

void swap_middle(Device device, const Tensor& x, const Tensor& y) {
  const Call call("swap_middle", device, {{"x", &x}, {"y", &y}});
  call.need(x.rank() == 4, "x must be (P, Q, R, S)");
  call.need(y.shape() == Shape{x.size(0), x.size(2), x.size(1), x.size(3)}, "y must be (P, R, Q, S)");
  call.apart("y", y, x);
}

// --- reductions ---

void sum(Device device, const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, const Tensor& out) {
  const Call call("sum", device, {{"x", &x}, {"out", &out, Type::wide_number}});
  call.need(outer >= 0 && n >= 0 && inner >= 0 && x.numel() == outer * n * inner, "x does not read as ({}, {}, {})",
            outer, n, inner);
  call.count("out", out, outer * inner);
  call.apart("out", out, x);
}

void repeat(Device device, const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, const Tensor& out) {
  const Call call("repeat", device, {{"x", &x}, {"out", &out}});
  call.need(outer >= 0 && n >= 0 && inner >= 0 && out.numel() == outer * n * inner, "out does not read as ({}, {}, {})",
            outer, n, inner);
  call.count("x", x, outer * inner);
  call.apart("out", out, x);
}

void dot(Device device, const Tensor& a, const Tensor& b, const Tensor& out) {
  const Call call("dot", device, {{"a", &a, Type::f32}, {"b", &b, Type::f32}, {"out", &out, Type::f32}});
  call.count("b", b, a.numel());
  call.count("out", out, 1);
}

// --- rows ---

void softmax(Device device, const Tensor& x, const Tensor& y) {
  const Call call("softmax", device, {{"x", &x}, {"y", &y}});
  call.same_shape("y", y, x);
  call.apart("y", y, x);
}

void softmax_backward(Device device, const Tensor& y, const Tensor& dy, const Tensor& dx) {
  const Call call("softmax_backward", device, {{"y", &y}, {"dy", &dy}, {"dx", &dx}});
  call.same_shape("dy", dy, y);
  call.same_shape("dx", dx, y);
  call.apart("dx", dx, y);
  call.apart("dx", dx, dy);
}

void norm(Device device, const Norm& args) {
  const bool rms = args.kind == NormKind::rms;
  const Call call("norm", device,
                  {{"x", &args.x},
                   optional("residual", &args.residual),
                   optional("gain", &args.gain),
                   optional("bias", &args.bias),
                   {"sum", &args.sum, Type::number, !args.residual.defined()},
                   {"y", &args.y},
                   {"mean", &args.mean, Type::f32, rms},
                   {"rstd", &args.rstd, Type::f32}});
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  call.need(columns > 0, "the last dimension is empty");
  call.need(!args.sum || args.residual, "sum goes with residual");
  call.need(!rms || !args.mean, "rms has no mean");
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
}

void norm_backward(Device device, const NormBackward& args) {
  const bool rms = args.kind == NormKind::rms;
  const Call call("norm_backward", device,
                  {{"x", &args.x},
                   optional("gain", &args.gain),
                   {"mean", &args.mean, Type::f32, rms},
                   {"rstd", &args.rstd, Type::f32},
                   {"dy", &args.dy},
                   optional("dsum", &args.dsum),
                   {"dx", &args.dx},
                   optional("dgain", &args.dgain, Type::wide_number),
                   optional("dbias", &args.dbias, Type::wide_number)});
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  call.need(columns > 0, "the last dimension is empty");
  call.need(!rms || !args.mean, "rms has no mean");
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
}

void rope(Device device, const Rope& args) {
  const Call call("rope", device, {{"x", &args.x}, {"y", &args.y}});
  call.need(args.x.rank() == 3, "x must be (B, T, W)");
  call.same_shape("y", args.y, args.x);
  call.need(args.heads >= 0 && args.head_dim > 0 && args.head_dim % 2 == 0,
            "head_dim must be even and positive, got {}", args.head_dim);
  call.need(args.heads * args.head_dim <= args.x.shape().last(), "{} heads of {} do not fit in a row", args.heads,
            args.head_dim);
  call.need(args.start >= 0 && args.base > 0.0, "start must not be negative and base must be positive, got {} and {}",
            args.start, args.base);
  call.apart_or_same("y", args.y, args.x);
}

// --- embedding and loss ---

void embedding(Device device, const Tensor& ids, const Tensor& table, const Tensor& out) {
  const Call call("embedding", device, {{"ids", &ids, Type::i32}, {"table", &table}, {"out", &out}});
  call.need(table.rank() == 2, "table must be (V, C)");
  call.matrix("out", out, ids.numel(), table.size(1));
  call.apart("out", out, table);
}

void embedding_backward(Device device, const Tensor& ids, const Tensor& dout, const Tensor& dtable) {
  const Call call("embedding_backward", device,
                  {{"ids", &ids, Type::i32}, {"dout", &dout}, {"dtable", &dtable, Type::wide_number}});
  call.need(dtable.rank() == 2, "dtable must be (V, C)");
  call.matrix("dout", dout, ids.numel(), dtable.size(1));
  call.apart("dtable", dtable, dout);
}

void target_share(Device device, const Tensor& targets, const Tensor& share) {
  const Call call("target_share", device, {{"targets", &targets, Type::i32}, {"share", &share, Type::f32}});
  call.count("share", share, 1);
}

void sample_targets(Device device, const Tensor& logits, const Random& random, const Tensor& targets) {
  const Call call(
      "sample_targets", device,
      {{"logits", &logits}, {"targets", &targets, Type::i32}, optional("random.step", &random.step, Type::i32)});
  check_random(call, random);
  call.need(logits.shape().last() > 0, "the vocabulary is empty");
  call.count("targets", targets, logits.shape().rows());
}

void cross_entropy(Device device, const CrossEntropy& args) {
  const Call call("cross_entropy", device,
                  {{"logits", &args.logits},
                   {"targets", &args.targets, Type::i32},
                   optional("share", &args.share, Type::f32),
                   {"losses", &args.losses, Type::f32},
                   {"lse", &args.lse, Type::f32},
                   {"summary", &args.summary, Type::f32}});
  const auto rows = args.logits.shape().rows();
  call.need(args.logits.shape().last() > 0, "the vocabulary is empty");
  call.count("targets", args.targets, rows);
  call.count("share", args.share, 1);
  call.count("losses", args.losses, rows);
  call.count("lse", args.lse, rows);
  call.count("summary", args.summary, 2);
}

void cross_entropy_backward(Device device, const CrossEntropyBackward& args) {
  const Call call("cross_entropy_backward", device,
                  {{"logits", &args.logits},
                   {"targets", &args.targets, Type::i32},
                   {"lse", &args.lse, Type::f32},
                   {"summary", &args.summary, Type::f32},
                   {"dloss", &args.dloss, Type::f32}});
  const auto rows = args.logits.shape().rows();
  call.count("targets", args.targets, rows);
  call.count("lse", args.lse, rows);
  call.count("summary", args.summary, 2);
  call.count("dloss", args.dloss, 1);
}

// --- update ---

void clip_factor(Device device, const Tensor& grads, double max_norm, const Tensor& control) {
  const Call call("clip_factor", device, {{"grads", &grads, Type::f32}, {"control", &control, Type::f32}});
  call.need(max_norm >= 0.0, "max_norm must not be negative, got {}", max_norm);
  call.count("control", control, Control::size);
}

void update(Device device, const Update& args) {
  const auto names = states_of(args.rule);
  const auto state = [&](std::size_t k) {
    return k < names.size() ? Arg{names[k], &args.states[k], Type::f32}
                            : optional("a state too many", &args.states[k], Type::f32);
  };
  static_assert(max_update_states == 3);
  const Call call(name_of(args.rule), device,
                  {{"param", &args.param, Type::f32},
                   {"grad", &args.grad, Type::f32},
                   state(0),
                   state(1),
                   state(2),
                   optional("copy", &args.copy, Type::bf16),
                   {"control", &args.control, Type::f32}});
  const auto n = args.param.numel();
  call.count("grad", args.grad, n);
  for (std::size_t k = 0; k < names.size(); ++k) call.count(names[k], args.states[k], n);
  for (std::size_t k = names.size(); k < max_update_states; ++k) {
    call.need(!args.states[k].defined(), "more states than the rule's {}", names.size());
  }
  call.count("copy", args.copy, n);
  call.count("control", args.control, Control::size);
}

void directed_step(Device device, const DirectedStep& args) {
  for (const auto& m : args.matrices) {
    const Call call("directed_step", device,
                    {{"param", &m.param, Type::f32},
                     {"before", &m.before, Type::f32},
                     {"direction", &m.direction, Type::f32},
                     {"gradient", &m.gradient, Type::f32},
                     optional("copy", &m.copy, Type::bf16),
                     {"control", &args.control, Type::f32}});
    const auto n = m.param.numel();
    call.count("before", m.before, n);
    call.count("direction", m.direction, n);
    call.count("gradient", m.gradient, n);
    call.count("copy", m.copy, n);
    call.count("control", args.control, Control::size);
    call.need(args.graft >= 0.0 && args.kl >= 0.0, "graft ({}) and kl ({}) must not be negative", args.graft, args.kl);
  }
}

}  // namespace monge::check
