#include "core/kernel/memory.h"

#include "core/kernel/need.h"

namespace monge::kernel {

Call check(const CopyFromHost& args, Device device) {
  const Call call("copy_from_host", device, {{"to", &args.to, Type::any}});
  need(call, args.from != nullptr || args.to.bytes() == 0, "the host address is null");
  return call;
}

Call check(const CopyToHost& args, Device device) {
  const Call call("copy_to_host", device, {{"from", &args.from, Type::any}});
  need(call, args.to != nullptr || args.from.bytes() == 0, "the host address is null");
  return call;
}

Call check(const Copy& args, Device device) {
  const auto& [from, to] = args;
  const Call call("copy", device, {{"from", &from, Type::any}, {"to", &to, Type::any}});
  need(call, is_floating(from.dtype()) == is_floating(to.dtype()), "floats and integers do not convert");
  call.count("to", to, from.numel());
  call.apart("to", to, from);
  return call;
}

Call check(const Fill& args, Device device) { return {"fill", device, {{"x", &args.x, Type::any}}}; }

}  // namespace monge::kernel
