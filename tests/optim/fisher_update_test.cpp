// Steps of an optimizer with the natural updates of W_q and W_k, against dense solves.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <cmath>
#include <tuple>

#include "optim/arithmetic.h"
#include "optim/matrix/device_inverse.h"
#include "optim/matrix/symmetric.h"
#include "support/one_layer.h"

namespace monge::optim {
namespace {

using test::DenseAttention;
using test::kronecker;
using test::Matrix;
using test::random_attention;
using test::random_matrix;
using test::Vector;

/// One step from the weights of `d` under the loss factor * sum(dout * output).
struct Step {
  Matrix gradient, change;  // of W_q on top of W_k ((H + G) D, C)
};

Step take_step(const DenseAttention& d, const std::string& yaml, std::uint64_t seed, double factor = 1.0) {
  test::OneLayerRun run(d, "{lr: 1.0, weight_decay: 0, clip_norm: 0, schedule: constant, " + yaml + "}");
  const Matrix before = run.queries_and_keys();
  run.step(factor * random_matrix(d.batch * d.tokens, d.width, seed + 1));
  return {run.gradient(), run.queries_and_keys() - before};
}

Vector flat(const Matrix& m) { return Eigen::Map<const Vector>(m.data(), m.size()); }
double cosine(const Vector& a, const Vector& b) { return a.dot(b) / (a.norm() * b.norm()); }
double mean_eigenvalue(const Matrix& m) { return m.trace() / static_cast<double>(m.rows()); }

/// The width of a model is the sum of the widths of its heads.
DenseAttention sizes(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, RowMap map = {},
                     double rope = 0.0) {
  return {.batch = 2,
          .tokens = 6,
          .heads = heads,
          .kv_heads = kv_heads,
          .head_dim = head_dim,
          .width = heads * head_dim,
          .map = std::move(map),
          .rope_base = rope};
}

const std::string plain_fisher = "name: sgd, momentum: 0, attention: {update: fisher, momentum: 0, graft: 0, ";
const std::string plain_cg = "name: sgd, momentum: 0, attention: {update: fisher_cg, momentum: 0, graft: 0, ";

/// Calls f(rows of W_q or W_k of one head, A + a I, B + b I), from factors by their definitions.
template <class F>
void for_each_damped_pair(const DenseAttention& d, double damping, F f) {
  const DenseAttention::Factors factors = d.factors();
  const auto damped = [&](const Matrix& m, double mean) -> Matrix {
    return m + std::sqrt(damping) * mean * Matrix::Identity(m.rows(), m.cols());
  };
  std::int64_t row = 0;
  const auto visit = [&](const std::vector<Matrix>& left, const Matrix& right) {
    double mean = 0.0;
    for (const Matrix& m : left) mean += mean_eigenvalue(m) / static_cast<double>(left.size());
    for (const Matrix& m : left) {
      f(row, damped(m, mean), damped(right, mean_eigenvalue(right)));
      row += d.head_dim;
    }
  };
  visit(factors.query_left, factors.query_right);
  visit(factors.key_left, factors.key_right);
}

TEST(Fisher, StepIsTheDenseSolveWithTheFactors) {
  for (const RowMap& map : std::vector<RowMap>{SoftmaxMap(), Entmax15Map(), SigmoidMap()}) {
    const DenseAttention d = random_attention(sizes(4, 2, 3, map), 1);
    const Step step = take_step(d, plain_fisher + "damping: 0.3}", 1);
    Matrix expected = Matrix::Zero(step.gradient.rows(), step.gradient.cols());
    for_each_damped_pair(d, 0.3, [&](std::int64_t row, const Matrix& left, const Matrix& right) {
      const Matrix g = step.gradient.middleRows(row, d.head_dim);
      expected.middleRows(row, d.head_dim) = -left.inverse() * g * right.inverse();
    });
    EXPECT_LE((step.change - expected).cwiseAbs().maxCoeff(), 1e-10 * expected.cwiseAbs().maxCoeff()) << name_of(d.map);
  }
}

// The dense matrix of scale^2 tr(R dM S dM^T) with dM = V_q^T W_k + W_q^T V_k, by the images of unit vectors.
TEST(Fisher, JointStepIsTheDenseSolveOfTheJointBlock) {
  constexpr double damping = 0.09;
  const DenseAttention d = random_attention(sizes(3, 3, 2), 5);
  const Step step = take_step(d, plain_fisher + "damping: 0.09, joint: true}", 5);
  const DenseAttention::Factors factors = d.factors();
  const auto damped = [&](const Matrix& m) -> Matrix {
    return m + std::sqrt(damping) * mean_eigenvalue(m) * Matrix::Identity(m.rows(), m.cols());
  };
  const Matrix R = damped(factors.query_right), S = damped(factors.key_right);
  const std::int64_t D = d.head_dim, C = d.width, n = D * C, keys = d.heads * D;
  const double scale_squared = 1.0 / static_cast<double>(D);
  double lambda = 0.0, mu = 0.0;
  for (std::int64_t h = 0; h < d.heads; ++h) {
    const Matrix w_q = d.w_q.middleRows(h * D, D), w_k = d.w_k.middleRows(h * D, D);
    lambda += std::sqrt(damping) * scale_squared * mean_eigenvalue(w_k * S * w_k.transpose()) / 3.0;
    mu += std::sqrt(damping) * scale_squared * mean_eigenvalue(w_q * R * w_q.transpose()) / 3.0;
  }
  const Matrix I = Matrix::Identity(D, D);
  for (std::int64_t h = 0; h < d.heads; ++h) {
    const Matrix w_q = d.w_q.middleRows(h * D, D), w_k = d.w_k.middleRows(h * D, D);
    Matrix images(C * C, 2 * n);  // of unit steps of (W_q, W_k): R^1/2 dM S^1/2
    const Matrix root_r = Eigen::SelfAdjointEigenSolver<Matrix>(R).operatorSqrt(),
                 root_s = Eigen::SelfAdjointEigenSolver<Matrix>(S).operatorSqrt();
    for (std::int64_t k = 0; k < 2 * n; ++k) {
      Matrix v = Matrix::Zero(D, C);
      v((k % n) / C, k % C) = 1.0;
      const Matrix moved = k < n ? Matrix(v.transpose() * w_k) : Matrix(w_q.transpose() * v);
      images.col(k) = flat(root_r * moved * root_s);
    }
    Matrix fisher = scale_squared * images.transpose() * images;
    fisher.topLeftCorner(n, n) += lambda * kronecker(I, R);
    fisher.bottomRightCorner(n, n) += mu * kronecker(I, S);
    Vector gradient(2 * n), change(2 * n);
    gradient << flat(step.gradient.middleRows(h * D, D)), flat(step.gradient.middleRows(keys + h * D, D));
    change << flat(step.change.middleRows(h * D, D)), flat(step.change.middleRows(keys + h * D, D));
    const Vector expected = -fisher.ldlt().solve(gradient);
    EXPECT_LE((change - expected).norm(), 1e-9 * expected.norm()) << h;
  }
}

TEST(Fisher, AJointBlockNeedsAKeyHeadForEachQueryHead) {
  try {
    take_step(random_attention(sizes(4, 2, 3), 1), plain_fisher + "joint: true}", 1);
    FAIL() << "was accepted";
  } catch (const KeyError& e) {
    EXPECT_NE(std::string(e.what()).find("2 key heads for 4 query heads"), std::string::npos) << e.what();
  }
}

TEST(Fisher, StepAlwaysDescends) {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    for (const char* joint : {"false", "true"}) {
      const Step step = take_step(random_attention(sizes(2, 2, 3), 100 + seed),
                                  plain_fisher + fmt::format("damping: 0.01, joint: {}}}", joint), seed);
      EXPECT_LT(cosine(flat(step.change), flat(step.gradient)), 0.0) << seed << " " << joint;
    }
    const Step shared = take_step(random_attention(sizes(2, 1, 3), 100 + seed), plain_fisher + "damping: 0.01}", seed);
    EXPECT_LT(cosine(flat(shared.change), flat(shared.gradient)), 0.0) << seed;
  }
}

TEST(Fisher, StepIsCloseToTheExactNaturalGradientOfEachMatrix) {
  constexpr double damping = 0.1;
  constexpr int problems = 6;
  double natural = 0.0, plain = 0.0;
  for (std::uint64_t seed = 0; seed < problems; ++seed) {
    DenseAttention small = sizes(1, 1, 6);
    small.batch = 8;
    small.tokens = 16;
    const DenseAttention d = random_attention(small, 200 + seed);
    const Step step = take_step(d, plain_fisher + "damping: 0.1}", seed);
    const Matrix fisher = d.fisher();
    const std::int64_t n = d.query_parameters();
    for (const std::int64_t at : {std::int64_t{0}, n}) {
      const Matrix block = fisher.block(at, at, n, n);
      const Matrix damped = block + damping * mean_eigenvalue(block) * Matrix::Identity(n, n);
      const Vector gradient = flat(step.gradient).segment(at, n), exact = damped.ldlt().solve(gradient);
      natural -= cosine(flat(step.change).segment(at, n), exact) / (2 * problems);
      plain += cosine(gradient, exact) / (2 * problems);
    }
  }
  EXPECT_GE(natural, 0.7);
  EXPECT_GT(natural, plain);
}

// A loss summed over more terms has a larger gradient, but a step grafted onto AdamW's does not grow with it.
TEST(Fisher, GraftedStepDoesNotDependOnTheScaleOfTheLoss) {
  const std::string yaml = "name: adamw, eps: 1.0e-12, attention: {update: fisher, graft: 2}";
  const DenseAttention d = random_attention(sizes(2, 2, 3), 3);
  const Matrix mean = take_step(d, yaml, 3).change, sum = take_step(d, yaml, 3, 1000.0).change;
  EXPECT_LE((mean - sum).cwiseAbs().maxCoeff(), 1e-7 * mean.cwiseAbs().maxCoeff());

  const Matrix base = take_step(d, "name: adamw, eps: 1.0e-12", 3).change;
  EXPECT_NEAR(mean.topRows(6).norm(), 2.0 * base.topRows(6).norm(), 1e-10 * base.norm());
}

// (F + lambda I) v = g, where lambda is read off the solution: F v is known without it.
TEST(FisherCg, StepSolvesTheDampedSystemOfTheExactFisher) {
  const DenseAttention problems[] = {sizes(2, 1, 3), sizes(2, 2, 4, {}, 10000.0), sizes(3, 3, 2, SigmoidMap()),
                                     sizes(2, 2, 3, SparsemaxMap())};
  for (const DenseAttention& problem : problems) {
    const DenseAttention d = random_attention(problem, 4);
    const Step step = take_step(
        d, plain_cg + fmt::format("damping: 0.1, tolerance: 1.0e-11, iterations: {}}}", 5 * d.parameters()), 4);
    const Vector v = -flat(step.change), gradient = flat(step.gradient);
    const Matrix fisher = d.fisher();
    const double lambda = (gradient - fisher * v).dot(v) / v.squaredNorm();
    EXPECT_GT(lambda, 0.02 * mean_eigenvalue(fisher));
    EXPECT_LT(lambda, 0.5 * mean_eigenvalue(fisher));
    const Matrix damped = fisher + lambda * Matrix::Identity(fisher.rows(), fisher.cols());
    EXPECT_LE((v - damped.ldlt().solve(gradient)).norm(), 1e-8 * v.norm()) << name_of(d.map);
  }
}

/// Mean over rows, and sum over heads, of KL(before || after).
double row_divergence(const DenseAttention& d, const Matrix& change) {
  const Matrix wq = d.w_q + change.topRows(d.w_q.rows()), wk = d.w_k + change.bottomRows(d.w_k.rows());
  double total = 0.0;
  d.for_each_row(
      [&](DenseAttention::Row at) { total += test::kl_divergence(d.row_weights(at), d.row_weights(wq, wk, at)); });
  return total / static_cast<double>(d.counted_rows());
}

// Whatever damping and tolerance may be, a step is finite: factors of few rows are singular.
TEST(Fisher, AnyAllowedDampingGivesAFiniteStep) {
  const DenseAttention d = random_attention(sizes(2, 2, 3), 3);
  for (const char* damping : {"1.0e-300", "1.0e-20", "1.0e-9", "1.0e+12"}) {
    for (const char* update : {"fisher, ", "fisher_cg, iterations: 1000, tolerance: 0, ",
                               "fisher_cg, iterations: 1000, tolerance: 1.0e-30, "}) {
      const std::string yaml = fmt::format("name: sgd, attention: {{update: {}damping: {}}}", update, damping);
      EXPECT_TRUE(take_step(d, yaml, 3).change.allFinite()) << yaml;
    }
  }
}

// kl_clip is twice the divergence that a step may cause, to second order: exactly v'Fv <= kl_clip, and the divergence
// comes to half of that as steps get short.
TEST(FisherCg, AClippedStepMovesTheRowsByHalfTheClip) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const DenseAttention d = random_attention(sizes(2, 2, 3), seed);
    const auto change_with = [&](const std::string& yaml) {
      return take_step(d, plain_cg + "damping: 0.001, tolerance: 1.0e-8, iterations: 500" + yaml, seed, 1e3).change;
    };
    const Matrix fisher = d.fisher();
    for (const double clip : {1e-6, 1e-4, 1e-2}) {
      const Matrix change = change_with(fmt::format(", kl_clip: {}}}", clip));
      const double square = flat(change).dot(fisher * flat(change));
      EXPECT_LE(square, clip * (1.0 + 1e-9)) << clip << " " << seed;
      EXPECT_GE(square, 0.5 * clip) << clip << " " << seed;  // damping keeps part of it
      if (clip > 1e-6) continue;
      EXPECT_NEAR(row_divergence(d, change), 0.5 * square, 0.01 * square) << seed;
    }
    EXPECT_GT(row_divergence(d, change_with("}")), 1e-2) << "without a clip it would be long";
  }
}

