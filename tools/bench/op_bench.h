// The ops of one training step, timed one by one at the shapes of a model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/model.h"
#include "nn/parameter_store.h"

namespace monge::tools {

struct OpTiming {
  std::string name;        // "blocks.0.mlp.up forward"; of layers that are alike, the first
  std::string shape;       // what it works on
  std::int64_t calls = 1;  // in one micro-batch
  double seconds = 0.0;    // of one call, the best of several
  double flops = 0.0;      // of one call; 0: bounded by memory
  double bytes = 0.0;      // moved by one call at least, reads and writes; 0: bounded by arithmetic
};

/// Times products, attention, norms, activations, embedding, loss and update on random values, as a batch of `batch`
/// sequences needs them. The updates are timed on copies: the model does not change.
std::vector<OpTiming> bench_ops(nn::Model& model, const nn::ParameterStore& store, std::int64_t batch);

}  // namespace monge::tools
