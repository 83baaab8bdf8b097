#include "core/kernel/strided_copy.h"

#include "core/kernel/need.h"

#include <algorithm>
#include <span>

namespace monge::kernel {

Call check(const StridedCopy& args, Device device) {
  const Tensor &from = args.from.tensor(), &to = args.to.tensor();
  const Call call("strided_copy", device, {Arg{"from", &from}.uncounted(), Arg{"to", &to}.uncounted()});
  need(call, args.from.shape() == args.to.shape(), "{} of from for {} of to", args.from.shape(), args.to.shape());
  call.apart("to", to, from);
  return call;
}

profile::KernelCall describe(const Call& call, const StridedCopy& args) {
  profile::KernelCall out = call.description();
  out.operands.push_back({"from", args.from.shape(), args.from.tensor().dtype(), 1});
  out.operands.push_back({"to", args.to.shape(), args.to.tensor().dtype(), args.accumulate ? 2 : 1});
  return out;
}

StridedLoops::StridedLoops(const StridedCopy& args) {
  struct Loop {
    std::int64_t size, from, to;
  };
  std::array<Loop, Shape::max_rank> loops;
  const int rank = args.to.shape().rank();
  for (int i = 0; i < rank; ++i) {
    loops[static_cast<std::size_t>(i)] = {args.to.shape()[i], args.from.stride(i), args.to.stride(i)};
  }
  const std::span<Loop> used(loops.data(), static_cast<std::size_t>(rank));
  std::ranges::sort(used, std::ranges::less(), &Loop::to);
  std::size_t at = sizes.size();
  for (const Loop& loop : used) {
    if (loop.size == 1) continue;
    if (at < sizes.size() && loop.from == from[at] * sizes[at] && loop.to == to[at] * sizes[at]) {
      sizes[at] *= loop.size;
    } else {
      --at;
      sizes[at] = loop.size;
      from[at] = loop.from;
      to[at] = loop.to;
    }
  }
}

}  // namespace monge::kernel