// kl_clip of `fisher` holds in the metric of its own damped factors.
TEST(Fisher, AClippedStepHasTheSquaredLengthOfTheClip) {
  const DenseAttention d = random_attention(sizes(4, 2, 3), 6);
  const Step step = take_step(d, plain_fisher + "damping: 0.1, kl_clip: 1.0e-3}", 6, 1e3);
  double squared = 0.0;
  for_each_damped_pair(d, 0.1, [&](std::int64_t row, const Matrix& left, const Matrix& right) {
    const Matrix v = step.change.middleRows(row, d.head_dim);
    squared += v.cwiseProduct(left * v * right).sum();
  });
  EXPECT_NEAR(squared, 1e-3, 1e-12);
}

// --- the factorisations ---

Matrix random_covariance(std::int64_t n, std::int64_t samples, std::uint64_t seed) {
  const Matrix y = random_matrix(samples, n, seed);
  return y.transpose() * y / static_cast<double>(samples);
}
std::span<const double> values(const Matrix& m) { return {m.data(), static_cast<std::size_t>(m.size())}; }

TEST(Symmetric, EigenbasesOfTheFactorsInvertTheDampedProduct) {
  const Matrix a = random_covariance(4, 9, 1), b = random_covariance(6, 9, 2), g = random_matrix(4, 6, 3);
  constexpr double lambda = 0.01;
  const Eigensystem ea = eigensystem(values(a), 4), eb = eigensystem(values(b), 6);
  const Matrix va = Eigen::Map<const Matrix>(ea.vectors.data(), 4, 4);
  const Matrix vb = Eigen::Map<const Matrix>(eb.vectors.data(), 6, 6);
  Matrix inner = va.transpose() * g * vb;
  for (Eigen::Index i = 0; i < 4; ++i) {
    for (Eigen::Index j = 0; j < 6; ++j) {
      inner(i, j) /= ea.values[static_cast<std::size_t>(i)] * eb.values[static_cast<std::size_t>(j)] + lambda;
    }
  }
  const Matrix got = va * inner * vb.transpose();
  const Vector expected = (kronecker(a, b) + lambda * Matrix::Identity(24, 24)).ldlt().solve(flat(g));
  EXPECT_LE((flat(got) - expected).norm(), 1e-10 * expected.norm());
  EXPECT_TRUE(std::ranges::is_sorted(ea.values));
}

