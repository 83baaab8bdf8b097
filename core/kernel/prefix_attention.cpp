#include "core/kernel/prefix_attention.h"

#include "core/kernel/need.h"

namespace monge::kernel {
namespace {

void check_forward(const Call& call, const PrefixAttention& a) {
  need(call, a.batch >= 0 && a.tokens >= 0, "batch {} and tokens {} must not be negative", a.batch, a.tokens);
  need(call, a.head_dim > 0 && a.kv_heads > 0 && a.heads > 0 && a.heads % a.kv_heads == 0,
       "{} heads of {} cannot share {} key/value heads", a.heads, a.head_dim, a.kv_heads);
  call.matrix("q", a.q, a.heads, a.head_dim);
  check_view(call, "k", a.k, a.batch, a.tokens, a.kv_heads, a.head_dim);
  check_view(call, "v", a.v, a.batch, a.tokens, a.kv_heads, a.head_dim);
  check_view(call, "out", a.out, a.batch, a.tokens, a.heads, a.head_dim);
  call.count("gate", a.gate, a.batch * a.heads * a.tokens);
  call.count("before", a.before, a.batch * a.heads * (a.head_dim + 2));
}

std::vector<profile::Operand> operands_of(const PrefixAttention& a) {
  const auto heads = [&](const char* name, const HeadView& view, std::int64_t count) {
    return operand_of(name, view, a.batch, a.tokens, count, a.head_dim);
  };
  return {heads("k", a.k, a.kv_heads),
          heads("v", a.v, a.kv_heads),
          heads("out", a.out, a.heads),
          {"gate", {a.batch, a.heads, a.tokens}, a.gate.dtype()}};
}

}  // namespace

Call check(const PrefixAttention& args, Device device) {
  const Call call("prefix_attention", device,
                  {{"q", &args.q},
                   {"k", &args.k.data},
                   {"v", &args.v.data},
                   {"out", &args.out.data},
                   {"gate", &args.gate, Type::f32},
                   optional("before", &args.before, Type::f32),
                   optional("after", &args.after, Type::f32)});
  check_forward(call, args);
  call.count("after", args.after, args.batch * args.heads * (args.head_dim + 2));
  for (const Tensor* in : {&args.q, &args.k.data, &args.v.data}) call.apart("out", args.out.data, *in);
  call.apart_or_same("after", args.after, args.before);
  return call;
}

Call check(const PrefixAttentionBackward& args, Device device) {
  const PrefixAttention& a = args.forward;
  const Call call("prefix_attention_backward", device,
                  {{"q", &a.q},
                   {"k", &a.k.data},
                   {"v", &a.v.data},
                   {"out", &a.out.data},
                   {"gate", &a.gate, Type::f32},
                   optional("before", &a.before, Type::f32),
                   {"dout", &args.dout.data},
                   {"dk", &args.dk.data},
                   {"dv", &args.dv.data},
                   {"dq", &args.dq, Type::wide_number}});
  check_forward(call, a);
  check_view(call, "dout", args.dout, a.batch, a.tokens, a.heads, a.head_dim);
  check_view(call, "dk", args.dk, a.batch, a.tokens, a.kv_heads, a.head_dim);
  check_view(call, "dv", args.dv, a.batch, a.tokens, a.kv_heads, a.head_dim);
  call.matrix("dq", args.dq, a.heads, a.head_dim);
  for (const Tensor* in : {&a.q, &a.k.data, &a.v.data, &a.out.data, &args.dout.data}) {
    for (const Tensor* out : {&args.dk.data, &args.dv.data, &args.dq}) call.apart("the gradient", *out, *in);
  }
  return call;
}

profile::KernelCall describe(const Call& call, const PrefixAttention& args) {
  return {.name = call.name(), .operands = operands_of(args)};
}

profile::KernelCall describe(const Call& call, const PrefixAttentionBackward& args) {
  const PrefixAttention& a = args.forward;
  profile::KernelCall out{.name = call.name(), .operands = operands_of(a)};
  out.operands.push_back(operand_of("dout", args.dout, a.batch, a.tokens, a.heads, a.head_dim));
  out.operands.push_back(operand_of("dk", args.dk, a.batch, a.tokens, a.kv_heads, a.head_dim));
  out.operands.push_back(operand_of("dv", args.dv, a.batch, a.tokens, a.kv_heads, a.head_dim));
  return out;
}

}  // namespace monge::kernel
