// The differentiable ops. Each is a short section of a file in autograd/ops/: shape check, forward, backward.
// All throw std::invalid_argument with "[op] ..." for wrong shapes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "core/backend.h"

namespace monge::autograd {

// --- products (ops/linear.cpp) ---
/// op(a) op(b) for ([N,] M, K) and ([N,] K, N').
Var matmul(const Var& a, const Var& b, bool transpose_a = false, bool transpose_b = false);
/// activation(x W^T + bias): x (..., K), weight (M, K), bias (M) or undefined -> (..., M).
Var linear(const Var& x, const Var& weight, const Var& bias = {}, Activation activation = Activation::none);
/// The weights of a hidden layer and of the layer after it: up (H, K), up_bias (H) or undefined, down (M, H), down_bias
/// (M) or undefined.
struct MlpWeights {
  Var up, up_bias, down, down_bias;
};
/// linear(linear(x, up, up_bias, activation), down, down_bias): x (..., K) -> (..., M). Of the hidden layer the
/// backward keeps the value before the activation only, and makes the one after it again beside the slope.
Var mlp(const Var& x, const MlpWeights& weights, Activation activation);
/// One product x W^T + bias read twice: the gradient of `for_input` goes on to x and the bias, that of `for_weight` to
/// W.
struct SplitLinear {
  Var for_input;
  Var for_weight;
};
SplitLinear split_linear(const Var& x, const Var& weight, const Var& bias = {});

// --- elementwise (ops/elementwise.cpp) ---
/// a + b; in functions of two, b has the shape of a, a suffix of it, or one element.
Var add(const Var& a, const Var& b);
Var sub(const Var& a, const Var& b);
Var mul(const Var& a, const Var& b);
Var div(const Var& a, const Var& b);
/// Where a equals b each gets half of the gradient.
Var maximum(const Var& a, const Var& b);
Var minimum(const Var& a, const Var& b);
Var scale(const Var& x, double factor);
/// Functions of one number; the slope of relu and abs at 0 is 0.
Var gelu(const Var& x);
Var gelu_tanh(const Var& x);
Var silu(const Var& x);
Var relu(const Var& x);
Var sigmoid(const Var& x);
Var tanh(const Var& x);
Var exp(const Var& x);
Var log(const Var& x);
Var sqrt(const Var& x);
Var abs(const Var& x);
Var reciprocal(const Var& x);
Var activation(const Var& x, Activation kind);
/// x in another precision.
Var cast(const Var& x, DType dtype);
/// Drops elements with probability p and scales the rest by 1 / (1 - p).
Var dropout(const Var& x, double p, const Random& random);

// --- shape and reductions (ops/shape.cpp) ---
Var reshape(const Var& x, const Shape& shape);
/// Indices [begin, end) of the leading dimension, without a copy, or of dimension `dim`. Negative dimensions count from
/// the last, here and below.
Var slice(const Var& x, std::int64_t begin, std::int64_t end);
Var slice(const Var& x, int dim, std::int64_t begin, std::int64_t end);
/// One after another along dimension `dim`; the other dimensions agree.
Var concat(const std::vector<Var>& parts, int dim);
/// With dimensions a and b exchanged.
Var transpose(const Var& x, int a, int b);
/// Sum of all elements, shape (1).
Var sum(const Var& x);
Var mean(const Var& x);
/// Sum over dimension `dim`; the dimension is dropped.
Var sum(const Var& x, int dim);
Var mean(const Var& x, int dim);

// --- rows (ops/rows.cpp) ---
Var softmax(const Var& x);
/// (x - mean) * rstd * gain + bias over the last dimension; gain and bias (C) may be undefined.
Var layer_norm(const Var& x, const Var& gain, const Var& bias, double eps = 1e-5);
/// x / sqrt(mean(x^2) + eps) * gain.
Var rms_norm(const Var& x, const Var& gain, double eps = 1e-5);
struct SumAndNorm {
  Var sum;   // x + residual
  Var norm;  // norm(x + residual)
};
/// The residual stream and its normalised value in one pass. `bias` is for NormKind::layer only.
SumAndNorm add_norm(NormKind kind, const Var& x, const Var& residual, const Var& gain, const Var& bias,
                    double eps = 1e-5);

// --- embedding and loss (ops/loss.cpp) ---
/// Rows of table (V, C) at ids i32, (N) or (B, T): (N, C) or (B, T, C).
Var embedding(const Tensor& ids, const Var& table);
/// Mean cross-entropy in nats over the rows of logits (..., V) whose target i32 (...) is not -1; shape (1).
/// Backward turns the logits into their gradient in place, so their value is gone after Tape::backward, and no other
/// op may read the logits on the tape.
Var cross_entropy(const Var& logits, const Tensor& targets, const Tensor& share = {});
/// Mean of (y - target)^2 over all elements, shape (1).
Var mean_squared_error(const Var& y, const Var& target);

// --- attention (ops/attention.cpp) ---
struct AttentionSpec {
  std::int64_t heads = 1, kv_heads = 1;
  bool causal = true;
  KeySpans spans;
  double scale = 1.0;
  RowMap map;
  // The log-prior of core LogPrior, each may be undefined. The tables have the dtype of qkv or f32.
  Var head_prior;        // (H)
  Var distance_prior;    // (H, N)
  Var key_prior;         // (H, N)
  Tensor slopes;         // (H) f32/f64: ALiBi
  double dropout = 0.0;  // of the weights
  Random random;
  RowDamping damping;  // of the rows' natural gradient
};
/// The spans that keep segments apart: queries (B, T) and keys (B, S) i32 are the ids of core/kernel/segments.h.
KeySpans spans_of(const Tensor& queries, const Tensor& keys);
/// The call of the backend that attention() makes of a packed projection, and cross_attention() of two; `out` and
/// `row_stat` are left to the caller.
kernel::Attention attention_call(const Tensor& qkv, const AttentionSpec& spec);
kernel::Attention attention_call(const Tensor& q, const Tensor& kv, const AttentionSpec& spec);
/// Rotates the first `heads` heads of width `head_dim` of x (B, T, W); see core Rope.
Var rope(const Var& x, std::int64_t heads, std::int64_t head_dim, double base = 10000.0, std::int64_t start = 0);
/// Attention over a packed projection qkv (B, T, (H + 2 G) D), laid out queries, keys, values -> (B, T, H D).
///
/// With `row_qkv`, a second reading of the same values, gradients take two ways: true ones go to `qkv`, and `row_qkv`
/// receives those of the values and, for queries and keys, what the damped natural gradient of each row makes of them.
Var attention(const Var& qkv, const AttentionSpec& spec, const Var& row_qkv = {});
/// Attention of the queries q (B, T, H D) to the keys and values of other sequences, kv (B, S, 2 G D) -> (B, T, H D).
/// `row_q` and `row_kv` come together, and are for these what `row_qkv` is for qkv.
Var cross_attention(const Var& q, const Var& kv, const AttentionSpec& spec, const Var& row_q = {},
                    const Var& row_kv = {});
/// Attention of one query to the tokens so far, query (H, D), over a packed projection kv (B, T, 2 G D), laid out keys,
/// values -> (B, T, H D). Of linear cost in T, and with a state of constant size (core PrefixAttention).
Var prefix_attention(const Var& query, const Var& kv, std::int64_t kv_heads, double scale);
/// The call of the backend that prefix_attention() makes; `before` and `after` are left to the caller.
kernel::PrefixAttention prefix_attention_call(const Tensor& query, const Tensor& kv, std::int64_t kv_heads,
                                              double scale);

// --- for users (ops/custom.cpp, ops/recompute.cpp) ---
/// x, whose gradient is shown to `see` on its way back. Nothing is shown where nothing records.
Var on_gradient(const Var& x, std::function<void(const Tensor& dx)> see);
/// A differentiable op from two functions. `backward(inputs, y, dy)` returns one gradient for each input (undefined:
/// none). The first use defines the op's name; using a name of the framework throws std::invalid_argument.
Var custom_op(
    const std::string& name, const std::vector<Var>& inputs,
    const std::function<Tensor(const std::vector<Tensor>&)>& forward,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>&, const Tensor& y, const Tensor& dy)>& backward);
/// block(inputs) without keeping what it saves: backward runs the block again. Parameters that the block reads by
/// reference receive their gradients. The block must compute the same both times (random streams do).
std::vector<Var> recompute(const std::function<std::vector<Var>(const std::vector<Var>&)>& block,
                           const std::vector<Var>& inputs);

}  // namespace monge::autograd
