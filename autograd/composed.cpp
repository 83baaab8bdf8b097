#include "autograd/composed.h"

#include <cmath>

#include "core/error.h"

namespace monge::autograd::composed {
namespace {

/// A constant with the dtype and device of `like`, element by element.
template <class F>
Tensor constant(const Shape& shape, const Var& like, F element) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::int64_t i = 0; i < shape.numel(); ++i) values[static_cast<std::size_t>(i)] = element(i);
  return Tensor::from(values, shape, like.value().dtype(), like.value().device());
}

Var as_rows(const Var& x) { return reshape(x, {x.shape().rows(), x.shape().last()}); }

/// Every element becomes the mean of its row: a product with the constant matrix 1/C.
Var row_mean(const Var& x) {
  const std::int64_t columns = x.size(1);
  return matmul(x, constant({columns, columns}, x, [=](auto) { return 1.0 / static_cast<double>(columns); }));
}

Var norm(NormKind kind, const Var& x, const Var& gain, const Var& bias, double eps) {
  Var rows = as_rows(x);
  if (kind == NormKind::layer) rows = sub(rows, row_mean(rows));
  const Var variance = row_mean(mul(rows, rows));
  Var y = div(rows, sqrt(add(variance, constant({1}, x, [=](auto) { return eps; }))));
  if (gain.defined()) y = mul(y, gain);
  if (bias.defined()) y = add(y, bias);
  return reshape(y, x.shape());
}

/// (N, V): row i has a one at column ids_i, or nowhere when ids_i is -1.
Tensor one_hot(const Tensor& ids, std::int64_t size, const Var& like) {
  const std::vector<double> columns = ids.values();
  return constant({ids.numel(), size}, like, [&](std::int64_t i) {
    return columns[static_cast<std::size_t>(i / size)] == static_cast<double>(i % size) ? 1.0 : 0.0;
  });
}

}  // namespace

Var linear(const Var& x, const Var& weight, const Var& bias, Activation kind) {
  Var y = matmul(as_rows(x), weight, false, true);
  if (bias.defined()) y = add(y, bias);
  return reshape(activation(y, kind), x.shape().with(-1, weight.size(0)));
}

Var layer_norm(const Var& x, const Var& gain, const Var& bias, double eps) {
  return norm(NormKind::layer, x, gain, bias, eps);
}

Var rms_norm(const Var& x, const Var& gain, double eps) { return norm(NormKind::rms, x, gain, {}, eps); }

SumAndNorm add_norm(NormKind kind, const Var& x, const Var& residual, const Var& gain, const Var& bias, double eps) {
  const Var total = add(x, residual);
  return {total, norm(kind, total, gain, bias, eps)};
}

Var embedding(const Tensor& ids, const Var& table) {
  const std::int64_t width = table.size(1);
  const Shape shape = ids.rank() == 1 ? Shape{ids.size(0), width} : Shape{ids.size(0), ids.size(1), width};
  return reshape(matmul(one_hot(ids, table.size(0), table), table), shape);
}

Var cross_entropy(const Var& logits, const Tensor& targets) {
  const Tensor chosen = one_hot(targets, logits.shape().last(), logits);
  const double counted = sum(chosen).value().item();
  if (counted == 0.0) return scale(sum(logits), 0.0);
  // A left-out row takes the logarithm of one.
  const std::vector<double> target = targets.values();
  const Tensor left_out = constant({targets.numel()}, logits, [&](std::int64_t i) {
    return target[static_cast<std::size_t>(i)] == -1.0 ? 1.0 : 0.0;
  });
  const Var probability = add(sum(mul(softmax(as_rows(logits)), chosen), 1), left_out);
  return scale(sum(log(probability)), -1.0 / counted);
}

