#include "nn/attention/fisher.h"

#include "core/error.h"

namespace monge::nn {
namespace {

Tensor wide(const Tensor& x) { return x.dtype() == DType::bf16 ? x.to(DType::f32, x.device()) : x; }

/// x (N, C) less its mean row.
Tensor centred(const Tensor& x) {
  const std::int64_t rows = x.size(0), columns = x.size(1);
  Backend& backend = x.backend();
  const Tensor mean = Tensor::empty({columns}, x.dtype(), x.device()), out = Tensor::like(x);
  backend.sum({.x = x, .n = rows, .inner = columns, .factor = -1.0 / static_cast<double>(rows), .out = mean});
  backend.add({.a = x, .b = mean, .out = out});
  return out;
}

/// out (M, M) = [out +] x^T x, for x (N, M) times `factor`.
void add_gram(const Tensor& x, double factor, const Tensor& out, bool accumulate) {
  const Tensor scaled = Tensor::like(x);
  x.backend().scale({.x = x, .factor = factor, .out = scaled});
  x.backend().matmul({.a = scaled, .transpose_a = true, .b = x, .out = out, .accumulate = accumulate});
}

/// How many rows have a metric. Under a map that no shift of the scores moves, a row that sees one key has none.
struct CountedRows {
  explicit CountedRows(const kernel::Attention& a)
      : skips_first(a.causal && a.start == 0 && a.queries > 1 && shift_invariant(a.map)),
        count(a.batch * (a.queries - (skips_first ? 1 : 0))) {}

  static bool shift_invariant(const RowMap& map) {
    double slack = 0.0;
    visit_row_map(map, [&](const auto& kind) {
      if constexpr (std::decay_t<decltype(kind)>::metric != Metric::none) {
        slack = kind.template slack<HostRow<double>>(0.0);
      }
    });
    return slack == 0.0;
  }

  /// x (B T, M) with zeros in the rows that do not count.
  Tensor keep(const Tensor& x, const kernel::Attention& a) const {
    if (!skips_first) return x;
    const Tensor out = x.clone();
    for (std::int64_t b = 0; b < a.batch; ++b) out.backend().fill({.x = out.slice(b * a.queries, b * a.queries + 1)});
    return out;
  }

