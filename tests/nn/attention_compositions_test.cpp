// Attention variants that are not kinds of their own but compositions of ops: forgetting, differential and gated
// attention, a learned prior, and the sampled policy gradient that backpropagation is the mean of.
#include <gtest/gtest.h>

#include <limits>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "support/attention_call.h"

namespace monge::autograd {
namespace {

using test::close;
using test::DenseAttention;
using test::Matrix;
using test::random_matrix;
using test::random_tensor;
using test::reference;
using test::to_matrix;
using test::to_tensor;
using test::Vector;

constexpr std::int64_t T = 6, D = 3;
constexpr double tau = 0.8;  // scores are tau <q, k>

/// Gradients of sum(dout * f(inputs)).
std::vector<Matrix> gradients(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                              const Tensor& dout) {
  std::vector<Var> vars;
  for (const Tensor& t : inputs) vars.push_back(Var::leaf(t));
  Tape tape;
  Var y;
  {
    const Tape::Recording recording(tape);
    y = f(vars);
  }
  tape.backward(y, dout);
  std::vector<Matrix> out;
  for (const Var& v : vars) out.push_back(to_matrix(v.grad()));
  return out;
}

void expect_gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs) {
  const GradcheckResult result = gradcheck(f, inputs, {.tolerance = 1e-7});
  EXPECT_TRUE(result.ok) << result.message;
}

double relative(const Matrix& got, const Matrix& expected) {
  return (got - expected).cwiseAbs().maxCoeff() / expected.cwiseAbs().maxCoeff();
}

/// 1 at and below the diagonal.
Matrix lower_ones() { return Matrix::Ones(T, T).triangularView<Eigen::Lower>(); }

/// dL/dz of causal softmax attention, (T, T), from scores and u_ij = <dO_i, v_j>.
Matrix score_gradients(const Matrix& z, const Matrix& u) {
  Matrix g = Matrix::Zero(T, T);
  for (Eigen::Index i = 0; i < T; ++i) {
    const Vector row = z.row(i).head(i + 1), payoff = u.row(i).head(i + 1);
    g.row(i).head(i + 1) = test::jacobian(RowMap{}, row) * payoff;
  }
  return g;
}

// Forgetting attention (Lin et al. 2025, arXiv:2503.02130): z_ij += sum of log f_l over j < l <= i.
TEST(ForgettingAttention, GradientOfTheGatesIsASumOverTheRectangleThatTheyClose) {
  const auto attention = [](const std::vector<Var>& in) {                  // q, k, v (T, D), log f (1, T)
    const Var sums = matmul(in[3], to_tensor(lower_ones()), false, true);  // C_i = sum_{l <= i} log f_l
    const Var ones = to_tensor(Matrix::Ones(1, T));
    const Var bias = add(matmul(sums, ones, true), autograd::scale(matmul(ones, sums, true), -1.0));
    Matrix mask = Matrix::Zero(T, T);
    mask.triangularView<Eigen::StrictlyUpper>().setConstant(-std::numeric_limits<double>::infinity());
    const Var z = add(autograd::scale(matmul(in[0], in[1], false, true), tau), bias);
    return matmul(softmax(add(z, to_tensor(mask))), in[2]);
  };
  Matrix log_f = random_matrix(1, T, 4).cwiseAbs() * -0.5;
  const std::vector<Tensor> inputs{random_tensor({T, D}, 1), random_tensor({T, D}, 2), random_tensor({T, D}, 3),
                                   to_tensor(log_f)};
  expect_gradcheck(attention, inputs);

  const Tensor dout = random_tensor({T, D}, 5);
  Matrix z = tau * to_matrix(inputs[0]) * to_matrix(inputs[1]).transpose();
  for (Eigen::Index i = 0; i < T; ++i) {
    for (Eigen::Index j = 0; j <= i; ++j) z(i, j) += log_f.row(0).segment(j + 1, i - j).sum();
  }
  const Matrix g = score_gradients(z, to_matrix(dout) * to_matrix(inputs[2]).transpose());
  Matrix expected = Matrix::Zero(1, T);
  for (Eigen::Index l = 1; l < T; ++l) expected(0, l) = g.block(l, 0, T - l, l).sum();
  const Matrix got = gradients(attention, inputs, dout)[3];
  EXPECT_LE(relative(got, expected), 1e-12);
  EXPECT_LE(std::abs(got(0, 0)), 1e-14);  // no key lies before the first
}

// Differential attention (Ye et al. 2024, arXiv:2410.05258): softmax(z1) - l softmax(z2). The second map is paid -l u.
TEST(DifferentialAttention, EachMapHasItsOwnPayoff) {
  const AttentionSpec spec{.scale = tau};
  const auto attention = [&spec](const std::vector<Var>& in) {  // qkv1, qkv2 (1, T, 3 D), l (1)
    return add(autograd::attention(in[0], spec), mul(autograd::scale(autograd::attention(in[1], spec), -1.0), in[2]));
  };
  const Matrix first = random_matrix(T, 3 * D, 11);
  Matrix second = random_matrix(T, 3 * D, 12);
  second.rightCols(D) = first.rightCols(D);
  const double l = 0.6;
  const std::vector<Tensor> inputs{to_tensor(first).reshape({1, T, 3 * D}), to_tensor(second).reshape({1, T, 3 * D}),
                                   Tensor::from(std::vector<double>{l}, {1}, DType::f64, reference)};
  expect_gradcheck(attention, inputs);

  const Tensor dout = random_tensor({1, T, D}, 13);
  const Matrix u = to_matrix(dout) * first.rightCols(D).transpose();
  const auto scores = [](const Matrix& qkv) -> Matrix {
    return tau * qkv.leftCols(D) * qkv.middleCols(D, D).transpose();
  };
  const auto got = gradients(attention, inputs, dout);
  const Matrix dz1 = score_gradients(scores(first), u), dz2 = score_gradients(scores(second), -l * u);
  EXPECT_LE(relative(got[0].leftCols(D), tau * dz1 * first.middleCols(D, D)), 1e-12);
  EXPECT_LE(relative(got[1].leftCols(D), tau * dz2 * second.middleCols(D, D)), 1e-12);
  EXPECT_LE(relative(got[1].middleCols(D, D), tau * dz2.transpose() * second.leftCols(D)), 1e-12);
  double dl = 0.0;
  for (Eigen::Index i = 0; i < T; ++i) {
    const Vector z = scores(second).row(i).head(i + 1);
    dl -= test::weights(RowMap{}, z).dot(u.row(i).head(i + 1));
  }
  EXPECT_NEAR(got[2](0, 0), dl, 1e-12 * std::abs(dl));
}

// Gated attention (Qiu et al. 2025, arXiv:2505.06708): O' = O sigmoid(x W_g). The gate is outside the map, which is
// paid with dO = dO' gate.
TEST(GatedAttention, TheGateScalesWhatTheMapIsPaid) {
  const auto sigmoid = [](const Var& x) {
    const auto forward = [](const std::vector<Tensor>& in) {
      const Matrix gate = (1.0 / (1.0 + (-to_matrix(in[0]).array()).exp())).matrix();
      return to_tensor(gate).reshape(in[0].shape());
    };
    const auto backward = [](const std::vector<Tensor>& in, const Tensor& y, const Tensor& dy) {
      const Matrix gate = to_matrix(y);
      const Matrix dx = (gate.array() * (1.0 - gate.array()) * to_matrix(dy).array()).matrix();
      return std::vector<Tensor>{to_tensor(dx).reshape(in[0].shape())};
    };
    return custom_op("sigmoid of the gate", {x}, forward, backward);
  };
  const auto attention = [&](const std::vector<Var>& in) {  // qkv (1, T, 3 D), x (1, T, D), W_g (D, D)
    return mul(autograd::attention(in[0], {.scale = tau}), sigmoid(linear(in[1], in[2])));
  };
  const std::vector<Tensor> inputs{random_tensor({1, T, 3 * D}, 21), random_tensor({1, T, D}, 22),
                                   random_tensor({D, D}, 23)};
  expect_gradcheck(attention, inputs);

  const Tensor dout = random_tensor({1, T, D}, 24);
  const Matrix gate =
      (1.0 / (1.0 + (-(to_matrix(inputs[1]) * to_matrix(inputs[2]).transpose()).array()).exp())).matrix();
  const Matrix qkv = to_matrix(inputs[0]), paid = to_matrix(dout).cwiseProduct(gate);
  const Matrix dz =
      score_gradients(tau * qkv.leftCols(D) * qkv.middleCols(D, D).transpose(), paid * qkv.rightCols(D).transpose());
  EXPECT_LE(relative(gradients(attention, inputs, dout)[0].leftCols(D), tau * dz * qkv.middleCols(D, D)), 1e-12);
}

// The gradient of a log-prior is dL/dz itself, summed over the scores that read the same entry.
TEST(LearnedPrior, GradientIsThatOfTheScores) {
  for (const RowMap& map : std::vector<RowMap>{SoftmaxMap(), Entmax15Map(), SigmoidMap(), Softmax1Map()}) {
    DenseAttention d = test::random_attention(
        {.batch = 2, .tokens = T, .heads = 4, .kv_heads = 2, .head_dim = D, .width = 5, .map = map}, 31);
    d.distance_prior = random_matrix(4, T, 32);
    d.key_prior = random_matrix(4, T, 33);
    d.head_prior = random_matrix(4, 1, 34);
    const auto shipped = test::layer_call(d);
    const auto attention = [&](const std::vector<Var>& in) {
      return autograd::attention(in[0], {.heads = 4,
                                         .kv_heads = 2,
                                         .scale = d.scale,
                                         .map = d.map,
                                         .head_prior = in[1],
                                         .distance_prior = in[2],
                                         .key_prior = in[3]});
    };
    const std::vector<Tensor> inputs{shipped.call.args.q.data, to_tensor(d.head_prior).reshape({4}),
                                     to_tensor(d.distance_prior), to_tensor(d.key_prior)};
    expect_gradcheck(attention, inputs);

    const Matrix dout = random_matrix(2 * T, 4 * D, 35);
    Matrix head = Matrix::Zero(1, 4), distance = Matrix::Zero(4, T), key = Matrix::Zero(4, T);
    d.for_each_row([&](DenseAttention::Row at) {
      const Vector g = d.metric(at) * d.payoffs(dout, at);
      for (Eigen::Index j = 0; j < g.size(); ++j) {
        head(0, at.h) += g[j];
        distance(at.h, at.i - j) += g[j];
        key(at.h, j) += g[j];
      }
    });
    const auto got = gradients(attention, inputs, to_tensor(dout).reshape({2, T, 4 * D}));
    EXPECT_LE((got[1] - head).cwiseAbs().maxCoeff(), 1e-12 * key.cwiseAbs().maxCoeff());  // 0 for softmax
    EXPECT_LE(relative(got[2], distance), 1e-12);
    EXPECT_LE(relative(got[3], key), 1e-12);
  }
}

// A key drawn from the row, paid its advantage, moves the query on average as backpropagation does.
TEST(PolicyGradient, SampledKeysGiveTheBackpropagatedGradientOfTheQuery) {
  const DenseAttention d = test::random_attention({.tokens = 9, .heads = 1, .kv_heads = 1, .head_dim = D, .width = 5},
                                                  41, /*sharpness=*/2.0);
  const auto shipped = test::layer_call(d);
  Matrix dout = Matrix::Zero(9, D);
  dout.row(8) = random_matrix(1, D, 42);  // the loss reads the last row alone
  const auto attention = [&](const std::vector<Var>& in) { return autograd::attention(in[0], {.scale = d.scale}); };
  const Vector expected =
      gradients(attention, {shipped.call.args.q.data}, to_tensor(dout).reshape({1, 9, D}))[0].row(8).head(D);

  const DenseAttention::Row last{0, 0, 8};
  const Vector p = d.row_weights(last), u = d.payoffs(dout, last);
  Matrix keys(9, D);
  for (Eigen::Index j = 0; j < 9; ++j) keys.row(j) = d.key(d.w_k, last, j);
  const Vector mean_key = keys.transpose() * p;
  constexpr int draws = 200000;
  RandomSequence random(43, 0);
  Vector sum = Vector::Zero(D), squares = Vector::Zero(D);
  for (int n = 0; n < draws; ++n) {
    Eigen::Index j = 0;
    for (double rest = random.uniform() - p[0]; rest >= 0.0 && j < 8; rest -= p[j]) ++j;
    const Vector sample = d.scale * (u[j] - p.dot(u)) * (keys.row(j).transpose() - mean_key);
    sum += sample;
    squares += sample.cwiseAbs2();
  }
  for (Eigen::Index e = 0; e < D; ++e) {
    const double mean = sum[e] / draws, standard_error = std::sqrt((squares[e] / draws - mean * mean) / draws);
    EXPECT_LE(std::abs(mean - expected[e]), 4 * standard_error) << e;
    EXPECT_LT(standard_error, 0.01 * expected.norm()) << "the bound says something";
  }
}

}  // namespace
}  // namespace monge::autograd
