#include "nn/attention/fisher.h"

#include "core/error.h"

namespace monge::nn {
namespace {

Tensor wide(const Tensor& x) { return x.dtype() == DType::bf16 ? x.to(DType::f32, x.device()) : x; }

/// The heads of (B, T, W) as (heads, B T, D).
Tensor by_head(const HeadView& view, std::int64_t heads, std::int64_t head_dim) {
  const Tensor data = wide(view.data);
  const std::int64_t rows = data.shape().rows(), first = view.offset / head_dim;
  const Tensor out = Tensor::empty({heads, rows, head_dim}, data.dtype(), data.device());
  const StridedView all(data.reshape({rows, data.size(2) / head_dim, head_dim}));
  out.backend().strided_copy({.from = all.slice(1, first, first + heads).transpose(0, 1), .to = out});
  return out;
}

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

/// How many rows have a metric. Under a map that no shift of the scores moves, a row that sees one key has none: under
/// a causal mask the first of a sequence. Of several sequences in a row of the batch only the first one's is left out
/// of the count, which is on the host; all factors are the smaller for it alike.
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
    if (a.spans.positions) return later_rows(x, a.spans.positions);
    const Tensor out = x.clone();
    for (std::int64_t b = 0; b < a.batch; ++b) out.backend().fill({.x = out.slice(b * a.queries, b * a.queries + 1)});
    return out;
  }

  /// x (B T, M) with zeros where a position is 0.
  static Tensor later_rows(const Tensor& x, const Tensor& positions) {
    Backend& backend = x.backend();
    const std::int64_t rows = x.size(0), width = x.size(1), T = positions.size(1);
    const Tensor weight_of_position = Tensor::zeros({T, 1}, x.dtype(), x.device());
    if (T > 1) backend.fill({.x = weight_of_position.slice(1, T), .value = 1.0});
    const Tensor weights = Tensor::empty({rows, 1}, x.dtype(), x.device()), out = Tensor::like(x);
    backend.embedding({.ids = positions, .table = weight_of_position, .out = weights});
    backend.repeat({.x = weights, .outer = rows, .n = width, .out = out});
    backend.mul({.a = out, .b = x, .out = out});
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
  const std::int64_t C = call.x.shape().last(), D = a.head_dim, group = a.heads / a.kv_heads;
  const Tensor x = wide(call.x).reshape({a.batch * a.queries, C});
  const Tensor source = call.source.same_memory(call.x) ? x : wide(call.source).reshape({a.batch * a.keys, C});
  const auto zeros = [&](const Shape& shape) { return Tensor::zeros(shape, x.dtype(), x.device()); };
  FisherFactors f{zeros({a.heads, D, D}), zeros({C, C}), zeros({a.kv_heads, D, D}), zeros({C, C})};

  const Tensor queries = by_head(a.q, a.heads, D), keys = by_head(a.k, a.kv_heads, D);
  const auto head = [&](const Tensor& of, std::int64_t h) { return of.slice(h, h + 1).reshape({of.size(1), D}); };

  const CountedRows counted(a);
  const double share = 1.0 / static_cast<double>(counted.count), metric_share = share * a.scale * a.scale;
  add_gram(counted.keep(x, a), share, f.query_right, false);
  // A shift of the vectors at the keys leaves Y^T H Y as it is only where H 1 = 0.
  const auto about_mean = [&](const Tensor& y) { return CountedRows::shift_invariant(a.map) ? centred(y) : y; };
  for (std::int64_t h = 0; h < a.heads; ++h) {
    const std::int64_t g = h / group;
    add_gram(counted.keep(head(queries, h), a), metric_share, f.key_left.slice(g, g + 1).reshape({D, D}), true);
    add_covariance(a, h, h + 1, about_mean(head(keys, g)), metric_share, f.query_left.slice(h, h + 1).reshape({D, D}));
  }
  add_covariance(a, 0, a.heads, about_mean(source), share / static_cast<double>(a.heads), f.key_right);
  return f;
}

namespace {

/// What stands where a call's queries and keys do: side by side in one tensor (B, T, (H + G) D), or apart where the
/// keys are those of a source.
struct QueriesAndKeys {
  Tensor q, k;

  static QueriesAndKeys zeros(const AttentionCall& call, DType dtype) {
    const kernel::Attention& a = call.args;
    const auto make = [&](std::int64_t tokens, std::int64_t heads) {
      return Tensor::zeros({a.batch, tokens, heads * a.head_dim}, dtype, call.x.device());
    };
    if (call.source.same_memory(call.x)) {
      const Tensor both = make(a.queries, a.heads + a.kv_heads);
      return {both, both};
    }
    return {make(a.queries, a.heads), make(a.keys, a.kv_heads)};
  }

