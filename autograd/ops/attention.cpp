// Attention, that of one query to all tokens, and rotary positions.
#include "autograd/ops.h"
#include "autograd/ops/common.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_rope("rope");
const Op op_attention("attention");
const Op op_prefix_attention("prefix_attention");

/// The heads of x (B, T, W) that start at column `offset`.
HeadView heads_at(const Tensor& x, std::int64_t offset) {
  return {.data = x, .offset = offset, .token_stride = x.size(2), .batch_stride = x.size(1) * x.size(2)};
}

/// A table of the prior as the kernels read it: f32 beside bf16.
Tensor as_stat(const Tensor& table) {
  return table.defined() && table.dtype() == DType::bf16 ? table.to(DType::f32, table.device()) : table;
}

/// The gradient of a table in the dtype that the input wants: f32 for a parameter, bf16 for what an op has made.
void add_table(Gradients& g, std::size_t input, const Tensor& gradient) {
  if (!g.wants(input)) return;
  const auto [to, accumulate] = g.slot(input);
  const Tensor same = gradient.dtype() == to.dtype() ? gradient : gradient.to(to.dtype(), to.device());
  if (accumulate) {
    to.backend().add_scaled({.x = same, .y = to});
  } else {
    to.backend().copy({.from = same, .to = to});
  }
}

}  // namespace

