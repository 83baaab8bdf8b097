// The Jacobians of the row maps: dense finite differences against H = diag(s) - s s^T / c and against the backward of
// attention, which never forms a matrix.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "support/expect_error.h"
#include "support/row_maps.h"

namespace monge {
namespace {

using namespace test;
using Eigen::MatrixXd;
using Eigen::VectorXd;

const RowMap softmax1 = Softmax1Map(), softpick = SoftpickMap();

/// J_ij = da_i / dz_j by central differences.
MatrixXd numeric_jacobian(const RowMap& map, const Vector& z) {
  constexpr double h = 1e-5;
  const auto n = static_cast<Eigen::Index>(z.size());
  MatrixXd jacobian(n, n);
  for (Eigen::Index j = 0; j < n; ++j) {
    Vector above = z, below = z;
    above[static_cast<std::size_t>(j)] += h;
    below[static_cast<std::size_t>(j)] -= h;
    const Vector high = map_row(map, above).weights, low = map_row(map, below).weights;
    for (Eigen::Index i = 0; i < n; ++i) {
      jacobian(i, j) = (high[static_cast<std::size_t>(i)] - low[static_cast<std::size_t>(i)]) / (2.0 * h);
    }
  }
  return jacobian;
}

/// diag(s) - s s^T / c.
MatrixXd dense_metric(const RowMap& map, const Vector& z) {
  const MappedRow row = map_row(map, z);
  const VectorXd s = VectorXd::Map(row.s.data(), static_cast<Eigen::Index>(row.s.size()));
  return MatrixXd(s.asDiagonal()) - s * s.transpose() / row.c();
}

Vector product(const MatrixXd& m, const Vector& u) {
  const VectorXd y = m * VectorXd::Map(u.data(), static_cast<Eigen::Index>(u.size()));
  return {y.begin(), y.end()};
}

/// Every map; MetricJacobian those with a symmetric Jacobian, NormalisedJacobian those whose weights sum to one.
class RowJacobian : public testing::TestWithParam<Named> {
 protected:
  static const RowMap& map() { return GetParam().map; }
  static bool has_metric() { return metric_of(map()) != Metric::none; }
};
INSTANTIATE_TEST_SUITE_P(RowMaps, RowJacobian, testing::ValuesIn(every_row_map()), name_of_test);

class MetricJacobian : public RowJacobian {};
INSTANTIATE_TEST_SUITE_P(RowMaps, MetricJacobian, testing::ValuesIn(every_metric()), name_of_test);

class NormalisedJacobian : public RowJacobian {};
INSTANTIATE_TEST_SUITE_P(RowMaps, NormalisedJacobian, testing::ValuesIn(every_normalised()), name_of_test);

TEST_P(MetricJacobian, FiniteDifferencesAreDiagonalMinusRankOne) {
  for (const std::int64_t n : {1, 2, 9, 16}) {
    for (const double stddev : {0.3, 1.0, 3.0}) {
      const Vector z = smooth_scores(map(), n, 1, stddev);
      const double error = (numeric_jacobian(map(), z) - dense_metric(map(), z)).cwiseAbs().maxCoeff();
      EXPECT_LE(error, 1e-8) << n << ' ' << stddev;
    }
  }
}

TEST_P(MetricJacobian, IsPositiveSemidefinite) {
  const MatrixXd metric = dense_metric(map(), smooth_scores(map(), 12, 2));
  EXPECT_LE((metric - metric.transpose()).cwiseAbs().maxCoeff(), 1e-14);
  EXPECT_GE(Eigen::SelfAdjointEigenSolver<MatrixXd>(metric).eigenvalues().minCoeff(), -1e-12);
}

TEST_P(RowJacobian, BackwardIsItsTransposeTimesThePayoff) {
  const Vector z = smooth_scores(map(), 12, 3), u = random_values(12, 4);
  const Vector dz = run_rows(reference, map(), z, u, 12).dz;
  EXPECT_TRUE(close(dz, product(numeric_jacobian(map(), z).transpose(), u), 1e-8));
  if (has_metric()) {
    EXPECT_TRUE(close(dz, product(dense_metric(map(), z), u), 1e-13));
  }
}

TEST_P(RowJacobian, AShiftOfTheScoresChangesNothingWhereCIsTheSumOfS) {
  const Vector ones(12, 1.0);
  const Vector z = smooth_scores(map(), 12, 5);
  const Vector response = run_rows(reference, map(), z, ones, 12).dz;
  const double largest = max_relative_error(response, Vector(12, 0.0));
  const MappedRow row = map_row(map(), z);
  if (has_metric() && row.slack == 0.0) {
    EXPECT_LE(largest, 1e-14);
  } else {
    EXPECT_GT(largest, 1e-3);
  }
}

TEST_P(NormalisedJacobian, OneKeyHasNoGradient) {
  for (const double z : {-40.0, 0.3, 1e4}) {
    const RowResults row = run_rows(reference, map(), {z}, {7.0}, 1, RowDamping{});
    EXPECT_NEAR(row.weights[0], 1.0, z == 1e4 ? 1e-10 : 1e-13);
    EXPECT_NEAR(row.dz[0], 0.0, 1e-14);
    EXPECT_NEAR(row.solved[0], 0.0, 1e-14);
  }
}

// The keys that a query does not see: not small, but zero.
TEST_P(RowJacobian, MaskedKeysTakeNoPart) {
  constexpr std::int64_t n = 7;
  const Vector z = random_values(n * n, 6), u = random_values(n * n, 7);
  const auto damping = has_metric() ? std::optional(RowDamping{}) : std::nullopt;
  for (const Device device : {reference, cpu}) {
    const RowResults row = run_rows(device, map(), z, u, n, damping, true);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = i + 1; j < n; ++j) {
        const auto at = static_cast<std::size_t>(i * n + j);
        EXPECT_EQ(row.weights[at], 0.0);
        EXPECT_EQ(row.dz[at], 0.0);
        if (damping) {
          EXPECT_EQ(row.solved[at], 0.0);
        }
      }
    }
  }
}

