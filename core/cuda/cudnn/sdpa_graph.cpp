#if defined(MONGE_CUDNN)
#include "core/cuda/cudnn/sdpa_graph.h"

#include <limits>

namespace monge::MONGE_GPU {
namespace {

using Tensor = CudnnGraph::Tensor;
using Dims = CudnnGraph::Dims;

constexpr cudnnDataType_t storage = CUDNN_DATA_BFLOAT16;

/// The graph under construction and the tensors that forward and backward share.
class Builder {
 public:
  explicit Builder(const SdpaForward& call) : call_(call) {}

  Dims scores() const { return {call_.batch, call_.heads, call_.tokens, call_.tokens}; }
  Dims rows() const { return {call_.batch, call_.heads, call_.tokens, 1}; }
  Dims queries() const { return {call_.batch, call_.heads, call_.tokens, call_.head_dim}; }

  /// (B, H, T, D) heads of a packed tensor.
  Tensor heads(std::int64_t uid, std::int64_t count, const SdpaLayout& x) {
    return graph.memory(uid, {call_.batch, count, call_.tokens, call_.head_dim},
                        {x.batch_stride, call_.head_dim, x.token_stride, 1}, storage);
  }
  /// The same read as (B, H, D, T).
  Tensor heads_transposed(std::int64_t uid, std::int64_t count, const SdpaLayout& x) {
    return graph.memory(uid, {call_.batch, count, call_.head_dim, call_.tokens},
                        {x.batch_stride, call_.head_dim, 1, x.token_stride}, storage);
  }
  /// (B, H, T, 1) in f32.
  Tensor row_numbers(std::int64_t uid) {
    return graph.memory(uid, rows(), {call_.heads * call_.tokens, call_.tokens, 1, 1}, CUDNN_DATA_FLOAT);
  }
  Tensor scale() {
    if (scale_.descriptor.raw() == nullptr) scale_ = graph.scalar(static_cast<float>(call_.scale));
    return scale_;
  }

  /// scale q k^T - slope (i - j)
  Tensor scores(const Tensor& q, const Tensor& k_transposed) {
    const Tensor products = graph.internal(scores());
    graph.matmul(q, k_transposed, products);
    const Tensor scaled = graph.pointwise(CUDNN_POINTWISE_MUL, {products, scale()});
    if (!call_.slopes) return scaled;
    const Tensor i = graph.index(scaled, 2), j = graph.index(scaled, 3);
    const Tensor slopes =
        graph.memory(sdpa_uid::slopes, {1, call_.heads, 1, 1}, {call_.heads, 1, 1, 1}, CUDNN_DATA_FLOAT);
    const Tensor prior = graph.pointwise(CUDNN_POINTWISE_MUL, {graph.index_difference(j, i), slopes});
    return graph.pointwise(CUDNN_POINTWISE_ADD, {scaled, prior});
  }
  Tensor masked(const Tensor& x) {
    if (!call_.causal) return x;
    const Tensor i = graph.index(x, 2), j = graph.index(x, 3);
    const Tensor seen = graph.pointwise(CUDNN_POINTWISE_CMP_GE, {i, j});
    const Tensor nothing = graph.scalar(-std::numeric_limits<float>::infinity());
    return graph.pointwise(CUDNN_POINTWISE_BINARY_SELECT, {x, nothing, seen});
  }
  /// A gradient of keys or values: p^T d, summed over the query heads that share a key head.
  void key_gradient(const Tensor& p_transposed, const Tensor& d, const Tensor& result) {
    if (call_.heads == call_.kv_heads) {
      graph.matmul(p_transposed, d, result);
    } else {
      const Tensor per_head = graph.internal(queries(), storage);
      graph.matmul(p_transposed, d, per_head);
      graph.reduce(CUDNN_REDUCE_TENSOR_ADD, per_head, result);
    }
  }

  CudnnGraph graph;

 private:
  const SdpaForward& call_;
  Tensor scale_;
};

/// cuDNN moves 16 bytes at a time.
bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }
bool is_aligned(const HeadView& x) {
  constexpr std::int64_t step = 16 / sizeof(bf16);
  return is_aligned(x.data.data_as<bf16>() + x.offset) && x.token_stride % step == 0 && x.batch_stride % step == 0;
}

}  // namespace

std::string sdpa_limit(const kernel::Attention& a, std::size_t version) {
  if (version < 91800) {  // backward reads uninitialised memory on sm_90
    return fmt::format("cuDNN {}.{} is older than 9.18", version / 10000, version / 100 % 100);
  }
  if (!as<SoftmaxMap>(a.map)) return fmt::format("cuDNN knows softmax only, not {}", name_of(a.map));
  if (a.q.data.dtype() != DType::bf16) return fmt::format("cuDNN needs bf16, not {}", name_of(a.q.data.dtype()));
  if (a.prior.head || a.prior.distance || a.prior.key) return "cuDNN knows no log-prior but ALiBi";
  if (a.spans) return "the queries have spans of keys of their own";
  if (a.prior.slopes && !a.causal) return "cuDNN knows ALiBi under a causal mask only";
  if (a.dropout > 0.0) return "cuDNN draws other random numbers for dropout";
  if (a.head_dim != 64 && a.head_dim != 128) return fmt::format("head_dim {} is neither 64 nor 128", a.head_dim);
  if (a.queries != a.keys || a.start != 0) return "cuDNN is used for whole sequences, not for decoding";
  if (a.batch == 0 || a.queries == 0) return "there is nothing to do";
  if (a.queries % 128 != 0) {  // NaN gradients for rows of large negative scores, in several versions
    return fmt::format("{} tokens are not a multiple of 128", a.queries);
  }
  if (!(a.scale > 0.0)) return fmt::format("the scale {} is not positive", a.scale);
  for (const HeadView* x : {&a.q, &a.k, &a.v, &a.out}) {
    if (!is_aligned(*x)) return "the heads are not aligned to 16 bytes";
  }
  if (a.prior.slopes && !is_aligned(a.prior.slopes.data())) return "the slopes are not aligned to 16 bytes";
  if (!is_aligned(a.row_stat.data())) return "the row statistics are not aligned to 16 bytes";
  return {};
}

