// Embedding and cross-entropy: the two ends of a language model.
#pragma once

#include "core/kernel/call.h"
#include "core/random.h"

namespace monge::kernel {

/// out (N, C) = table (V, C)[ids (N)]. Ids outside [0, V) are the caller's error and give zero rows.
struct Embedding {
  Tensor ids;  // i32
  Tensor table, out;
};

/// dtable (V, C) = [dtable +] scatter-add of dout (N, C). Deterministic.
struct EmbeddingBackward {
  Tensor ids;  // (N) i32
  Tensor dout;
  Tensor dtable;  // may be f32 when dout is bf16
  bool accumulate = false;
};

/// share = 1 / the number of targets in [0, vocab); 0 when there is none.
struct TargetShare {
  Tensor targets;  // (N) i32
  std::int64_t vocab = 0;
  Tensor share;  // (1) f32/f64
};

/// Every target in [0, V) becomes a class drawn from softmax of its row of logits: the first at which the summed
/// probabilities exceed element i of uniform(0, 1) for row i. Other targets stay.
struct SampleTargets {
  Tensor logits;  // (N, V)
  Random random;
  Tensor targets;  // (N) i32
};

/// Mean cross-entropy over rows, in nats. Rows with target -1 are left out of the mean and get a zero gradient.
struct CrossEntropy {
  Tensor logits;   // (N, V)
  Tensor targets;  // (N) i32
  Tensor losses;   // (N) f32/f64: -log softmax(logits)[target], 0 where left out
  Tensor lse;      // (N) f32/f64: log-sum-exp of the row
  Tensor summary;  // (2) f32/f64: share times the sum of the losses, share (both 0 when no row counts)
  Tensor share;  // (1) f32/f64: what a row counts for, where these rows are part of more (target_share); none: 1 / rows
                 // counted
};

struct CrossEntropyBackward {
  Tensor logits;   // (N, V): overwritten with the gradient (in place)
  Tensor targets;  // (N) i32
  Tensor lse;      // (N)
  Tensor summary;  // (2)
  Tensor dloss;    // (1) f32/f64: gradient of the mean loss
};

Call check(const Embedding& args, Device device);
Call check(const EmbeddingBackward& args, Device device);
Call check(const TargetShare& args, Device device);
Call check(const SampleTargets& args, Device device);
Call check(const CrossEntropy& args, Device device);
Call check(const CrossEntropyBackward& args, Device device);

}  // namespace monge::kernel
