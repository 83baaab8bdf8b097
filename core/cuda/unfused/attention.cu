#include "core/cuda/unfused/attention.h"

#include <algorithm>
#include <vector>

#include "core/cuda/draw.h"
#include "core/cuda/pack.h"
#include "core/cuda/sums.h"
#include "core/cuda/unfused/rows.h"

namespace monge::MONGE_GPU {
namespace {

/// The sequences [first, first + count) and key/value heads [kv_first, kv_first + kv_count) of a call, whose scores are
/// in memory together. Either all heads of some sequences or some heads of one.
struct Chunk {
  std::int64_t first, count, kv_first, kv_count;

  std::int64_t units() const { return count * kv_count; }
};

std::vector<Chunk> chunks_of(const kernel::Attention& a, std::size_t score_bytes) {
  const std::int64_t group = a.heads / a.kv_heads;
  const auto unit = std::max<std::int64_t>(group * a.queries * a.keys * static_cast<std::int64_t>(sizeof(float)), 1);
  constexpr std::int64_t most = 65535;  // matrices in one product
  const std::int64_t units = std::clamp<std::int64_t>(static_cast<std::int64_t>(score_bytes) / unit, 1, most);
  const std::int64_t heads = std::min(units, a.kv_heads), sequences = std::max<std::int64_t>(units / a.kv_heads, 1);
  std::vector<Chunk> out;
  for (std::int64_t b = 0; b < a.batch; b += sequences) {
    for (std::int64_t g = 0; g < a.kv_heads; g += heads) {
      out.push_back({b, std::min(sequences, a.batch - b), g, std::min(heads, a.kv_heads - g)});
    }
  }
  return out;
}

/// dense (count, heads, tokens, D) from or to the heads [first_head, first_head + heads) of the sequences of a chunk.
struct HeadsPlan {
  std::int64_t offset, batch_stride, token_stride, heads, tokens, head_dim;

  __device__ std::int64_t at(std::int64_t i) const {
    const std::int64_t d = i % head_dim, t = i / head_dim % tokens, h = i / (head_dim * tokens) % heads;
    return offset + i / (head_dim * tokens * heads) * batch_stride + t * token_stride + h * head_dim + d;
  }
};

template <class T>
__global__ void gather_heads_kernel(const T* x, T* dense, std::int64_t n, HeadsPlan plan) {
  for_each_pack<1>(n, [&](std::int64_t i, int) { dense[i] = x[plan.at(i)]; });
}

template <class T>
__global__ void scatter_heads_kernel(const T* dense, T* x, std::int64_t n, HeadsPlan plan) {
  for_each_pack<1>(n, [&](std::int64_t i, int) { x[plan.at(i)] = dense[i]; });
}

/// One call's walk over its chunks.
class Unfused {
 public:
  Unfused(const UnfusedContext& context, const kernel::Attention& args)
      : context_(context), a_(args), dtype_(args.q.data.dtype()), group_(args.heads / args.kv_heads) {}

  std::vector<Chunk> chunks() const { return chunks_of(a_, context_.score_bytes); }

  Tensor gather_queries(const HeadView& x, const Chunk& c) const { return gather(x, c, group_, a_.queries); }
  Tensor gather_keys(const HeadView& x, const Chunk& c) const { return gather(x, c, 1, a_.keys); }
  void scatter_queries(const Tensor& dense, const HeadView& x, const Chunk& c) const {
    scatter(dense, x, c, group_, a_.queries);
  }
  void scatter_keys(const Tensor& dense, const HeadView& x, const Chunk& c) const { scatter(dense, x, c, 1, a_.keys); }

  /// (units, group T, S) f32 = x y^T, of queries (units, group T, D) and keys (units, S, D).
  Tensor scores(const Tensor& x, const Tensor& y, const Chunk& c) const {
    const Tensor out = context_.scratch({c.units(), group_ * a_.queries, a_.keys});
    multiply(x, false, y, true, 1.0, out);
    return out;
  }
  /// factor * weights (units, group T, S) times keys (units, S, D), or, transposed, times queries.
  Tensor times(const Tensor& weights, bool transposed, const Tensor& x, double factor) const {
    const Tensor out = context_.scratch({x.size(0), transposed ? a_.keys : group_ * a_.queries, a_.head_dim}, dtype_);
    multiply(weights, transposed, x, false, factor, out);
    return out;
  }

