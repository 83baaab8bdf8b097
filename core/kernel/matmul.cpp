#include "core/kernel/matmul.h"

#include "core/kernel/need.h"

namespace monge::kernel {

Call check(const Matmul& args, Device device) {
  const Call call("matmul", device,
                  {{"a", &args.a},
                   {"b", &args.b},
                   Arg{"out", &args.out, Type::wide_number}.updated(args.accumulate),
                   optional("bias", &args.bias),
                   optional("pre_activation", &args.pre_activation, Type::wide_number)});
  const int rank = args.a.rank();
  need(call, rank == 2 || rank == 3, "a must have 2 or 3 dimensions");
  need(call, args.b.rank() == rank && args.out.rank() == rank, "a, b and out must have the same number of dimensions");
  need(call, rank == 2 || (args.a.size(0) == args.b.size(0) && args.a.size(0) == args.out.size(0)),
       "a, b and out must share their first dimension");
  const auto m = args.a.size(args.transpose_a ? -1 : -2), k = args.a.size(args.transpose_a ? -2 : -1);
  const auto k_of_b = args.b.size(args.transpose_b ? -1 : -2), n = args.b.size(args.transpose_b ? -2 : -1);
  const auto mark = [](bool transposed) { return transposed ? " (transposed)" : ""; };
  need(call, k == k_of_b, "K is {} in a{} and {} in b{}", k, mark(args.transpose_a), k_of_b, mark(args.transpose_b));
  need(call, args.out.size(-2) == m && args.out.size(-1) == n, "out must be ({}{}, {})", rank == 3 ? "N, " : "", m, n);
  need(call, !args.bias || (args.bias.rank() == 1 && args.bias.numel() == n), "bias must be ({})", n);
  call.same_shape("pre_activation", args.pre_activation, args.out);
  need(call, !args.pre_activation || args.pre_activation.dtype() == args.out.dtype(),
       "pre_activation must have the dtype of out");
  need(call, !args.accumulate || (!args.bias && !args.pre_activation && args.activation == Activation::none),
       "accumulate goes with neither bias nor activation");
  for (const Tensor* in : {&args.a, &args.b, &args.bias}) {
    call.apart("out", args.out, *in);
    call.apart("pre_activation", args.pre_activation, *in);
  }
  call.apart("pre_activation", args.pre_activation, args.out);
  return call;
}

double flops_of(const Matmul& args) {
  const std::int64_t inner = args.a.size(args.transpose_a ? -2 : -1);
  return 2.0 * static_cast<double>(args.out.numel()) * static_cast<double>(inner);
}

profile::KernelCall describe(const Call& call, const Matmul& args) {
  profile::KernelCall out = call.description();
  if (args.transpose_a) out.operands[0].name = "a^T";
  if (args.transpose_b) out.operands[1].name = "b^T";
  out.flops = flops_of(args);
  return out;
}

}  // namespace monge::kernel