Var rope(const Var& x, std::int64_t heads, std::int64_t head_dim, double base, std::int64_t start) {
  require(x.shape().rank() == 3 && head_dim % 2 == 0 && x.size(2) >= heads * head_dim,
          "[rope] {} heads of width {} in {}: x (B, T, W), W >= heads * head_dim, an even head_dim", heads, head_dim,
          x.shape());
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

kernel::Attention attention_call(const Tensor& qkv, const AttentionSpec& spec) {
  const std::int64_t all_heads = spec.heads + 2 * spec.kv_heads;
  require(spec.kv_heads >= 1 && spec.heads >= 1 && spec.heads % spec.kv_heads == 0,
          "[attention] {} heads for {} key/value heads: the first must be a multiple of the second", spec.heads,
          spec.kv_heads);
  require(qkv.rank() == 3 && qkv.size(2) % all_heads == 0,
          "[attention] qkv {} for {} heads and {} key/value heads: qkv (B, T, (H + 2 G) D)", qkv.shape(), spec.heads,
          spec.kv_heads);
  const std::int64_t head_dim = qkv.size(2) / all_heads, keys_at = spec.heads * head_dim;
  return {.batch = qkv.size(0),
          .queries = qkv.size(1),
          .keys = qkv.size(1),
          .heads = spec.heads,
          .kv_heads = spec.kv_heads,
          .head_dim = head_dim,
          .causal = spec.causal,
          .scale = spec.scale,
          .map = spec.map,
          .prior = {.head = as_stat(spec.head_prior.value()),
                    .distance = as_stat(spec.distance_prior.value()),
                    .key = as_stat(spec.key_prior.value()),
                    .slopes = spec.slopes},
          .dropout = spec.dropout,
          .random = spec.random,
          .q = heads_at(qkv, 0),
          .k = heads_at(qkv, keys_at),
          .v = heads_at(qkv, keys_at + spec.kv_heads * head_dim),
          .out = {},
          .row_stat = {}};
}

Var attention(const Var& qkv, const AttentionSpec& spec, const Var& row_qkv) {
  require(!row_qkv.defined() || row_qkv.shape() == qkv.shape(), "[attention] row_qkv {} for qkv {}", row_qkv.shape(),
          qkv.shape());
  const Tensor x = qkv.value();
  kernel::Attention args = attention_call(x, spec);
  const Tensor y = Tensor::empty(x.shape().with(-1, args.heads * args.head_dim), x.dtype(), x.device());
  args.out = heads_at(y, 0);
  args.row_stat = Tensor::empty({args.batch, args.heads, args.queries}, stat_dtype(x), x.device());
  x.backend().attention(args);

  const std::initializer_list<Var> inputs{qkv, row_qkv, spec.head_prior, spec.distance_prior, spec.key_prior};
  return Tape::record(op_attention, y, inputs, [=, damping = spec.damping](Gradients& g) {
    const Tensor dx = Tensor::like(x), row_dx = g.wants(1) ? Tensor::like(x) : Tensor();
    const auto like = [&](std::size_t input, const Tensor& table) {
      return g.wants(input) ? Tensor::like(table) : Tensor();
    };
    kernel::AttentionBackward back{.forward = args,
                                   .dout = heads_at(g.out(), 0),
                                   .dq = heads_at(dx, args.q.offset),
                                   .dk = heads_at(dx, args.k.offset),
                                   .dv = heads_at(dx, args.v.offset),
                                   .dprior = {.head = like(2, args.prior.head),
                                              .distance = like(3, args.prior.distance),
                                              .key = like(4, args.prior.key)},
                                   .damping = damping};
    if (row_dx.defined()) {
      back.row_dq = heads_at(row_dx, args.q.offset);
      back.row_dk = heads_at(row_dx, args.k.offset);
      back.row_dv = heads_at(row_dx, args.v.offset);
    }
    dx.backend().attention_backward(back);
    if (g.wants(0)) g.add(0, dx);
    if (g.wants(1)) g.add(1, row_dx);
    add_table(g, 2, back.dprior.head);
    add_table(g, 3, back.dprior.distance);
    add_table(g, 4, back.dprior.key);
  });
}

kernel::PrefixAttention prefix_attention_call(const Tensor& query, const Tensor& kv, std::int64_t kv_heads,
                                              double scale) {
  require(query.rank() == 2 && kv_heads >= 1 && query.size(0) % kv_heads == 0,
          "[prefix_attention] query {} for {} key/value heads: query (H, D), H a multiple of these", query.shape(),
          kv_heads);
  const std::int64_t heads = query.size(0), head_dim = query.size(1);
  require(kv.rank() == 3 && kv.size(2) == 2 * kv_heads * head_dim,
          "[prefix_attention] kv {} for {} key/value heads of {}: kv (B, T, 2 G D)", kv.shape(), kv_heads, head_dim);
  const Tensor y = Tensor::empty(kv.shape().with(-1, heads * head_dim), kv.dtype(), kv.device());
  return {.batch = kv.size(0),
          .tokens = kv.size(1),
          .heads = heads,
          .kv_heads = kv_heads,
          .head_dim = head_dim,
          .scale = scale,
          .q = query,
          .k = heads_at(kv, 0),
          .v = heads_at(kv, kv_heads * head_dim),
          .out = heads_at(y, 0),
          .gate = Tensor::empty({kv.size(0), heads, kv.size(1)}, stat_dtype(kv), kv.device())};
}

Var prefix_attention(const Var& query, const Var& kv, std::int64_t kv_heads, double scale) {
  const kernel::PrefixAttention args = prefix_attention_call(query.value(), kv.value(), kv_heads, scale);
  kv.value().backend().prefix_attention(args);
  return Tape::record(op_prefix_attention, args.out.data, {query, kv}, [args](Gradients& g) {
    const Tensor dkv = Tensor::like(args.k.data);
    const auto [dq, accumulate] = g.wants(0) ? g.slot(0) : Gradients::Slot{Tensor::like(args.q)};
    dkv.backend().prefix_attention_backward({.forward = args,
                                             .dout = heads_at(g.out(), 0),
                                             .dk = heads_at(dkv, args.k.offset),
                                             .dv = heads_at(dkv, args.v.offset),
                                             .dq = dq,
                                             .accumulate_q = accumulate});
    if (g.wants(1)) g.add(1, dkv);
  });
}

}  // namespace monge::autograd