  RowsPlan rows(const Chunk& c) const {
    const auto table = [&](const Tensor& t) {
      const std::int64_t width = t && t.numel() > 0 ? t.numel() / a_.heads : 0;
      return PriorTable{t ? t.data_as<float>() : nullptr, width};
    };
    return {c.first,
            a_.heads,
            c.kv_first * group_,  // the first head
            c.kv_count * group_,
            a_.queries,
            a_.keys,
            kernel::SpanReader(a_),
            static_cast<float>(a_.scale),
            {table(a_.prior.head), table(a_.prior.distance), table(a_.prior.key), table(a_.prior.slopes)},
            a_.dropout > 0.0,
            dropout_of(a_.random, a_.dropout),
            c.units() * group_ * a_.queries};
  }

  DType dtype() const { return dtype_; }
  Tensor like_scores(const Tensor& scores) const {
    return dtype_ == DType::f32 ? scores : context_.scratch(scores.shape(), dtype_);
  }

 private:
  HeadsPlan plan(const HeadView& x, const Chunk& c, std::int64_t group, std::int64_t tokens) const {
    return {x.offset + c.first * x.batch_stride + c.kv_first * group * a_.head_dim,
            x.batch_stride,
            x.token_stride,
            c.kv_count * group,
            tokens,
            a_.head_dim};
  }
  Tensor gather(const HeadView& x, const Chunk& c, std::int64_t group, std::int64_t tokens) const {
    const Tensor dense = context_.scratch({c.units(), group * tokens, a_.head_dim}, dtype_);
    visit_float(dtype_, [&](auto type) {
      using T = typename decltype(type)::type;
      launch(gather_heads_kernel<T>, elementwise_grid(dense.numel(), 1), elementwise_block, 0,
             context_.runtime.stream(), x.data.data_as<T>(), dense.data_as<T>(), dense.numel(),
             plan(x, c, group, tokens));
    });
    return dense;
  }
  void scatter(const Tensor& dense, const HeadView& x, const Chunk& c, std::int64_t group, std::int64_t tokens) const {
    visit_float(dtype_, [&](auto type) {
      using T = typename decltype(type)::type;
      launch(scatter_heads_kernel<T>, elementwise_grid(dense.numel(), 1), elementwise_block, 0,
             context_.runtime.stream(), dense.data_as<T>(), x.data.data_as<T>(), dense.numel(),
             plan(x, c, group, tokens));
    });
  }
  void multiply(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, double factor,
                const Tensor& out) const {
    if (out.numel() == 0) return;
    Product p;
    p.a = a.data();
    p.b = b.data();
    p.out = out.data();
    p.type = a.dtype();
    p.out_type = out.dtype();
    p.transpose_a = transpose_a;
    p.transpose_b = transpose_b;
    p.m = out.size(1);
    p.n = out.size(2);
    p.k = a.size(transpose_a ? 1 : 2);
    p.lda = a.size(2);
    p.ldb = b.size(2);
    p.ldout = p.n;
    p.batch = out.size(0);
    p.stride_a = a.size(1) * a.size(2);
    p.stride_b = b.size(1) * b.size(2);
    p.stride_out = p.m * p.n;
    p.alpha = static_cast<float>(factor);
    context_.products.run(p);
  }