TEST(Symmetric, DampingMakesASingularMatrixPositiveDefinite) {
  const Matrix m = random_covariance(6, 3, 4);  // rank 3
  const double shift = 0.1 * mean_eigenvalue(m);
  const auto got = damped_inverse(values(m), 6, shift);
  const Matrix inverse = Eigen::Map<const Matrix>(got.data(), 6, 6);
  const Matrix expected = (m + shift * Matrix::Identity(6, 6)).inverse();
  EXPECT_LE((inverse - expected).norm(), 1e-12 * expected.norm());
  EXPECT_GT(Eigen::SelfAdjointEigenSolver<Matrix>(inverse).eigenvalues().minCoeff(), 0.0);
  EXPECT_THROW(damped_inverse(values(-m), 6, shift), std::invalid_argument);
  EXPECT_THROW(damped_inverse(values(m * std::nan("")), 6, shift), std::invalid_argument);
}

// Newton's iteration on the device agrees with Cholesky on the host: for condition numbers up to 1 / relative, in
// double and in float, for several matrices that share one shift, and for the zero matrix, which has nothing but the
// shift.
TEST(DeviceInverse, IsThatOfTheHost) {
  for (const auto& [device, dtype, tolerance] :
       {std::tuple{test::reference, DType::f64, 1e-9}, {test::cpu, DType::f32, 2e-3}}) {
    for (const double relative : {1e-2, 0.3}) {
      for (const double scale : {1e-9, 1.0, 1e6}) {
        constexpr std::int64_t N = 3, n = 7;
        std::vector<double> values;
        std::vector<Eigen::MatrixXd> matrices;
        double trace = 0.0;
        for (std::int64_t k = 0; k < N; ++k) {
          const auto raw = test::random_values(n * 4, static_cast<std::uint64_t>(k + 1));  // rank 4 of 7
          const Eigen::Map<const Eigen::MatrixXd> x(raw.data(), n, 4);
          matrices.push_back(scale * x * x.transpose());
          trace += matrices.back().trace();
          values.insert(values.end(), matrices.back().data(), matrices.back().data() + n * n);
        }
        const Tensor m = Tensor::from(values, {N, n, n}, dtype, device), out = Tensor::like(m);
        damped_inverse_on_device(m, identity(m.shape(), dtype, device), 0.5, relative, out);
        const auto got = out.values();
        for (std::int64_t k = 0; k < N; ++k) {
          const Eigen::MatrixXd expected =
              (0.5 * matrices[static_cast<std::size_t>(k)] +
               relative * 0.5 * trace / static_cast<double>(N * n) * Eigen::MatrixXd::Identity(n, n))
                  .inverse();
          const auto first = got.begin() + k * n * n;
          EXPECT_TRUE(test::close({first, first + n * n}, {expected.data(), expected.data() + n * n}, tolerance))
              << relative << " " << scale;
        }
      }
    }
  }
}

}  // namespace
}  // namespace monge::optim
