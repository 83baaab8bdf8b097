// The Kronecker factors against the dense Fisher of W_q and of W_k, on small drawn layers with one head.
#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "nn/attention/fisher.h"
#include "optim/matrix/symmetric.h"
#include "tools/verify/claims.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

constexpr std::int64_t D = 6, C = 12;

const Source martens{"Martens 2015",
                     "Optimizing neural networks with Kronecker-factored approximate curvature, "
                     "arXiv:1503.05671"};

/// A causal layer, its call and the gradients of W_q and W_k (D, C) under a random loss.
struct DrawnLayer {
  std::unique_ptr<nn::Position> position;
  nn::AttentionCall call;
  Matrix query_gradient, key_gradient;
};

DrawnLayer draw_layer(RandomSequence& random, std::int64_t batch, std::int64_t tokens) {
  DrawnLayer out;
  out.position = nn::positions().make(nn::positions().choose("none"), nn::LayerContext{});
  const Tensor x = normal_tensor(random, {batch, tokens, C});
  const autograd::Var w =
      autograd::Var::leaf(normal_tensor(random, {3 * D, C}, 1.0 / std::sqrt(static_cast<double>(C))));
  const autograd::AttentionSpec spec{.scale = 1.0 / std::sqrt(static_cast<double>(D))};
  autograd::Tape tape;
  autograd::Var qkv, y;
  {
    const autograd::Tape::Recording recording(tape);
    qkv = autograd::linear(x, w);
    y = autograd::attention(qkv, spec);
  }
  out.call = {x, x, autograd::attention_call(qkv.value(), spec), out.position.get()};
  tape.backward(y, normal_tensor(random, y.shape()));
  const Matrix gradient = to_matrix(w.grad());
  out.query_gradient = gradient.topRows(D);
  out.key_gradient = gradient.middleRows(D, D);
  return out;
}

using oracle::kronecker;

/// The Fisher of W_q and that of W_k, the means of their blocks over the rows that see more than one key.
struct DenseFisher {
  Matrix query = Matrix::Zero(D * C, D*C), key = query;
};
DenseFisher dense_fisher(const nn::AttentionCall& call) {
  const kernel::Attention& a = call.args;
  const LayerScores scores(call);
  const Matrix x = to_matrix(call.x);
  const double share = a.scale * a.scale / static_cast<double>(a.batch * (a.queries - 1));
  const auto covariance = [](const Vector& p, const Matrix& y) -> Matrix {
    const Vector mean = y.transpose() * p;
    return y.transpose() * p.asDiagonal() * y - mean * mean.transpose();
  };
  DenseFisher out;
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t i = 1; i < a.queries; ++i) {
      const Vector p = softmax(scores.scores(b, 0, i)), q = scores.query(b, 0, i), input = x.row(b * a.queries + i);
      Matrix keys(p.size(), D);
      for (Eigen::Index j = 0; j < p.size(); ++j) keys.row(j) = scores.key(b, 0, j);
      const Matrix inputs = x.middleRows(b * a.queries, p.size());
      out.query += share * kronecker(covariance(p, keys), input * input.transpose());
      out.key += share * kronecker(q * q.transpose(), covariance(p, inputs));
    }
  }
  return out;
}

/// (M + relative * mean eigenvalue * I)^-1 as the fisher update takes it.
Matrix damped_inverse(const Matrix& m, double relative) {
  const auto inverse = optim::damped_inverse({m.data(), static_cast<std::size_t>(m.size())}, m.rows(),
                                             relative * m.trace() / static_cast<double>(m.rows()));
  return Eigen::Map<const Matrix>(inverse.data(), m.rows(), m.cols());
}

/// Cosine between (F + lambda I)^-1 G and its Kronecker form.
double step_cosine(const Matrix& fisher, const Matrix& left, const Matrix& right, const Matrix& gradient) {
  constexpr double damping = 0.1;
  const double lambda = damping * fisher.trace() / static_cast<double>(fisher.rows());
  const Matrix damped = fisher + lambda * Matrix::Identity(fisher.rows(), fisher.cols());
  const Vector exact = damped.ldlt().solve(Eigen::Map<const Vector>(gradient.data(), gradient.size()));
  const Matrix step = damped_inverse(left, std::sqrt(damping)) * gradient * damped_inverse(right, std::sqrt(damping));
  return Eigen::Map<const Vector>(step.data(), step.size()).normalized().dot(exact.normalized());
}

}  // namespace

Claim single_row_claim(std::uint64_t seed) {
  RandomSequence random(seed, single_row_stream);
  const DrawnLayer layer = draw_layer(random, 1, 2);  // the first row sees one key and does not count
  const DenseFisher dense = dense_fisher(layer.call);
  const nn::FisherFactors f = nn::fisher_factors(layer.call);
  const auto error = [](const Matrix& fisher, const Tensor& left, const Tensor& right) {
    return (fisher - kronecker(to_matrix(left), to_matrix(right))).cwiseAbs().maxCoeff() / fisher.cwiseAbs().maxCoeff();
  };
  return {"Kronecker factors exact for one row", martens,
          std::max(error(dense.query, f.query_left, f.query_right), error(dense.key, f.key_left, f.key_right)), 1e-10};
}

Claim kronecker_step_claim(std::uint64_t seed) {
  constexpr int layers = 20;
  RandomSequence random(seed, step_stream);
  double cosines = 0.0;
  for (int i = 0; i < layers; ++i) {
    const DrawnLayer layer = draw_layer(random, 8, 16);
    const DenseFisher dense = dense_fisher(layer.call);
    const nn::FisherFactors f = nn::fisher_factors(layer.call);
    cosines += step_cosine(dense.query, to_matrix(f.query_left), to_matrix(f.query_right), layer.query_gradient);
    cosines += step_cosine(dense.key, to_matrix(f.key_left), to_matrix(f.key_right), layer.key_gradient);
  }
  return {"Kronecker step vs exact, mean cosine", martens, cosines / (2 * layers), 0.7, /*at_least=*/true};
}

}  // namespace monge::tools