std::string sdpa_limit(const kernel::AttentionBackward& args, std::size_t version, int architecture) {
  if (auto limit = sdpa_limit(args.forward, version); !limit.empty()) return limit;
  if (args.row_dq.data) return "cuDNN does not know the row natural gradient";
  if (architecture >= 100) {
    return fmt::format("the deterministic backward is not known on compute capability {}.{}", architecture / 10,
                       architecture % 10);
  }
  for (const HeadView* x : {&args.dout, &args.dq, &args.dk, &args.dv}) {
    if (!is_aligned(*x)) return "the heads are not aligned to 16 bytes";
  }
  return {};
}

SdpaForward sdpa_forward(const kernel::Attention& args) {
  return {.batch = args.batch,
          .heads = args.heads,
          .kv_heads = args.kv_heads,
          .tokens = args.queries,
          .head_dim = args.head_dim,
          .causal = args.causal,
          .slopes = args.prior.slopes.defined(),
          .scale = args.scale,
          .q = layout_of(args.q),
          .k = layout_of(args.k),
          .v = layout_of(args.v),
          .out = layout_of(args.out)};
}

SdpaBackward sdpa_backward(const kernel::AttentionBackward& args) {
  return {.forward = sdpa_forward(args.forward),
          .dout = layout_of(args.dout),
          .dq = layout_of(args.dq),
          .dk = layout_of(args.dk),
          .dv = layout_of(args.dv)};
}

CudnnGraph sdpa_graph(const SdpaForward& call) {
  Builder b(call);
  CudnnGraph& g = b.graph;
  const Tensor q = b.heads(sdpa_uid::q, call.heads, call.q);
  const Tensor k = b.heads_transposed(sdpa_uid::k, call.kv_heads, call.k);
  const Tensor v = b.heads(sdpa_uid::v, call.kv_heads, call.v);

  const Tensor z = b.masked(b.scores(q, k));
  const Tensor top = g.internal(b.rows());
  g.reduce(CUDNN_REDUCE_TENSOR_MAX, z, top);
  const Tensor e = g.pointwise(CUDNN_POINTWISE_EXP, {g.pointwise(CUDNN_POINTWISE_SUB, {z, top})});
  const Tensor sum = g.internal(b.rows());
  g.reduce(CUDNN_REDUCE_TENSOR_ADD, e, sum);
  const Tensor log_sum = g.pointwise(CUDNN_POINTWISE_LOG, {sum});
  g.pointwise(CUDNN_POINTWISE_ADD, {top, log_sum}, b.row_numbers(sdpa_uid::row_stat));
  const Tensor p = g.internal(b.scores(), storage);
  g.pointwise(CUDNN_POINTWISE_DIV, {e, sum}, p);
  g.matmul(p, v, b.heads(sdpa_uid::out, call.heads, call.out));
  return std::move(b.graph);
}

CudnnGraph sdpa_graph(const SdpaBackward& call) {
  const SdpaForward& f = call.forward;
  Builder b(f);
  CudnnGraph& g = b.graph;
  const Tensor q = b.heads(sdpa_uid::q, f.heads, f.q);
  const Tensor k = b.heads_transposed(sdpa_uid::k, f.kv_heads, f.k);
  const Tensor v = b.heads_transposed(sdpa_uid::v, f.kv_heads, f.v);
  const Tensor out = b.heads(sdpa_uid::out, f.heads, f.out);
  const Tensor dout = b.heads(sdpa_uid::dout, f.heads, call.dout);

  // <dO, o> of each row; the engines know it by the product with one, the place of dropout's factor.
  const Tensor dot = g.internal(b.rows());
  g.reduce(CUDNN_REDUCE_TENSOR_ADD, g.pointwise(CUDNN_POINTWISE_MUL, {dout, out}), dot);
  const Tensor row_sum = b.row_numbers(sdpa_uid::row_sum);
  g.pointwise(CUDNN_POINTWISE_MUL, {dot, g.scalar(1.0F)}, row_sum);

  const Tensor z = b.scores(q, k);
  const Tensor log_p = g.pointwise(CUDNN_POINTWISE_SUB, {z, b.row_numbers(sdpa_uid::row_stat)});
  const Tensor p = g.pointwise(CUDNN_POINTWISE_EXP, {b.masked(log_p)});
  b.key_gradient(g.transpose(p, storage), dout, b.heads(sdpa_uid::dv, f.kv_heads, call.dv));

  const Tensor u = g.internal(b.scores());
  g.matmul(dout, v, u);
  const Tensor advantage = g.pointwise(CUDNN_POINTWISE_SUB, {u, row_sum});
  const Tensor dz = g.pointwise(CUDNN_POINTWISE_MUL, {advantage, p});
  const Tensor ds = g.pointwise(CUDNN_POINTWISE_MUL, {dz, b.scale()});
  b.key_gradient(g.transpose(ds, storage), q, b.heads(sdpa_uid::dk, f.kv_heads, call.dk));

  const Tensor k_rows = g.transpose(k, storage);
  g.matmul(ds, k_rows, b.heads(sdpa_uid::dq, f.heads, call.dq));  // not by way of sums in f32, whose order is open
  return std::move(b.graph);
}

}  // namespace monge::MONGE_GPU
#endif
