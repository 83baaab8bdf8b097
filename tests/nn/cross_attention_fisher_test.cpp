// The attention-local Fisher of cross-attention against its definition: the scores as a function of W_q and W_k,
// written down densely, and the metric of every row.
#include <gtest/gtest.h>

#include <Eigen/Dense>

#include "autograd/ops.h"
#include "nn/attention/fisher.h"
#include "support/compare.h"
#include "support/spans.h"

namespace monge::nn {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using test::reference;

constexpr std::int64_t B = 2, T = 3, S = 5, C = 4, H = 2, G = 1, D = 3;
const std::vector<std::int32_t> lengths{5, 3};
const double scale = 0.6;

struct Problem {
  Tensor x = test::random_tensor({B, T, C}, 1, DType::f64, reference);
  Tensor source = test::random_tensor({B, S, C}, 2, DType::f64, reference);
  Tensor w_q = test::random_tensor({H * D, C}, 3, DType::f64, reference);
  Tensor w_kv = test::random_tensor({2 * G * D, C}, 4, DType::f64, reference);
  AttentionCall call;

  explicit Problem(const RowMap& map) {
    const Tensor q = autograd::linear(x, w_q).value(), kv = autograd::linear(source, w_kv).value();
    autograd::AttentionSpec spec{.heads = H, .kv_heads = G, .causal = false, .scale = scale, .map = map};
    spec.spans = test::padding_spans(lengths, T, reference);
    call = {.x = x, .source = source, .args = autograd::attention_call(q, kv, spec)};
  }
};

Matrix matrix(const Tensor& t) {
  const auto values = t.values();
  return Eigen::Map<const Matrix>(values.data(), t.shape().rows(), t.shape().last());
}

/// The metric of a softmax row, dense.
Matrix metric(const Eigen::VectorXd& z) {
  Eigen::VectorXd p = (z.array() - z.maxCoeff()).exp();
  p /= p.sum();
  return Matrix(p.asDiagonal()) - p * p.transpose();
}

/// Calls f(x_i, X, q_i, K, H_i, head) for every row of a softmax problem.
template <class F>
void each_row(const Problem& p, const F& f) {
  const Matrix x = matrix(p.x), source = matrix(p.source), w_q = matrix(p.w_q), w_k = matrix(p.w_kv).topRows(G * D);
  for (std::int64_t b = 0; b < B; ++b) {
    const Matrix own = source.middleRows(b * S, lengths[static_cast<std::size_t>(b)]);
    const Matrix keys = own * w_k.transpose();
    for (std::int64_t h = 0; h < H; ++h) {
      for (std::int64_t i = 0; i < T; ++i) {
        const Eigen::VectorXd xi = x.row(b * T + i), q = w_q.middleRows(h * D, D) * xi;
        f(xi, own, q, keys, metric(scale * keys * q), h);
      }
    }
  }
}

TEST(CrossAttentionFisher, FactorsAreTheMeansOfTheirDefinition) {
  const Problem p{SoftmaxMap{}};
  const FisherFactors f = fisher_factors(p.call);
  std::vector<Matrix> query_left(H, Matrix::Zero(D, D));
  Matrix query_right = Matrix::Zero(C, C), key_left = Matrix::Zero(D, D), key_right = Matrix::Zero(C, C);
  const double N = B * T;
  each_row(p, [&](const auto& xi, const Matrix& X, const auto& q, const Matrix& K, const Matrix& M, std::int64_t h) {
    query_left[static_cast<std::size_t>(h)] += scale * scale / N * K.transpose() * M * K;
    if (h == 0) query_right += xi * xi.transpose() / N;
    key_left += scale * scale / N * q * q.transpose();
    key_right += X.transpose() * M * X / N / static_cast<double>(H);
  });
  for (std::int64_t h = 0; h < H; ++h) {
    EXPECT_TRUE(matrix(f.query_left.slice(h, h + 1)).isApprox(query_left[static_cast<std::size_t>(h)], 1e-12));
  }
  EXPECT_TRUE(matrix(f.query_right).isApprox(query_right, 1e-12));
  EXPECT_TRUE(matrix(f.key_left).isApprox(key_left, 1e-12));
  EXPECT_TRUE(matrix(f.key_right).isApprox(key_right, 1e-12));
}

TEST(CrossAttentionFisher, TheProductIsThatOfTheDenseFisher) {
  const Problem p{SoftmaxMap{}};
  constexpr std::int64_t moved = (H + G) * D;
  Matrix fisher = Matrix::Zero(moved * C, moved * C);
  each_row(p, [&](const auto& xi, const Matrix& X, const auto& q, const Matrix& K, const Matrix& M, std::int64_t h) {
    // dz_j = scale (<V_q x, k_j> + <q, V_k x_j>), as a matrix from V, read row by row, to the keys.
    Matrix jacobian = Matrix::Zero(X.rows(), moved * C);
    for (Eigen::Index j = 0; j < X.rows(); ++j) {
      for (std::int64_t d = 0; d < D; ++d) {
        jacobian.row(j).segment((h * D + d) * C, C) = scale * K(j, d) * xi.transpose();
        jacobian.row(j).segment((H * D + d) * C, C) = scale * q[d] * X.row(j);
      }
    }
    fisher += jacobian.transpose() * M * jacobian / static_cast<double>(B * T);
  });
  const Tensor v = test::random_tensor({moved, C}, 9, DType::f64, reference);
  const auto values = v.values();
  const Eigen::VectorXd expected = fisher * Eigen::Map<const Eigen::VectorXd>(values.data(), moved * C);
  const auto got = fisher_product(p.call, v).values();
  EXPECT_TRUE(Eigen::Map<const Eigen::VectorXd>(got.data(), moved * C).isApprox(expected, 1e-12));
}

// Two ways of the gradient: with a large damping the row solve is plain backpropagation over lambda.
TEST(CrossAttentionFisher, RowSolveTendsToBackpropagation) {
  const Problem p{SoftmaxMap{}};
  const double lambda = 1e7;
  const autograd::Var q = autograd::Var::leaf(p.call.args.q.data), kv = autograd::Var::leaf(p.call.args.k.data);
  const autograd::Var row_q = autograd::Var::leaf(q.value().clone()), row_kv = autograd::Var::leaf(kv.value().clone());
  autograd::AttentionSpec spec{.heads = H, .kv_heads = G, .causal = false, .scale = scale, .map = SoftmaxMap{}};
  spec.spans = p.call.args.spans;
  spec.damping = {.lambda = lambda, .scale = RowDamping::Scale::absolute};
  autograd::Tape tape;
  autograd::Var y;
  {
    const autograd::Tape::Recording recording(tape);
    y = autograd::cross_attention(q, kv, spec, row_q, row_kv);
  }
  tape.backward(y, test::random_tensor({B, T, H * D}, 5, DType::f64, reference));
  const Matrix scaled = lambda * matrix(row_q.grad()), plain = matrix(q.grad());
  EXPECT_TRUE(scaled.isApprox(plain, 1e-5));
  EXPECT_TRUE((lambda * matrix(row_kv.grad()).leftCols(G * D)).isApprox(matrix(kv.grad()).leftCols(G * D), 1e-5));
  EXPECT_TRUE(matrix(row_kv.grad()).rightCols(G * D).isApprox(matrix(kv.grad()).rightCols(G * D), 1e-12));
}

}  // namespace
}  // namespace monge::nn
