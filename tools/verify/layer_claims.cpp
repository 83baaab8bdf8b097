// Layers of softmax. A matrix M that should be sum_i Y^T Cov_i Y is read along random directions: w^T M w is then a sum
// of variances of one number per key, which needs no matrix at all.
#include <algorithm>
#include <cmath>

#include "core/backend.h"
#include "nn/attention/fisher.h"
#include "tools/verify/claims.h"
#include "tools/verify/row.h"
#include "tools/verify/worst.h"

namespace monge::tools {
namespace {

constexpr int directions = 4;  // of each matrix

const Source amari{"Amari 1998", "Natural gradient works efficiently in learning, Neural Computation 10"};
const Source namazifar{"Namazifar 2023", "Role of bias terms in dot-product attention, arXiv:2302.08626"};

double covariance(const Vector& p, const Vector& a, const Vector& b) {
  return (p.array() * (a.array() - p.dot(a)) * (b.array() - p.dot(b))).sum();
}

template <class F>
void for_each_row(const kernel::Attention& a, F f) {
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t h = 0; h < a.heads; ++h) {
      for (std::int64_t i = 0; i < a.queries; ++i) f(b, h, i);
    }
  }
}
/// Rows that see more than one key.
double counted_rows(const kernel::Attention& a) {
  return static_cast<double>(a.batch * (a.causal ? a.queries - 1 : a.queries));
}

double relative(double got, double expected) { return std::abs(got - expected) / std::max(std::abs(expected), 1e-12); }

/// What a change v ((H + G) D, C) of W_q on top of W_k makes of the packed projection, (B T, (H + 2 G) D).
Matrix packed_change(const nn::AttentionCall& call, const Matrix& v) {
  const std::int64_t width = call.args.q.data.size(2);
  Matrix change = Matrix::Zero(call.x.shape().rows(), width);
  change.leftCols(v.rows()) = to_matrix(call.x) * v.transpose();
  const Tensor packed = Tensor::from({change.data(), static_cast<std::size_t>(change.size())}, call.args.q.data.shape(),
                                     DType::f64, call.args.q.data.device());
  return to_matrix(call.position->rotate(packed, 0).value());
}

/// A random v, as the kernel takes it and as the packed change that it makes.
struct Direction {
  Tensor v;
  Matrix change;
};
Direction draw_direction(const nn::AttentionCall& call, RandomSequence& random) {
  const kernel::Attention& a = call.args;
  const Tensor v = normal_tensor(random, {(a.heads + a.kv_heads) * a.head_dim, call.x.shape().last()});
  return {v, packed_change(call, to_matrix(v))};
}

/// dz of one row under a packed change: scores are quadratic in it, so the central difference is exact.
Vector score_change(const LayerScores& forth, const LayerScores& back, std::int64_t b, std::int64_t h, std::int64_t i) {
  return 0.5 * (forth.scores(b, h, i) - back.scores(b, h, i));
}

double inner(const Tensor& a, const Tensor& b) { return to_matrix(a).cwiseProduct(to_matrix(b)).sum(); }

}  // namespace

Claim covariance_claim(Layers layers, std::uint64_t seed) {
  RandomSequence random(seed, covariance_stream);
  return {"covariance identity",
          {},
          worst(layers,
                [&](const LayerProblem& layer) {
                  const kernel::Attention& a = layer.call.args;
                  const LayerScores scores(layer.call);
                  double out = 0.0;
                  for (std::int64_t h = 0; h < a.heads; ++h) {
                    const Tensor y = normal_tensor(random, {a.batch, a.keys, 1});
                    const Tensor sums = Tensor::zeros({a.batch, a.keys}, DType::f64, y.device());
                    const Tensor products = Tensor::zeros({a.batch, a.queries, 1}, DType::f64, y.device());
                    y.backend().attention_metric(
                        {.forward = a, .head = h, .y = y, .column_sums = sums, .products = products});
                    const Matrix values = to_matrix(y.reshape({a.batch, a.keys}));
                    const double got =
                        to_matrix(sums).cwiseProduct(values.cwiseAbs2()).sum() - to_matrix(products).squaredNorm();
                    double expected = 0.0;
                    for (std::int64_t b = 0; b < a.batch; ++b) {
                      for (std::int64_t i = 0; i < a.queries; ++i) {
                        const kernel::KeySpan span = scores.span(b, i);
                        const Vector seen = values.row(b).segment(span.begin, span.size());
                        expected += covariance(softmax(scores.scores(b, h, i)), seen, seen);
                      }
                    }
                    out = std::max(out, relative(got, expected));
                  }
                  return out;
                }),
          1e-10};
}

