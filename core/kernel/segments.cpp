#include "core/kernel/segments.h"

#include "core/kernel/need.h"

namespace monge::kernel {

Call check(const Segments& args, Device device) {
  const Call call("segments", device,
                  {{"queries", &args.queries, Type::i32},
                   {"keys", &args.keys, Type::i32},
                   {"spans.keys", &args.spans.keys, Type::i32},
                   {"spans.positions", &args.spans.positions, Type::i32}});
  need(call, args.queries.rank() == 2 && args.keys.rank() == 2 && args.keys.size(1) > 0,
       "queries and keys are (B, T) and (B, S), S > 0");
  call.matrix("keys", args.keys, args.queries.size(0), args.keys.size(1));
  call.count("spans.keys", args.spans.keys, 2 * args.queries.numel());
  call.count("spans.positions", args.spans.positions, args.queries.numel());
  for (const Tensor* in : {&args.queries, &args.keys}) {
    call.apart("spans.keys", args.spans.keys, *in);
    call.apart("spans.positions", args.spans.positions, *in);
  }
  return call;
}

}  // namespace monge::kernel
