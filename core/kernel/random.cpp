#include "core/kernel/random.h"

#include "core/kernel/need.h"

namespace monge::kernel {
namespace {

Arg step_of(const Random& random) { return optional("random.step", &random.step, Type::i32).uncounted(); }

Call check_draw(const char* name, const Tensor& x, const Random& random, Device device) {
  const Call call(name, device, {{"x", &x}, step_of(random)});
  call.count("random.step", random.step, 1);
  return call;
}

}  // namespace

Call check(const Uniform& args, Device device) { return check_draw("uniform", args.x, args.random, device); }
Call check(const Normal& args, Device device) { return check_draw("normal", args.x, args.random, device); }

Call check(const Dropout& args, Device device) {
  const Call call("dropout", device, {{"x", &args.x}, {"y", &args.y}, step_of(args.random)});
  call.count("random.step", args.random.step, 1);
  need(call, args.p >= 0.0 && args.p < 1.0, "p must be in [0, 1), got {}", args.p);
  call.same_shape("y", args.y, args.x);
  call.apart_or_same("y", args.y, args.x);
  return call;
}

}  // namespace monge::kernel
