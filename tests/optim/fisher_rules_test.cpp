// Rules that take the attention-local Fisher in the place of statistics of their own, against its definition.
#include <gtest/gtest.h>

#include <Eigen/Eigenvalues>

#include "support/expect_error.h"
#include "support/one_layer.h"

namespace monge::optim {
namespace {

using test::DenseAttention;
using test::Matrix;
using test::random_attention;
using test::random_matrix;

DenseAttention problem(std::int64_t kv_heads) {
  return random_attention({.batch = 2, .tokens = 9, .heads = 4, .kv_heads = kv_heads, .head_dim = 3, .width = 12}, 1);
}

const std::string soap =
    "{name: soap, lr: 0.1, weight_decay: 0, clip_norm: 0, schedule: constant, betas: [0.9, 0.99], factor_decay: 0.8, "
    "eps: 1.0e-14, qk_basis: fisher, ";

Matrix eigenvectors(const Matrix& m) { return Eigen::SelfAdjointEigenSolver<Matrix>(m).eigenvectors(); }

Matrix block_diagonal(const std::vector<Matrix>& blocks) {
  const Eigen::Index n = blocks.front().rows(), count = std::ssize(blocks);
  Matrix out = Matrix::Zero(count * n, count * n);
  for (Eigen::Index k = 0; k < count; ++k) out.block(k * n, k * n, n, n) = blocks[static_cast<std::size_t>(k)];
  return out;
}

// The first step measures. AdamW's first step, which is the second, is the sign of the gradient, here in the bases of
// the factors; the weights have not moved, so the factors are those of the problem.
TEST(SoapInTheFishersBasis, FirstMoveIsTheSignInTheEigenbasisOfTheFactors) {
  for (const std::int64_t kv_heads : {4, 2}) {
    for (const bool per_head : {false, true}) {
      const DenseAttention d = problem(kv_heads);
      test::OneLayerRun run(d, soap + (per_head ? "per_head: true}" : "per_head: false}"));
      const Matrix before = run.queries_and_keys(), dout = random_matrix(18, 12, 7);
      run.step(dout);
      ASSERT_EQ(run.queries_and_keys(), before);
      run.step(dout);
      const Matrix gradient = run.gradient(), change = run.queries_and_keys() - before;

      const DenseAttention::Factors factors = d.factors();
      const auto check = [&](std::int64_t first, const Matrix& left, const Matrix& right) {
        const Matrix q_left = eigenvectors(left), q_right = eigenvectors(right);
        const Matrix turned = q_left.transpose() * gradient.middleRows(first, left.rows()) * q_right;
        const Matrix expected = -0.1 * q_left * turned.cwiseSign() * q_right.transpose();
        EXPECT_LE((change.middleRows(first, left.rows()) - expected).cwiseAbs().maxCoeff(), 1e-8)
            << kv_heads << " key heads, per head " << per_head << ", from row " << first;
      };
      const auto check_all = [&](std::int64_t first, const std::vector<Matrix>& lefts, const Matrix& right) {
        if (!per_head) return check(first, block_diagonal(lefts), right);
        for (const Matrix& left : lefts) check(std::exchange(first, first + 3), left, right);
      };
      check_all(0, factors.query_left, factors.query_right);
      check_all(12, factors.key_left, factors.key_right);
    }
  }
}

// All other matrices stay in the bases of their gradients.
TEST(SoapInTheFishersBasis, TurnsNothingButQueriesAndKeys) {
  const DenseAttention d = problem(4);
  std::string plain = soap;
  plain.replace(plain.find("qk_basis: fisher"), 16, "qk_basis: gradient");
  test::OneLayerRun fisher(d, soap + "every: 3}"), gradient(d, plain + "every: 3}");
  for (int step = 1; step <= 2; ++step) {
    const Matrix dout = random_matrix(18, 12, 7);
    fisher.step(dout);
    gradient.step(dout);
  }
  EXPECT_EQ(fisher.value_weight(), gradient.value_weight());
  EXPECT_EQ(fisher.output_weight(), gradient.output_weight());
  EXPECT_NE(fisher.queries_and_keys(), gradient.queries_and_keys());
}

TEST(SoapInTheFishersBasis, MeasuresWhenItsBasesAreAboutToFollow) {
  const DenseAttention d = problem(4);
  test::OneLayerRun run(d, soap + "every: 4}");
  std::string repeats;
  for (std::int64_t step = 1; step <= 10; ++step) repeats += run.optimizer().repeats(step) ? '=' : '.';
  EXPECT_EQ(repeats, "..==..==..");
}

TEST(SoapInTheFishersBasis, IsRefusedWhereThereIsNoFisher) {
  nn::AttentionOptions normed;
  normed.qk_norm = true;
  const std::string message = error_of([&] { test::OneLayerRun(problem(4), soap + "every: 4}", normed); });
  EXPECT_HAS(message, "soap does not know the Jacobian of normalised queries and keys");
  EXPECT_HAS(message, "allowed for this model: gradient");
}

}  // namespace
}  // namespace monge::optim
