#include "core/kernel/strided_copy.h"

#include <algorithm>
#include <vector>

namespace monge::kernel {

Call check(const StridedCopy& args, Device device) {
  const Tensor &from = args.from.tensor(), &to = args.to.tensor();
  const Call call("strided_copy", device, {Arg{"from", &from}.uncounted(), Arg{"to", &to}.uncounted()});
  call.need(args.from.shape() == args.to.shape(), "{} of from for {} of to", args.from.shape(), args.to.shape());
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
  std::vector<Loop> loops;
  for (int i = 0; i < args.to.shape().rank(); ++i) {
    const std::int64_t size = args.to.shape()[i];
    if (size != 1) loops.push_back({size, args.from.stride(i), args.to.stride(i)});
  }
  std::ranges::stable_sort(loops, std::ranges::greater(), &Loop::to);
  std::size_t at = sizes.size();
  for (auto loop = loops.rbegin(); loop != loops.rend(); ++loop) {
    const bool joins = at < sizes.size() && loop->from == from[at] * sizes[at] && loop->to == to[at] * sizes[at];
    if (joins) {
      sizes[at] *= loop->size;
    } else {
      --at;
      sizes[at] = loop->size;
      from[at] = loop->from;
      to[at] = loop->to;
    }
  }
}

}  // namespace monge::kernel
