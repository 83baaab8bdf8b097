// cache_check: whether a model with a cache says what it says without one. For tests of layers and models of one's own:
// a cache that is not filled, or read at the wrong position, trains well and samples nonsense.
#pragma once

#include <string>

#include "nn/model.h"

namespace monge::nn {

struct CacheCheck {
  bool ok = true;
  double largest_difference = 0.0;  // of logits, over the largest logit
  std::string message;              // where, unless ok
};

/// Logits of the next token after every prefix of `tokens` i32 (B, T), T <= context, with a cache that gets the tokens
/// in pieces of 1 to 4 and without; the caches are made in `dtype`. `given` holds the other fields that the model
/// reads. Throws std::invalid_argument for a model that makes no cache.
CacheCheck cache_check(Model& model, const Tensor& tokens, DType dtype, double tolerance = 1e-5,
                       const Batch& given = {});

}  // namespace monge::nn
