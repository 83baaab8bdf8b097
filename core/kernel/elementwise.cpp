#include "core/kernel/elementwise.h"

#include "core/kernel/need.h"

namespace monge {

std::string_view name_of(Activation activation) {
  constexpr std::array<std::string_view, activation_count> names{
      "none", "gelu", "gelu_tanh", "silu", "relu", "sigmoid", "tanh", "exp", "log", "sqrt", "abs", "reciprocal"};
  return names[static_cast<std::size_t>(activation)];
}

}  // namespace monge

namespace monge::kernel {
namespace {

bool is_suffix(const Shape& b, const Shape& a) {
  if (b.rank() > a.rank()) return false;
  for (int i = 1; i <= b.rank(); ++i) {
    if (b[-i] != a[-i]) return false;
  }
  return true;
}

/// out = f(a, b)
Call binary(const char* name, Device device, const Tensor& a, const Tensor& b, const Tensor& out) {
  const Call call(name, device, {{"a", &a}, {"b", &b}, {"out", &out}});
  need(call, b.numel() == 1 || is_suffix(b.shape(), a.shape()),
       "b must have the shape of a, a suffix of it or one element");
  call.same_shape("out", out, a);
  call.apart_or_same("out", out, a);
  if (!b.same_memory(a)) call.apart("out", out, b);
  return call;
}

/// y = f(x)
Call unary(const char* name, Device device, const Arg& x, const Arg& y) {
  const Call call(name, device, {x, y});
  call.same_shape(y.name, *y.tensor, *x.tensor);
  call.apart_or_same(y.name, *y.tensor, *x.tensor);
  return call;
}

}  // namespace

Call check(const Add& args, Device device) { return binary("add", device, args.a, args.b, args.out); }
Call check(const Mul& args, Device device) { return binary("mul", device, args.a, args.b, args.out); }
Call check(const Scale& args, Device device) { return unary("scale", device, {"x", &args.x}, {"out", &args.out}); }

Call check(const AddScaled& args, Device device) {
  const Call call("add_scaled", device, {{"x", &args.x}, Arg{"y", &args.y, Type::wide_number}.updated()});
  call.same_shape("y", args.y, args.x);
  call.apart("y", args.y, args.x);
  return call;
}

Call check(const Pointwise& args, Device device) {
  if (args.takes_two()) return binary("pointwise", device, args.a, args.b, args.out);
  require(!args.b.defined(), "[pointwise] b must be none for a function of one number");
  return unary("pointwise", device, {"a", &args.a}, {"out", &args.out});
}

Call check(const Activate& args, Device device) { return unary("activate", device, {"x", &args.x}, {"y", &args.y}); }

Call check(const ActivateBackward& args, Device device) {
  const auto& [function, x, dy, dx, y] = args;
  const Call call("activate_backward", device, {{"x", &x}, {"dy", &dy}, {"dx", &dx}, optional("y", &y)});
  call.same_shape("dy", dy, x);
  call.same_shape("dx", dx, x);
  call.apart("dx", dx, x);
  call.apart_or_same("dx", dx, dy);
  call.same_shape("y", y, x);
  call.apart_or_same("y", y, x);
  call.apart("y", y, dy);
  call.apart("y", y, dx);
  return call;
}

}  // namespace monge::kernel
