#include "core/kernel/loss.h"

#include "core/kernel/need.h"

namespace monge::kernel {

Call check(const Embedding& args, Device device) {
  const auto& [ids, table, out] = args;
  const Call call("embedding", device,
                  {{"ids", &ids, Type::i32},
                   Arg{"table", &table}.uncounted(),
                   Arg{"out", &out}.updated()});  // as many elements of the table are read
  need(call, table.rank() == 2, "table must be (V, C)");
  call.matrix("out", out, ids.numel(), table.size(1));
  call.apart("out", out, table);
  return call;
}

Call check(const EmbeddingBackward& args, Device device) {
  const auto& [ids, dout, dtable, accumulate] = args;
  const Call call(
      "embedding_backward", device,
      {{"ids", &ids, Type::i32}, {"dout", &dout}, Arg{"dtable", &dtable, Type::wide_number}.updated(accumulate)});
  need(call, dtable.rank() == 2, "dtable must be (V, C)");
  call.matrix("dout", dout, ids.numel(), dtable.size(1));
  call.apart("dtable", dtable, dout);
  return call;
}

Call check(const TargetShare& args, Device device) {
  const Call call("target_share", device,
                  {{"targets", &args.targets, Type::i32}, Arg{"share", &args.share, Type::f32}.uncounted()});
  call.count("share", args.share, 1);
  return call;
}

Call check(const SampleTargets& args, Device device) {
  const Call call("sample_targets", device,
                  {{"logits", &args.logits},
                   {"targets", &args.targets, Type::i32},
                   optional("random.step", &args.random.step, Type::i32).uncounted()});
  call.count("random.step", args.random.step, 1);
  need(call, args.logits.shape().last() > 0, "the vocabulary is empty");
  call.count("targets", args.targets, args.logits.shape().rows());
  return call;
}

Call check(const CrossEntropy& args, Device device) {
  const Call call("cross_entropy", device,
                  {{"logits", &args.logits},
                   {"targets", &args.targets, Type::i32},
                   optional("share", &args.share, Type::f32).uncounted(),
                   Arg{"losses", &args.losses, Type::f32}.uncounted(),
                   Arg{"lse", &args.lse, Type::f32}.uncounted(),
                   Arg{"summary", &args.summary, Type::f32}.uncounted()});
  const auto rows = args.logits.shape().rows();
  need(call, args.logits.shape().last() > 0, "the vocabulary is empty");
  call.count("targets", args.targets, rows);
  call.count("share", args.share, 1);
  call.count("losses", args.losses, rows);
  call.count("lse", args.lse, rows);
  call.count("summary", args.summary, 2);
  return call;
}

Call check(const CrossEntropyBackward& args, Device device) {
  const Call call("cross_entropy_backward", device,
                  {Arg{"logits", &args.logits}.updated(),
                   {"targets", &args.targets, Type::i32},
                   Arg{"lse", &args.lse, Type::f32}.uncounted(),
                   Arg{"summary", &args.summary, Type::f32}.uncounted(),
                   Arg{"dloss", &args.dloss, Type::f32}.uncounted()});
  const auto rows = args.logits.shape().rows();
  call.count("targets", args.targets, rows);
  call.count("lse", args.lse, rows);
  call.count("summary", args.summary, 2);
  call.count("dloss", args.dloss, 1);
  return call;
}

}  // namespace monge::kernel