TEST_P(RowJacobian, ARowWithoutKeysIsZero) {
  const auto damping = has_metric() ? std::optional(RowDamping{}) : std::nullopt;
  for (const Device device : {reference, cpu}) {
    const RowResults row = run_rows(device, map(), {}, {}, 0, damping);
    EXPECT_EQ(row.weights, Vector{0.0});
    EXPECT_EQ(row.dz, Vector{0.0});
    EXPECT_EQ(row.solved, damping ? Vector{0.0} : Vector{});
    EXPECT_FALSE(std::isnan(row.stat[0]));
  }
}

// --- softmax ---

// A payoff minus its baseline, and the baseline is <dO, o>.
TEST(SoftmaxJacobian, IsTheAdvantageFormOfAPolicyGradient) {
  const Vector z = random_values(10, 8), u = random_values(10, 9);
  const RowResults row = run_rows(reference, {}, z, u, 10);
  const double baseline = dot(row.weights, u);  // u is dO and the weights are o
  for (std::size_t j = 0; j < z.size(); ++j) EXPECT_NEAR(row.dz[j], row.weights[j] * (u[j] - baseline), 1e-15);
}

TEST(SoftmaxJacobian, TheGradientIsTheFisherMatrixAppliedToThePayoff) {
  const Vector z = random_values(10, 10), u = random_values(10, 11);
  const MatrixXd fisher = dense_metric({}, z);
  EXPECT_NEAR(fisher.trace(), 1.0 - dot(map_row({}, z).weights, map_row({}, z).weights), 1e-14);
  // So the pseudo-inverse of the Fisher matrix takes the gradient back to the payoff minus its mean.
  const Vector natural =
      product(fisher.completeOrthogonalDecomposition().pseudoInverse(), run_rows(reference, {}, z, u, 10).dz);
  const double mean = total(u) / 10.0;
  for (std::size_t j = 0; j < z.size(); ++j) EXPECT_NEAR(natural[j], u[j] - mean, 1e-11);
}

// --- softmax1 ---

TEST(Softmax1Jacobian, TheScoreOfTheExtraKeyLosesWhatTheOthersGain) {
  const Vector z = random_values(8, 12), u = random_values(8, 13);
  const auto loss = [&](double b) {  // the extra key at b: all others at z - b
    Vector moved = z;
    for (double& x : moved) x -= b;
    return dot(map_row(softmax1, moved).weights, u);
  };
  constexpr double h = 1e-5;
  const double numeric = (loss(h) - loss(-h)) / (2.0 * h);
  const RowResults row = run_rows(reference, softmax1, z, u, 8);
  EXPECT_NEAR(-total(row.dz), numeric, 1e-8);
  EXPECT_NEAR(-map_row(softmax1, z).slack * dot(row.weights, u), numeric, 1e-8);
}

// --- softpick ---

TEST(SoftpickJacobian, IsNotSymmetric) {
  const MatrixXd jacobian = numeric_jacobian(softpick, smooth_scores(softpick, 8, 14));
  EXPECT_GT((jacobian - jacobian.transpose()).cwiseAbs().maxCoeff(), 1e-3);
}

TEST(SoftpickJacobian, HasNoNaturalGradient) {
  for (const Device device : {reference, cpu}) {
    const auto message = error_of<std::invalid_argument>([&] {
      run_rows(device, softpick, {1.0, 2.0}, {1.0, 1.0}, 2, RowDamping{});
    });
    EXPECT_HAS(message, "softpick has no symmetric Jacobian, so no natural gradient");
  }
}

TEST(SoftpickJacobian, ARowOfVeryLowScoresHasAFiniteGradient) {
  for (const Device device : {reference, cpu}) {
    const RowResults row = run_rows(device, softpick, Vector(5, -200.0), random_values(5, 15), 5);
    EXPECT_EQ(row.weights, Vector(5, 0.0));
    EXPECT_EQ(row.dz, Vector(5, 0.0));
  }
}

}  // namespace
}  // namespace monge
