#include "core/kernel/update.h"

#include "core/kernel/need.h"

namespace monge::kernel {

Call check(const ClipFactor& args, Device device) {
  const Call call("clip_factor", device,
                  {{"grads", &args.grads, Type::f32}, Arg{"control", &args.control, Type::f32}.uncounted()});
  need(call, args.max_norm >= 0.0, "max_norm must not be negative, got {}", args.max_norm);
  call.count("control", args.control, Control::size);
  return call;
}

Call check(const Update& args, Device device) {
  const auto names = states_of(args.rule);
  const auto state = [&](std::size_t k) {
    return k < names.size() ? Arg{names[k], &args.states[k], Type::f32}
                            : optional("a state too many", &args.states[k], Type::f32);
  };
  static_assert(max_update_states == 3);
  const Call call(name_of(args.rule), device,
                  {Arg{"param", &args.param, Type::f32}.updated(),
                   {"grad", &args.grad, Type::f32},
                   state(0).updated(),
                   state(1).updated(),
                   state(2).updated(),
                   optional("copy", &args.copy, Type::bf16),
                   Arg{"control", &args.control, Type::f32}.uncounted()});
  const auto n = args.param.numel();
  call.count("grad", args.grad, n);
  for (std::size_t k = 0; k < names.size(); ++k) call.count(names[k], args.states[k], n);
  for (std::size_t k = names.size(); k < max_update_states; ++k) {
    need(call, !args.states[k].defined(), "more states than the rule's {}", names.size());
  }
  call.count("copy", args.copy, n);
  call.count("control", args.control, Control::size);
  return call;
}

Call check(const DirectedStep& args, Device device) {
  const Call all("directed_step", device, {{"control", &args.control, Type::f32}});
  all.count("control", args.control, Control::size);
  need(all, args.graft >= 0.0 && args.kl >= 0.0, "graft ({}) and kl ({}) must not be negative", args.graft, args.kl);
  for (const auto& m : args.matrices) {
    const Call call("directed_step", device,
                    {{"param", &m.param, Type::f32},
                     {"before", &m.before, Type::f32},
                     {"direction", &m.direction, Type::f32},
                     {"gradient", &m.gradient, Type::f32},
                     optional("copy", &m.copy, Type::bf16)});
    const auto n = m.param.numel();
    call.count("before", m.before, n);
    call.count("direction", m.direction, n);
    call.count("gradient", m.gradient, n);
    call.count("copy", m.copy, n);
  }
  return all;
}

profile::KernelCall describe(const Call& call, const Update&) {
  profile::KernelCall out = call.description();
  out.name = "update";  // whatever the rule
  return out;
}

profile::KernelCall describe(const Call& call, const DirectedStep& args) {
  profile::KernelCall out{.name = call.name(), .operands = {}};
  for (const DirectedStep::Matrix& m : args.matrices) {
    for (const Tensor* read : {&m.before, &m.direction, &m.gradient}) {
      out.operands.push_back({"read", read->shape(), read->dtype()});
    }
    out.operands.push_back({"param", m.param.shape(), m.param.dtype(), 2});
  }
  return out;
}

}  // namespace monge::kernel
