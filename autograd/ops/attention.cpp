// Attention and rotary positions.
#include "autograd/ops.h"
#include "autograd/ops/common.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_rope("rope");
const Op op_attention("attention");

/// The heads of x (B, T, W) that start at column `offset`.
HeadView heads_at(const Tensor& x, std::int64_t offset) {
  return {.data = x, .offset = offset, .token_stride = x.size(2), .batch_stride = x.size(1) * x.size(2)};
}

}  // namespace

Var rope(const Var& x, std::int64_t heads, std::int64_t head_dim, double base, std::int64_t start) {
  require(x.shape().rank() == 3 && head_dim % 2 == 0 && x.size(2) >= heads * head_dim,
          "[rope] {} heads of width {} in {}: x (B, T, W), W >= heads * head_dim, an even head_dim", heads, head_dim,
          x.shape().str());
  const auto rotate = [=](const Tensor& from, const Tensor& to, bool inverse) {
    to.backend().rope(
        {.x = from, .y = to, .heads = heads, .head_dim = head_dim, .start = start, .base = base, .inverse = inverse});
  };
  const Tensor y = Tensor::like(x.value());
  rotate(x.value(), y, false);
  return Tape::record(op_rope, y, {x}, [rotate](Gradients& g) {
    const Tensor dx = g.reuse_out();
    rotate(g.out(), dx, true);
    g.add(0, dx);
  });
}

Var attention(const Var& qkv, const AttentionSpec& spec) {
  const std::int64_t all_heads = spec.heads + 2 * spec.kv_heads;
  require(spec.kv_heads >= 1 && spec.heads >= 1 && spec.heads % spec.kv_heads == 0,
          "[attention] {} heads for {} key/value heads: the first must be a multiple of the second", spec.heads,
          spec.kv_heads);
  require(qkv.shape().rank() == 3 && qkv.size(2) % all_heads == 0,
          "[attention] qkv {} for {} heads and {} key/value heads: qkv (B, T, (H + 2 G) D)", qkv.shape().str(),
          spec.heads, spec.kv_heads);
  const Tensor x = qkv.value();
  const std::int64_t batch = x.size(0), tokens = x.size(1), head_dim = x.size(2) / all_heads;
  const std::int64_t keys_at = spec.heads * head_dim, values_at = keys_at + spec.kv_heads * head_dim;

  const Tensor y = Tensor::empty({batch, tokens, spec.heads * head_dim}, x.dtype(), x.device());
  const Attention args{.batch = batch,
                       .queries = tokens,
                       .keys = tokens,
                       .heads = spec.heads,
                       .kv_heads = spec.kv_heads,
                       .head_dim = head_dim,
                       .causal = spec.causal,
                       .scale = spec.scale,
                       .map = spec.map,
                       .slopes = spec.slopes,
                       .dropout = spec.dropout,
                       .random = spec.random,
                       .q = heads_at(x, 0),
                       .k = heads_at(x, keys_at),
                       .v = heads_at(x, values_at),
                       .out = heads_at(y, 0),
                       .row_stat = Tensor::empty({batch, spec.heads, tokens}, stat_dtype(x), x.device())};
  x.backend().attention(args);

  return Tape::record(op_attention, y, {qkv}, [=](Gradients& g) {
    const Tensor dx = Tensor::like(x);
    dx.backend().attention_backward({.forward = args,
                                     .dout = heads_at(g.out(), 0),
                                     .dq = heads_at(dx, 0),
                                     .dk = heads_at(dx, keys_at),
                                     .dv = heads_at(dx, values_at)});
    g.add(0, dx);
  });
}

}  // namespace monge::autograd