Claim factors_claim(Layers layers, std::uint64_t seed) {
  RandomSequence random(seed, factor_stream);
  return {"Fisher factors = their definitions",
          {},
          worst(layers,
                [&](const LayerProblem& layer) {
                  const kernel::Attention& a = layer.call.args;
                  const LayerScores scores(layer.call);
                  const Matrix x = to_matrix(layer.call.x);
                  const nn::FisherFactors got = nn::fisher_factors(layer.call);
                  const double share = 1.0 / counted_rows(a), squared_scale = a.scale * a.scale;
                  const auto form = [](const Tensor& m, const Vector& w) { return w.dot(to_matrix(m) * w); };
                  double out = 0.0;
                  for (int k = 0; k < directions; ++k) {
                    const Vector w = normal(random, a.head_dim), v = normal(random, x.cols());
                    const Vector inputs = x * v;
                    Vector query_left = Vector::Zero(a.heads), key_left = Vector::Zero(a.kv_heads);
                    double query_right = 0.0, key_right = 0.0;
                    for_each_row(a, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
                      const kernel::KeySpan span = scores.span(b, i);
                      if (a.causal && span.position == 0) return;
                      const Vector p = softmax(scores.scores(b, h, i));
                      Vector keys(p.size());
                      for (Eigen::Index j = 0; j < p.size(); ++j) keys[j] = w.dot(scores.key(b, h, span.begin + j));
                      const Vector seen = inputs.segment(b * a.keys + span.begin, p.size());
                      const double q = w.dot(scores.query(b, h, i)), input = inputs[b * a.queries + i];
                      query_left[h] += share * squared_scale * covariance(p, keys, keys);
                      key_left[h / (a.heads / a.kv_heads)] += share * squared_scale * q * q;
                      query_right += share / static_cast<double>(a.heads) * input * input;
                      key_right += share / static_cast<double>(a.heads) * covariance(p, seen, seen);
                    });
                    for (std::int64_t h = 0; h < a.heads; ++h) {
                      out = std::max(out, relative(form(got.query_left.slice(h, h + 1), w), query_left[h]));
                    }
                    for (std::int64_t g = 0; g < a.kv_heads; ++g) {
                      out = std::max(out, relative(form(got.key_left.slice(g, g + 1), w), key_left[g]));
                    }
                    out = std::max({out, relative(form(got.query_right, v), query_right),
                                    relative(form(got.key_right, v), key_right)});
                  }
                  return out;
                }),
          1e-9};
}

