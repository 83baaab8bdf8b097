// Embedding and loss.
#include "autograd/ops.h"
#include "autograd/ops/common.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_embedding("embedding");
const Op op_cross_entropy("cross_entropy");

}  // namespace

Var embedding(const Tensor& ids, const Var& table) {
  require((ids.rank() == 1 || ids.rank() == 2) && table.shape().rank() == 2,
          "[embedding] ids {} in table {}: ids (N) or (B, T), table (V, C)", ids.shape(), table.shape());
  const std::int64_t width = table.size(1);
  const Shape shape = ids.rank() == 1 ? Shape{ids.size(0), width} : Shape{ids.size(0), ids.size(1), width};
  const Tensor y = Tensor::empty(shape, table.value().dtype(), table.value().device());
  const Tensor flat_ids = ids.reshape({ids.numel()});
  y.backend().embedding({.ids = flat_ids, .table = table.value(), .out = as_rows(y)});
  return Tape::record(op_embedding, y, {table}, [flat_ids](Gradients& g) {
    const auto [dtable, accumulate] = g.slot(0);
    dtable.backend().embedding_backward(
        {.ids = flat_ids, .dout = as_rows(g.out()), .dtable = dtable, .accumulate = accumulate});
  });
}

Var mean_squared_error(const Var& y, const Var& target) {
  const Var error = sub(y, target);
  return mean(mul(error, error));
}

Var cross_entropy(const Var& logits, const Tensor& targets, const Tensor& share) {
  const Tensor z = as_rows(logits.value());
  const std::int64_t rows = z.size(0);
  require(logits.shape().rank() >= 1 && targets.numel() == rows,
          "[cross_entropy] {} targets for logits {}: one for each row", targets.numel(), logits.shape());
  const auto statistic = [&](std::int64_t n) { return Tensor::empty({n}, stat_dtype(z), z.device()); };
  const kernel::CrossEntropy args{.logits = z,
                                  .targets = targets.reshape({rows}),
                                  .losses = statistic(rows),
                                  .lse = statistic(rows),
                                  .summary = statistic(2),
                                  .share = share};
  z.backend().cross_entropy(args);

  kernel::CrossEntropyBackward saved{
      .logits = z, .targets = args.targets, .lse = args.lse, .summary = args.summary, .dloss = {}};
  return Tape::record(op_cross_entropy, args.summary.slice(0, 1), {logits},
                      [saved, shape = logits.shape()](Gradients& g) mutable {
                        saved.dloss = g.out();
                        saved.logits.backend().cross_entropy_backward(saved);
                        g.add(0, saved.logits.reshape(shape));
                      });
}

}  // namespace monge::autograd