  bool together() const { return q.same_memory(k); }
  HeadView queries() const { return view(q, 0); }
  HeadView keys(const kernel::Attention& a) const { return view(k, together() ? a.heads * a.head_dim : 0); }
  /// Calls f(tensor, its input, the rows of (W_q, W_k) that it belongs to) for the one tensor or both.
  template <class F>
  void each(const AttentionCall& call, const F& f) const {
    const std::int64_t query_rows = call.args.heads * call.args.head_dim,
                       key_rows = call.args.kv_heads * call.args.head_dim;
    f(q, call.x, std::pair{std::int64_t{0}, together() ? query_rows + key_rows : query_rows});
    if (!together()) f(k, call.source, std::pair{query_rows, query_rows + key_rows});
  }

 private:
  static HeadView view(const Tensor& t, std::int64_t offset) { return {t, offset, t.size(2), t.size(1) * t.size(2)}; }
};

Tensor as_rows(const Tensor& x) { return x.reshape({x.shape().rows(), x.shape().last()}); }

}  // namespace

// With V_q, V_k the parts of v, dz_ij = scale (<V_q x_i, k_j> + <q_i, V_k x_j>): two inner products of the form
// <dO_i, v_j>. So H_i dz_i and what it gives for q and k are two calls of the plain backward of attention, with keys
// and V_k x in the place of the values.
Tensor fisher_product(const AttentionCall& call, const Tensor& v) {
  const kernel::Attention& a = call.args;
  const std::int64_t C = call.x.shape().last(), moved = (a.heads + a.kv_heads) * a.head_dim;
  require(v.shape() == Shape({moved, C}), "[fisher_product] v {} for W_q and W_k ({}, {})", v.shape(), moved, C);
  Backend& backend = v.backend();

  // The change of the projection, rotated like the projection itself; rotations are linear.
  const QueriesAndKeys change = QueriesAndKeys::zeros(call, v.dtype());
  change.each(call, [&](const Tensor& to, const Tensor& x, auto rows) {
    backend.matmul({.a = as_rows(x), .b = v.slice(rows.first, rows.second), .transpose_b = true, .out = as_rows(to)});
  });
  QueriesAndKeys turned = change;
  if (change.together()) {
    turned.q = turned.k = call.position->rotate(autograd::Var(change.q), a.start).value();
  }

  const std::int64_t out_width = a.heads * a.head_dim, value_width = a.kv_heads * a.head_dim;
  const auto make = [&](std::int64_t tokens, std::int64_t width) {
    return Tensor::empty({a.batch, tokens, width}, v.dtype(), v.device());
  };
  const Tensor out = make(a.queries, out_width), moved_values = make(a.keys, value_width);
  const QueriesAndKeys total = QueriesAndKeys::zeros(call, v.dtype()),
                       gradient = QueriesAndKeys::zeros(call, v.dtype());
  const auto add_term = [&](const HeadView& left, const HeadView& right) {
    kernel::Attention plain = a;
    plain.dropout = 0.0;
    plain.v = right;
    plain.out = {out, 0, out_width, a.queries * out_width};
    plain.row_stat = Tensor::empty({a.batch, a.heads, a.queries}, backend.default_float(), v.device());
    backend.attention(plain);
    backend.attention_backward({.forward = plain,
                                .dout = left,
                                .dq = gradient.queries(),
                                .dk = gradient.keys(a),
                                .dv = {moved_values, 0, value_width, a.keys * value_width},
                                .dprior = {},
                                .damping = {},
                                .row_dq = {},
                                .row_dk = {},
                                .row_dv = {}});
    backend.add({.a = total.q, .b = gradient.q, .out = total.q});
    if (!total.together()) backend.add({.a = total.k, .b = gradient.k, .out = total.k});
  };
  add_term(turned.queries(), a.k);
  add_term(a.q, turned.keys(a));

  // Back through the rotation, by its own backward.
  QueriesAndKeys unturned = total;
  if (!turned.q.same_memory(change.q)) {
    autograd::Tape tape;
    const autograd::Var probe = autograd::Var::leaf(change.q);
    autograd::Var rotated;
    {
      const autograd::Tape::Recording recording(tape);
      rotated = call.position->rotate(probe, a.start);
    }
    tape.backward(rotated, total.q);
    unturned.q = unturned.k = probe.grad();
  }
  const Tensor product = Tensor::empty({moved, C}, v.dtype(), v.device());
  unturned.each(call, [&](const Tensor& d, const Tensor& x, auto rows) {
    backend.scale({.x = d, .factor = a.scale / static_cast<double>(CountedRows(a).count), .out = d});
    backend.matmul(
        {.a = as_rows(d), .transpose_a = true, .b = as_rows(x), .out = product.slice(rows.first, rows.second)});
  });
  return product;
}

}  // namespace monge::nn