Claim product_claim(Layers layers, std::uint64_t seed) {
  RandomSequence random(seed, product_stream);
  return {"Fisher product = dense J'HJ",
          {},
          worst(layers,
                [&](const LayerProblem& layer) {
                  const nn::AttentionCall& call = layer.call;
                  const LayerScores scores(call);
                  double out = 0.0;
                  for (int k = 0; k < directions; ++k) {
                    const Direction v = draw_direction(call, random), w = draw_direction(call, random);
                    const Tensor product = nn::fisher_product(call, v.v);
                    const LayerScores v_forth = scores.moved(v.change), v_back = scores.moved(-v.change);
                    const LayerScores w_forth = scores.moved(w.change), w_back = scores.moved(-w.change);
                    double mixed = 0.0, pure = 0.0;
                    for_each_row(call.args, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
                      const Vector p = softmax(scores.scores(b, h, i));
                      const Vector dv = score_change(v_forth, v_back, b, h, i);
                      mixed += covariance(p, dv, score_change(w_forth, w_back, b, h, i));
                      pure += covariance(p, dv, dv);
                    });
                    const double n = counted_rows(call.args);
                    out = std::max(out, relative(inner(v.v, product), pure / n));
                    out = std::max(out, std::abs(inner(w.v, product) - mixed / n) / (pure / n));
                  }
                  return out;
                }),
          1e-10};
}

// The step is so short that terms of third order do not show, and long enough for the divergence to have digits.
Claim kl_claim(Layers layers, std::uint64_t seed) {
  RandomSequence random(seed, kl_stream);
  return {"KL after a step / (eta^2 v'Fv / 2) - 1", amari,
          worst(layers,
                [&](const LayerProblem& layer) {
                  const nn::AttentionCall& call = layer.call;
                  const LayerScores scores(call);
                  const Direction v = draw_direction(call, random);
                  const double quadratic = inner(v.v, nn::fisher_product(call, v.v));
                  const double eta = std::sqrt(2e-11 / quadratic);
                  const LayerScores after = scores.moved(eta * v.change);
                  double divergence = 0.0;
                  for_each_row(call.args, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
                    const Vector p = softmax(scores.scores(b, h, i)), q = softmax(after.scores(b, h, i));
                    // sum p log(p / q) + q - p, term by term: none is negative, so little is lost.
                    const auto ratio = ((q - p).array() / p.array()).eval();
                    divergence += (p.array() * (ratio - ratio.log1p())).sum();
                  });
                  return std::abs(divergence / counted_rows(call.args) / (0.5 * eta * eta * quadratic) - 1.0);
                }),
          1e-3};
}

Claim key_bias_claim(Layers layers, std::uint64_t seed) {
  RandomSequence random(seed, bias_stream);
  return {"a bias of the keys has no gradient", namazifar,
          worst(layers,
                [&](const LayerProblem& layer) {
                  const kernel::Attention& a = layer.call.args;
                  const auto like = [&](std::int64_t heads, const Tensor& data) {
                    const std::int64_t width = heads * a.head_dim;
                    return HeadView{data, 0, width, data.size(1) * width};
                  };
                  const auto empty = [&](std::int64_t heads) {
                    return Tensor::zeros({a.batch, a.queries, heads * a.head_dim}, DType::f64, layer.call.x.device());
                  };
                  kernel::Attention forward = a;
                  forward.out = like(a.heads, empty(a.heads));
                  forward.row_stat = Tensor::zeros({a.batch, a.heads, a.queries}, DType::f64, layer.call.x.device());
                  Backend& backend = layer.call.x.backend();
                  backend.attention(forward);
                  const Tensor dq = empty(a.heads), dk = empty(a.kv_heads), dv = empty(a.kv_heads);
                  const Tensor dout = normal_tensor(random, dq.shape());
                  kernel::AttentionBackward backward{.forward = forward,
                                                     .dout = like(a.heads, dout),
                                                     .dq = like(a.heads, dq),
                                                     .dk = like(a.kv_heads, dk),
                                                     .dv = like(a.kv_heads, dv)};
                  const auto table = [](const Tensor& t) { return t.defined() ? Tensor::like(t) : t; };
                  backward.dprior = {table(a.prior.head), table(a.prior.distance), table(a.prior.key), {}};
                  backend.attention_backward(backward);
                  const Matrix gradient = to_matrix(dk);
                  return gradient.colwise().sum().cwiseAbs().maxCoeff() /
                         gradient.cwiseAbs().colwise().sum().maxCoeff();
                }),
          1e-12};
}

}  // namespace monge::tools
