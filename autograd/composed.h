// composed: twins of the fused ops, made of smaller ops and constants.
//
// A twin computes what the op of the same name computes, by a longer way that is easy to follow and shares no kernel
// with it beyond matmul, add, mul and softmax. Tests compare the two; nobody needs twins for speed. Shapes are those
// of ops.h.
#pragma once

#include "autograd/ops.h"

namespace monge::autograd::composed {

Var linear(const Var& x, const Var& weight, const Var& bias = {}, Activation activation = Activation::none);
Var layer_norm(const Var& x, const Var& gain, const Var& bias, double eps = 1e-5);
Var rms_norm(const Var& x, const Var& gain, double eps = 1e-5);
SumAndNorm add_norm(NormKind kind, const Var& x, const Var& residual, const Var& gain, const Var& bias,
                    double eps = 1e-5);
Var embedding(const Tensor& ids, const Var& table);
/// Leaves the logits as they are.
Var cross_entropy(const Var& logits, const Tensor& targets);
Var rope(const Var& x, std::int64_t heads, std::int64_t head_dim, double base = 10000.0, std::int64_t start = 0);
/// The softmax map only.
Var attention(const Var& qkv, const AttentionSpec& spec);
/// Causal softmax attention with the same query at every token.
Var prefix_attention(const Var& query, const Var& kv, std::int64_t kv_heads, double scale);

}  // namespace monge::autograd::composed