Var rope(const Var& x, std::int64_t heads, std::int64_t head_dim, double base, std::int64_t start) {
  const std::int64_t tokens = x.size(1), width = x.size(2), half = head_dim / 2;
  const auto angle = [=](std::int64_t i) {
    const std::int64_t column = i % width;
    if (column >= heads * head_dim) return 0.0;
    const auto frequency = std::pow(base, -2.0 * static_cast<double>(column % half) / static_cast<double>(head_dim));
    return static_cast<double>(start + i / width) * frequency;
  };
  const Tensor cosine = constant({tokens, width}, x, [=](std::int64_t i) { return std::cos(angle(i)); });
  const Tensor sine = constant({tokens, width}, x, [=](std::int64_t i) { return std::sin(angle(i)); });
  // (x turn)[i] = -x[i + D/2] in the first half of a head and x[i - D/2] in the second.
  const Tensor turn = constant({width, width}, x, [=](std::int64_t i) {
    const std::int64_t from = i / width, to = i % width;
    if (to >= heads * head_dim) return 0.0;
    const bool first_half = to % head_dim < half;
    if (from != (first_half ? to + half : to - half)) return 0.0;
    return first_half ? -1.0 : 1.0;
  });
  const Var turned = reshape(matmul(as_rows(x), turn), x.shape());
  return add(mul(x, cosine), mul(turned, sine));
}

Var attention(const Var& qkv, const AttentionSpec& spec) {
  require(as<SoftmaxMap>(spec.map) != nullptr, "[composed attention] knows the softmax map only");
  const std::int64_t batch = qkv.size(0), tokens = qkv.size(1), heads = spec.heads, kv_heads = spec.kv_heads;
  const std::int64_t all_heads = heads + 2 * kv_heads, head_dim = qkv.size(2) / all_heads;

  // Heads of the packed projection (B, T, (H + 2 G) D) as (B H, T, D). Query head h reads key/value head h / (H / G).
  const Var packed = reshape(qkv, {batch, tokens, all_heads, head_dim});
  const auto heads_from = [&](std::int64_t first, std::int64_t repeats) {
    std::vector<Var> out;
    for (std::int64_t h = 0; h < heads; ++h)
      out.push_back(slice(packed, 2, first + h / repeats, first + h / repeats + 1));
    return reshape(transpose(concat(out, 2), 1, 2), {batch * heads, tokens, head_dim});
  };
  const Var q = heads_from(0, 1);
  const Var k = heads_from(heads, heads / kv_heads), v = heads_from(heads + kv_heads, heads / kv_heads);

  const std::vector<double> slopes = spec.slopes.defined() ? spec.slopes.values() : std::vector<double>();
  const Tensor constants = constant({heads, tokens, tokens}, qkv, [&](std::int64_t i) {
    const std::int64_t key = i % tokens, query = i / tokens % tokens, head = i / (tokens * tokens);
    if (spec.causal && key > query) return -1e30;
    return slopes.empty() ? 0.0 : -slopes[static_cast<std::size_t>(head)] * static_cast<double>(std::abs(query - key));
  });
  // A table (H, N) of the prior as a matrix (T, T) for each head: element (i, j) is column `index(i, j)`. The term of
  // the head moves all scores of a row alike, which softmax does not see.
  const auto spread = [&](const Var& table, const auto& index) {
    const std::int64_t columns = table.size(1);
    const Tensor places = constant({columns, tokens * tokens}, qkv, [&](std::int64_t n) {
      return index(n / tokens % tokens, n % tokens) == n / (tokens * tokens) ? 1.0 : 0.0;
    });
    return reshape(matmul(table, places), {heads, tokens, tokens});
  };
  Var prior = constants;
  if (spec.distance_prior.defined()) {
    prior = add(prior, spread(spec.distance_prior, [](std::int64_t i, std::int64_t j) { return std::abs(i - j); }));
  }
  if (spec.key_prior.defined()) {
    prior = add(prior, spread(spec.key_prior, [](std::int64_t, std::int64_t j) { return j; }));
  }
  const Var products = reshape(scale(matmul(q, k, false, true), spec.scale), {batch, heads, tokens, tokens});
  const Var scores = reshape(add(products, prior), {batch * heads, tokens, tokens});
  const Var weights = dropout(softmax(scores), spec.dropout, spec.random);
  const Var out = reshape(matmul(weights, v), {batch, heads, tokens, head_dim});
  return reshape(transpose(out, 1, 2), {batch, tokens, heads * head_dim});
}

Var prefix_attention(const Var& query, const Var& kv, std::int64_t kv_heads, double scale) {
  const std::int64_t width = query.shape().numel();
  const Var nothing(constant({kv.size(0), kv.size(1), width}, kv, [](auto) { return 0.0; }));
  const Var queries = add(nothing, reshape(query, {width}));
  const AttentionSpec spec{.heads = query.size(0), .kv_heads = kv_heads, .causal = true, .scale = scale};
  return composed::attention(concat({queries, kv}, -1), spec);
}

}  // namespace monge::autograd::composed
