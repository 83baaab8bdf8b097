// A DenseAttention handed to the code under test: random problems, and the forward call that an observer would see.
#pragma once

#include <memory>

#include "nn/attention/attention.h"
#include "support/compare.h"
#include "tools/verify/oracles/dense_attention.h"

namespace monge::test {

using namespace oracle;

inline Matrix random_matrix(std::int64_t rows, std::int64_t cols, std::uint64_t seed, double stddev = 1.0) {
  const auto values = random_values(rows * cols, seed, 0.0, stddev);
  return Eigen::Map<const Matrix>(values.data(), rows, cols);
}

/// `sizes` with random tokens and weights; at `sharpness` 1 the scores before the prior have a variance of about one.
inline DenseAttention random_attention(DenseAttention sizes, std::uint64_t seed, double sharpness = 1.0) {
  const auto weight = [&](std::int64_t heads, std::uint64_t stream) {
    return random_matrix(heads * sizes.head_dim, sizes.width, 10 * seed + stream,
                         std::sqrt(sharpness / static_cast<double>(sizes.width)));
  };
  sizes.scale *= 1.0 / std::sqrt(static_cast<double>(sizes.head_dim));
  sizes.x = random_matrix(sizes.batch * sizes.tokens, sizes.width, 10 * seed);
  sizes.w_q = weight(sizes.heads, 1);
  sizes.w_k = weight(sizes.kv_heads, 2);
  sizes.w_v = weight(sizes.kv_heads, 3);
  return sizes;
}

inline Tensor to_tensor(const Matrix& m, DType dtype = DType::f64, Device device = reference) {
  return Tensor::from({m.data(), static_cast<std::size_t>(m.size())}, {m.rows(), m.cols()}, dtype, device);
}
/// A tensor read as (rows, last).
inline Matrix to_matrix(const Tensor& x) {
  const auto values = x.values();
  return Eigen::Map<const Matrix>(values.data(), x.shape().rows(), x.shape().last());
}

/// The forward call of a layer; the position that rotates it lives here.
struct LayerCall {
  std::unique_ptr<nn::Position> position;
  nn::AttentionCall call;
};

inline LayerCall layer_call(const DenseAttention& d, DType dtype = DType::f64, Device device = reference) {
  LayerCall out;
  const nn::LayerContext context{
      .width = d.heads * d.head_dim, .heads = d.heads, .kv_heads = d.kv_heads, .context = d.tokens};
  out.position = nn::positions().make(nn::positions().choose(d.rope_base > 0.0 ? "rope" : "none"), context);

  Matrix stacked(d.w_q.rows() + 2 * d.w_k.rows(), d.width);
  stacked << d.w_q, d.w_k, d.w_v;
  const Tensor x = to_tensor(d.x, dtype, device).reshape({d.batch, d.tokens, d.width});
  const Tensor qkv = out.position->rotate(autograd::linear(x, to_tensor(stacked, dtype, device)), 0).value();
  const DType stat = dtype == DType::f64 ? DType::f64 : DType::f32;
  const auto table = [&](const Matrix& m) { return m.size() == 0 ? Tensor() : to_tensor(m, stat, device); };
  const auto per_head = [&](const Vector& v) {
    return v.size() == 0 ? Tensor() : to_tensor(v, stat, device).reshape({d.heads});
  };
  const auto view = [&](std::int64_t head) {
    return HeadView{qkv, head * d.head_dim, qkv.size(2), qkv.size(1) * qkv.size(2)};
  };
  const Tensor y = Tensor::empty({d.batch, d.tokens, d.heads * d.head_dim}, dtype, device);
  out.call = {.x = x,
              .source = x,
              .args = {.batch = d.batch,
                       .queries = d.tokens,
                       .keys = d.tokens,
                       .heads = d.heads,
                       .kv_heads = d.kv_heads,
                       .head_dim = d.head_dim,
                       .causal = d.causal,
                       .scale = d.scale,
                       .map = d.map,
                       .prior = {.head = per_head(d.head_prior),
                                 .distance = table(d.distance_prior),
                                 .key = table(d.key_prior),
                                 .slopes = per_head(d.slopes)},
                       .q = view(0),
                       .k = view(d.heads),
                       .v = view(d.heads + d.kv_heads),
                       .out = {y, 0, y.size(2), y.size(1) * y.size(2)},
                       .row_stat = Tensor::empty({d.batch, d.heads, d.tokens}, stat, device)},
              .position = out.position.get()};
  out.call.args.q.data.backend().attention(out.call.args);
  return out;
}

}  // namespace monge::test