  bool skips_first;
  std::int64_t count;
};

/// out (M, M) += factor sum_i Y^T H_i Y for the rows of the heads [first, last) and y (B S, M).
void add_covariance(const kernel::Attention& a, std::int64_t first, std::int64_t last, const Tensor& y, double factor,
                    const Tensor& out) {
  Backend& backend = y.backend();
  const std::int64_t width = y.size(1);
  const Tensor sums = Tensor::empty({a.batch, a.keys}, y.dtype(), y.device());
  const Tensor all_sums = Tensor::zeros(sums.shape(), y.dtype(), y.device());
  const Tensor products = Tensor::empty({a.batch * a.queries, width}, y.dtype(), y.device());
  for (std::int64_t h = first; h < last; ++h) {
    backend.attention_metric({.forward = a, .head = h, .y = y, .column_sums = sums, .products = products});
    backend.add({.a = all_sums, .b = sums, .out = all_sums});
    add_gram(products, -factor, out, true);
  }
  const Tensor weights = Tensor::like(y);
  backend.repeat({.x = all_sums, .outer = a.batch * a.keys, .n = width, .factor = factor, .out = weights});
  backend.mul({.a = weights, .b = y, .out = weights});
  backend.matmul({.a = weights, .transpose_a = true, .b = y, .out = out, .accumulate = true});
}

}  // namespace

FisherFactors fisher_factors(const AttentionCall& call) {
  const kernel::Attention& a = call.args;
  const std::int64_t C = call.x.shape().last(), D = a.head_dim, rows = a.batch * a.queries;
  const std::int64_t all_heads = call.qkv.size(2) / D, group = a.heads / a.kv_heads;
  const Tensor x = wide(call.x).reshape({rows, C}), qkv = wide(call.qkv);
  Backend& backend = x.backend();
  const auto zeros = [&](const Shape& shape) { return Tensor::zeros(shape, x.dtype(), x.device()); };
  FisherFactors f{zeros({a.heads, D, D}), zeros({C, C}), zeros({a.kv_heads, D, D}), zeros({C, C})};

  const Tensor by_head = Tensor::empty({all_heads, rows, D}, x.dtype(), x.device());
  backend.strided_copy({.from = StridedView(qkv.reshape({rows, all_heads, D})).transpose(0, 1), .to = by_head});
  const auto head = [&](std::int64_t h) { return by_head.slice(h, h + 1).reshape({rows, D}); };

  const CountedRows counted(a);
  const double share = 1.0 / static_cast<double>(counted.count), metric_share = share * a.scale * a.scale;
  add_gram(counted.keep(x, a), share, f.query_right, false);
  // A shift of the vectors at the keys leaves Y^T H Y as it is only where H 1 = 0.
  const auto about_mean = [&](const Tensor& y) { return CountedRows::shift_invariant(a.map) ? centred(y) : y; };
  for (std::int64_t h = 0; h < a.heads; ++h) {
    const std::int64_t g = h / group;
    add_gram(counted.keep(head(h), a), metric_share, f.key_left.slice(g, g + 1).reshape({D, D}), true);
    add_covariance(a, h, h + 1, about_mean(head(a.heads + g)), metric_share,
                   f.query_left.slice(h, h + 1).reshape({D, D}));
  }
  add_covariance(a, 0, a.heads, about_mean(x), share / static_cast<double>(a.heads), f.key_right);
  return f;
}

// With V_q, V_k the parts of v, dz_ij = scale (<V_q x_i, k_j> + <q_i, V_k x_j>): two inner products of the form
// <dO_i, v_j>. So H_i dz_i and what it gives for q and k are two calls of the plain backward of attention, with keys
// and V_k x in the place of the values.
Tensor fisher_product(const AttentionCall& call, const Tensor& v) {
  const kernel::Attention& a = call.args;
  const std::int64_t C = call.x.shape().last(), width = call.qkv.size(2), rows = a.batch * a.queries;
  const std::int64_t moved = (a.heads + a.kv_heads) * a.head_dim;
  require(v.shape() == Shape({moved, C}), "[fisher_product] v {} for W_q and W_k ({}, {})", v.shape(), moved, C);
  Backend& backend = v.backend();
  const Tensor x = call.x.reshape({rows, C});

  // The packed change of the projection, rotated like the projection itself; rotations are linear.
  const Tensor whole = Tensor::zeros({width, C}, v.dtype(), v.device());
  backend.copy({.from = v, .to = whole.slice(0, moved)});
  const Tensor change = Tensor::like(call.qkv);
  backend.matmul({.a = x, .b = whole, .transpose_b = true, .out = change.reshape({rows, width})});
  const Tensor turned = call.position->rotate(autograd::Var(change), a.start).value();

  const auto view = [&](const Tensor& t, std::int64_t offset) { return HeadView{t, offset, width, a.queries * width}; };
  const std::int64_t out_width = a.heads * a.head_dim;
  const Tensor out = Tensor::empty({a.batch, a.queries, out_width}, v.dtype(), v.device());
  const Tensor moved_values = Tensor::like(change), total = Tensor::zeros(change.shape(), v.dtype(), v.device());
  const Tensor gradient = Tensor::zeros(change.shape(), v.dtype(), v.device());
  const auto add_term = [&](const HeadView& left, const HeadView& right) {
    kernel::Attention plain = a;
    plain.dropout = 0.0;
    plain.v = right;
    plain.out = {out, 0, out_width, a.queries * out_width};
    plain.row_stat = Tensor::empty({a.batch, a.heads, a.queries}, backend.default_float(), v.device());
    backend.attention(plain);
    backend.attention_backward({.forward = plain,
                                .dout = left,
                                .dq = view(gradient, a.q.offset),
                                .dk = view(gradient, a.k.offset),
                                .dv = view(moved_values, a.v.offset),
                                .dprior = {},
                                .damping = {},
                                .row_dq = {},
                                .row_dk = {},
                                .row_dv = {}});
    backend.add({.a = total, .b = gradient, .out = total});
  };
  add_term(view(turned, a.q.offset), a.k);
  add_term(a.q, view(turned, a.k.offset));

  // Back through the rotation, by its own backward.
  Tensor unturned = total;
  {
    autograd::Tape tape;
    const autograd::Var probe = autograd::Var::leaf(change);
    autograd::Var rotated;
    {
      const autograd::Tape::Recording recording(tape);
      rotated = call.position->rotate(probe, a.start);
    }
    if (!rotated.value().same_memory(change)) {
      tape.backward(rotated, total);
      unturned = probe.grad();
    }
  }
  const Tensor product = Tensor::empty({width, C}, v.dtype(), v.device());
  backend.scale({.x = unturned, .factor = a.scale / static_cast<double>(CountedRows(a).count), .out = unturned});
  backend.matmul({.a = unturned.reshape({rows, width}), .transpose_a = true, .b = x, .out = product});
  return product.slice(0, moved);
}

}  // namespace monge::nn
