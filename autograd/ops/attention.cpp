// Attention, that of one query to all tokens, and rotary positions.
#include "autograd/ops.h"
#include "autograd/ops/common.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_rope("rope");
const Op op_attention("attention");
const Op op_cross_attention("cross_attention");
const Op op_prefix_attention("prefix_attention");

/// The heads of x (B, T, W) that start at column `offset`.
HeadView heads_at(const Tensor& x, std::int64_t offset) {
  return {.data = x, .offset = offset, .token_stride = x.size(2), .batch_stride = x.size(1) * x.size(2)};
}

/// A table of the prior as the kernels read it: f32 beside bf16.
Tensor as_stat(const Tensor& table) {
  return table.defined() && table.dtype() == DType::bf16 ? table.to(DType::f32, table.device()) : table;
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

namespace {

void check_heads(const char* op, const AttentionSpec& spec) {
  require(spec.kv_heads >= 1 && spec.heads >= 1 && spec.heads % spec.kv_heads == 0,
          "[{}] {} heads for {} key/value heads: the first must be a multiple of the second", op, spec.heads,
          spec.kv_heads);
}

/// Of queries that start at column 0 of q, and keys and values from column `keys_at` of kv on.
kernel::Attention call_of(const Tensor& q, const Tensor& kv, std::int64_t head_dim, std::int64_t keys_at,
                          const AttentionSpec& spec) {
  return {.batch = q.size(0),
          .queries = q.size(1),
          .keys = kv.size(1),
          .heads = spec.heads,
          .kv_heads = spec.kv_heads,
          .head_dim = head_dim,
          .causal = spec.causal,
          .spans = spec.spans,
          .scale = spec.scale,
          .map = spec.map,
          .prior = {.head = as_stat(spec.head_prior.value()),
                    .distance = as_stat(spec.distance_prior.value()),
                    .key = as_stat(spec.key_prior.value()),
                    .slopes = spec.slopes},
          .dropout = spec.dropout,
          .random = spec.random,
          .q = heads_at(q, 0),
          .k = heads_at(kv, keys_at),
          .v = heads_at(kv, keys_at + spec.kv_heads * head_dim),
          .out = {},
          .row_stat = {}};
}

/// Two projections of the same shapes, or one that is both.
struct Projections {
  Tensor q, kv;

  static Projections like(const Projections& x) {
    const Tensor q = Tensor::like(x.q);
    return {q, x.kv.same_memory(x.q) ? q : Tensor::like(x.kv)};
  }
  HeadView queries(const kernel::Attention& a) const { return heads_at(q, a.q.offset); }
  HeadView keys(const kernel::Attention& a) const { return heads_at(kv, a.k.offset); }
  HeadView values(const kernel::Attention& a) const { return heads_at(kv, a.v.offset); }
};

/// Runs `args` and records it. Inputs: q, kv, row_q, row_kv (kv and row_kv undefined in a packed projection), then the
/// tables of the prior.
Var attend(const Op& op, kernel::Attention args, const Var& q, const Var& kv, const Var& row_q, const Var& row_kv,
           const AttentionSpec& spec) {
  const Projections x{args.q.data, args.k.data};
  const Tensor y = Tensor::empty({args.batch, args.queries, args.heads * args.head_dim}, x.q.dtype(), x.q.device());
  args.out = heads_at(y, 0);
  args.row_stat = Tensor::empty({args.batch, args.heads, args.queries}, stat_dtype(x.q), x.q.device());
  y.backend().attention(args);

  const std::initializer_list<Var> inputs{q, kv, row_q, row_kv, spec.head_prior, spec.distance_prior, spec.key_prior};
  return Tape::record(op, y, inputs, [=, damping = spec.damping](Gradients& g) {
    const bool solves_rows = g.wants(2) || g.wants(3);
    const Projections dx = Projections::like(x), row_dx = solves_rows ? Projections::like(x) : Projections();
    const auto like = [&](std::size_t input, const Tensor& table) {
      return g.wants(input) ? Tensor::like(table) : Tensor();
    };
    kernel::AttentionBackward back{.forward = args,
                                   .dout = heads_at(g.out(), 0),
                                   .dq = dx.queries(args),
                                   .dk = dx.keys(args),
                                   .dv = dx.values(args),
                                   .dprior = {.head = like(4, args.prior.head),
                                              .distance = like(5, args.prior.distance),
                                              .key = like(6, args.prior.key)},
                                   .damping = damping};
    if (solves_rows) {
      back.row_dq = row_dx.queries(args);
      back.row_dk = row_dx.keys(args);
      back.row_dv = row_dx.values(args);
    }
    g.out().backend().attention_backward(back);
    const Tensor* const gradients[] = {&dx.q, &dx.kv, &row_dx.q, &row_dx.kv};
    for (std::size_t input = 0; input < 4; ++input) {
      if (g.wants(input)) g.add(input, *gradients[input]);
    }
    add_converted(g, 4, back.dprior.head);
    add_converted(g, 5, back.dprior.distance);
    add_converted(g, 6, back.dprior.key);
  });
}

}  // namespace

KeySpans spans_of(const Tensor& queries, const Tensor& keys) {
  require(queries.rank() == 2 && keys.rank() == 2, "[segments] queries {} and keys {}: ids (B, T) and (B, S)",
          queries.shape(), keys.shape());
  const std::int64_t B = queries.size(0), T = queries.size(1);
  const KeySpans spans{Tensor::empty({B, T, 2}, DType::i32, queries.device()),
                       Tensor::empty({B, T}, DType::i32, queries.device())};
  queries.backend().segments({.queries = queries, .keys = keys, .spans = spans});
  return spans;
}

kernel::Attention attention_call(const Tensor& qkv, const AttentionSpec& spec) {
  check_heads("attention", spec);
  const std::int64_t all_heads = spec.heads + 2 * spec.kv_heads;
  require(qkv.rank() == 3 && qkv.size(2) % all_heads == 0,
          "[attention] qkv {} for {} heads and {} key/value heads: qkv (B, T, (H + 2 G) D)", qkv.shape(), spec.heads,
          spec.kv_heads);
  const std::int64_t head_dim = qkv.size(2) / all_heads;
  return call_of(qkv, qkv, head_dim, spec.heads * head_dim, spec);
}

kernel::Attention attention_call(const Tensor& q, const Tensor& kv, const AttentionSpec& spec) {
  check_heads("cross_attention", spec);
  require(q.rank() == 3 && kv.rank() == 3 && q.size(0) == kv.size(0) && q.size(2) % spec.heads == 0 &&
              kv.size(2) == q.size(2) / spec.heads * 2 * spec.kv_heads,
          "[cross_attention] q {} and kv {} for {} heads and {} key/value heads: q (B, T, H D), kv (B, S, 2 G D)",
          q.shape(), kv.shape(), spec.heads, spec.kv_heads);
  return call_of(q, kv, q.size(2) / spec.heads, 0, spec);
}

Var attention(const Var& qkv, const AttentionSpec& spec, const Var& row_qkv) {
  require(!row_qkv.defined() || row_qkv.shape() == qkv.shape(), "[attention] row_qkv {} for qkv {}", row_qkv.shape(),
          qkv.shape());
  return attend(op_attention, attention_call(qkv.value(), spec), qkv, {}, row_qkv, {}, spec);
}

Var cross_attention(const Var& q, const Var& kv, const AttentionSpec& spec, const Var& row_q, const Var& row_kv) {
  require(row_q.defined() == row_kv.defined() &&
              (!row_q.defined() || (row_q.shape() == q.shape() && row_kv.shape() == kv.shape())),
          "[cross_attention] row_q {} and row_kv {} for q {} and kv {}", row_q.shape(), row_kv.shape(), q.shape(),
          kv.shape());
  return attend(op_cross_attention, attention_call(q.value(), kv.value(), spec), q, kv, row_q, row_kv, spec);
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