  const UnfusedContext& context_;
  const kernel::Attention& a_;
  const DType dtype_;
  const std::int64_t group_;
};

}  // namespace

void unfused_attention(const UnfusedContext& context, const kernel::Attention& args) {
  const Unfused call(context, args);
  for (const Chunk& c : call.chunks()) {
    const Tensor scores = call.scores(call.gather_queries(args.q, c), call.gather_keys(args.k, c), c);
    const Tensor weights = call.like_scores(scores);
    attention_rows(context.runtime, args.map, call.rows(c), scores, weights, args.row_stat);
    call.scatter_queries(call.times(weights, false, call.gather_keys(args.v, c), 1.0), args.out, c);
  }
}

void unfused_row_stat(const UnfusedContext& context, const kernel::Attention& args) {
  const Unfused call(context, args);
  for (const Chunk& c : call.chunks()) {
    const Tensor scores = call.scores(call.gather_queries(args.q, c), call.gather_keys(args.k, c), c);
    attention_rows(context.runtime, args.map, call.rows(c), scores, {}, args.row_stat);
  }
}

void unfused_attention_backward(const UnfusedContext& context, const kernel::AttentionBackward& args) {
  const kernel::Attention& a = args.forward;
  const Unfused call(context, a);
  const bool solves_rows = args.row_dq.data.defined();
  for (const Tensor& table : {args.dprior.head, args.dprior.distance, args.dprior.key}) {
    if (table) table.backend().fill({.x = table});
  }
  for (const Chunk& c : call.chunks()) {
    const Tensor q = call.gather_queries(a.q, c), k = call.gather_keys(a.k, c), v = call.gather_keys(a.v, c);
    const Tensor dout = call.gather_queries(args.dout, c);
    // The row kernel turns scores into dz and the gradients of the weights into the weights, in place in f32.
    const Tensor scores = call.scores(q, k, c), gradients = call.scores(dout, v, c);
    const Tensor dz = call.like_scores(scores), weights = call.like_scores(gradients);
    const Tensor row_dz = solves_rows ? context.scratch(scores.shape(), call.dtype()) : Tensor();
    attention_rows_backward(context.runtime, a.map, call.rows(c), {scores, gradients, dz, weights, row_dz, a.row_stat},
                            args.damping);
    add_prior_gradients(context.runtime, call.rows(c), scores, args.dprior);

    const Tensor dv = call.times(weights, true, dout, 1.0);
    call.scatter_keys(dv, args.dv, c);
    call.scatter_queries(call.times(dz, false, k, a.scale), args.dq, c);
    call.scatter_keys(call.times(dz, true, q, a.scale), args.dk, c);
    if (!solves_rows) continue;
    call.scatter_queries(call.times(row_dz, false, k, a.scale), args.row_dq, c);
    call.scatter_keys(call.times(row_dz, true, q, a.scale), args.row_dk, c);
    call.scatter_keys(dv, args.row_dv, c);
  }
}

void unfused_attention_metric(const UnfusedContext& context, const kernel::AttentionMetric& args) {
  // One head alone is a call with one head of queries and one of keys.
  kernel::Attention one = args.forward;
  const std::int64_t kv_head = args.head / (one.heads / one.kv_heads);
  one.q.offset += args.head * one.head_dim;
  one.k.offset += kv_head * one.head_dim;
  const auto row = [&](const Tensor& table) {
    return table ? table.reshape({table.numel()})
                       .slice(args.head * table.numel() / one.heads, (args.head + 1) * table.numel() / one.heads)
                 : table;
  };
  one.prior = {row(one.prior.head), row(one.prior.distance), row(one.prior.key), row(one.prior.slopes)};
  one.heads = one.kv_heads = 1;
  one.dropout = 0.0;
  const Unfused call(context, one);
  const auto E = args.y.shape().last();
  for (const Chunk& c : call.chunks()) {
    const Tensor scores = call.scores(call.gather_queries(one.q, c), call.gather_keys(one.k, c), c);
    const Tensor curvature = context.scratch(scores.shape());
    attention_rows_metric(context.runtime, one.map, call.rows(c), scores, curvature);
    sum_over(context.runtime, curvature, c.count, one.queries, one.keys, 1.0f,
             args.column_sums.slice(c.first, c.first + c.count), false);
    Product p;  // scores now hold s_ij / sqrt(c_i)
    p.a = scores.data();
    p.b = args.y.slice(c.first, c.first + c.count).data();
    p.out = args.products.slice(c.first, c.first + c.count).data();
    p.m = one.queries;
    p.n = p.ldb = p.ldout = E;
    p.k = p.lda = one.keys;
    p.batch = c.count;
    p.stride_a = one.queries * one.keys;
    p.stride_b = one.keys * E;
    p.stride_out = one.queries * E;
    context.products.run(p);
  }
}

}  // namespace monge::MONGE_GPU
