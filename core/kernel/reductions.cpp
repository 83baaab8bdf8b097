#include "core/kernel/reductions.h"

#include "core/kernel/need.h"

namespace monge::kernel {
namespace {

void check_dimensions(const Call& call, const char* name, const Tensor& t, std::int64_t outer, std::int64_t n,
                      std::int64_t inner) {
  need(call, outer >= 0 && n >= 0 && inner >= 0 && t.numel() == outer * n * inner, "{} does not read as ({}, {}, {})",
       name, outer, n, inner);
}

}  // namespace

Call check(const Sum& args, Device device) {
  const Call call("sum", device, {{"x", &args.x}, Arg{"out", &args.out, Type::wide_number}.updated(args.accumulate)});
  check_dimensions(call, "x", args.x, args.outer, args.n, args.inner);
  call.count("out", args.out, args.outer * args.inner);
  call.apart("out", args.out, args.x);
  return call;
}

Call check(const Repeat& args, Device device) {
  const Call call("repeat", device, {{"x", &args.x}, {"out", &args.out}});
  check_dimensions(call, "out", args.out, args.outer, args.n, args.inner);
  call.count("x", args.x, args.outer * args.inner);
  call.apart("out", args.out, args.x);
  return call;
}

Call check(const Dot& args, Device device) {
  const auto& [a, b, out] = args;
  const Call call("dot", device, {{"a", &a, Type::f32}, {"b", &b, Type::f32}, {"out", &out, Type::f32}});
  call.count("b", b, a.numel());
  call.count("out", out, 1);
  return call;
}

}  // namespace monge::kernel
