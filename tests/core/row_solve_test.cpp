// The damped natural gradient of a row, (H + lambda I)^-1 H u: against a dense solve, in its limits, and in f32.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "support/row_maps.h"

namespace monge {
namespace {

using namespace test;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using Scale = RowDamping::Scale;

MatrixXd dense_metric(const MappedRow& row) {
  const VectorXd s = VectorXd::Map(row.s.data(), static_cast<Eigen::Index>(row.s.size()));
  return MatrixXd(s.asDiagonal()) - s * s.transpose() / row.c();
}

class RowSolve : public testing::TestWithParam<Named> {
 protected:
  static const RowMap& map() { return GetParam().map; }
  static Vector solve(const Vector& z, const Vector& u, double lambda, Scale scale = Scale::absolute) {
    return run_rows(reference, map(), z, u, static_cast<std::int64_t>(z.size()), RowDamping{lambda, scale}).solved;
  }
};
INSTANTIATE_TEST_SUITE_P(RowMaps, RowSolve, testing::ValuesIn(every_metric()), name_of_test);

class NormalisedRowSolve : public RowSolve {};
INSTANTIATE_TEST_SUITE_P(RowMaps, NormalisedRowSolve, testing::ValuesIn(every_normalised()), name_of_test);

TEST_P(RowSolve, MatchesADenseSolve) {
  for (const std::int64_t n : {1, 2, 13, 16}) {
    for (const double stddev : {0.5, 3.0}) {  // flat rows and peaked ones
      const Vector z = random_values(n, 1, 0.0, stddev), u = random_values(n, 2);
      const MatrixXd metric = dense_metric(map_row(map(), z));
      const VectorXd gradient = metric * VectorXd::Map(u.data(), n);
      for (const double damping : {1e-6, 1e-3, 0.1, 10.0}) {
        for (const Scale scale : {Scale::per_key, Scale::absolute, Scale::trace}) {
          double lambda = damping;
          if (scale != Scale::absolute) lambda /= static_cast<double>(n);
          if (scale == Scale::trace) lambda *= std::max(metric.trace(), 0.01);
          const VectorXd x = (metric + lambda * MatrixXd::Identity(n, n)).fullPivLu().solve(gradient);
          const Vector expected(x.begin(), x.end()), got = solve(z, u, damping, scale);
          // The dense solve loses digits to its condition number, 1 / lambda.
          const double tolerance = std::max(1e-11, 1e-15 / lambda);
          const double largest = x.cwiseAbs().maxCoeff();
          const bool one_key = largest < 1e-9;  // it has all the weight: the solution is zero but for rounding
          for (std::size_t j = 0; j < got.size(); ++j) {
            EXPECT_NEAR(got[j], expected[j], one_key ? 1e-9 : tolerance * largest)
                << n << ' ' << stddev << ' ' << damping << ' ' << static_cast<int>(scale);
          }
        }
      }
    }
  }
}

TEST_P(RowSolve, LargeDampingLeavesTheGradientItself) {
  const Vector z = random_values(14, 3), u = random_values(14, 4);
  Vector x = solve(z, u, 1e8);
  for (double& value : x) value *= 1e8;
  EXPECT_TRUE(close(x, run_rows(reference, map(), z, u, 14).dz, 1e-6));
}

// On the support: the payoff minus its mean where the row is normalised, the bare payoff where it is not.
TEST_P(RowSolve, WithoutDampingItUndoesTheMetric) {
  const Vector z = random_values(14, 5), u = random_values(14, 6), x = solve(z, u, 1e-12);
  const MappedRow row = map_row(map(), z);
  double support = 0.0, sum = 0.0;
  for (std::size_t j = 0; j < u.size(); ++j) {
    if (row.s[j] == 0.0) continue;
    support += 1.0;
    sum += u[j];
  }
  const double mean = row.slack == 0.0 ? sum / support : 0.0;
  for (std::size_t j = 0; j < u.size(); ++j) EXPECT_NEAR(x[j], row.s[j] == 0.0 ? 0.0 : u[j] - mean, 1e-6);
}

TEST_P(NormalisedRowSolve, SumsToZero) {
  const Vector z = random_values(14, 7), u = random_values(14, 8);
  for (const double lambda : {1e-12, 1e-3, 1.0}) EXPECT_NEAR(total(solve(z, u, lambda)), 0.0, 1e-12);
}

// f32, from a few keys to many and from little damping to much.
TEST_P(RowSolve, FloatMatchesDouble) {
  for (const std::int64_t n : {16, 128, 512}) {
    const Vector z = as_floats(random_values(2048, 9)), u = as_floats(random_values(2048, 10));
    for (const double lambda : {1e-3, 0.1, 10.0}) {
      const RowDamping damping{.lambda = lambda};
      const RowResults got = run_rows(cpu, map(), z, u, n, damping);
      const RowResults expected = run_rows(reference, map(), z, u, n, damping);
      EXPECT_TRUE(close(got.solved, expected.solved, 2e-5)) << n << ' ' << lambda;
    }
  }
}

TEST(SoftmaxRowSolve, FloatMatchesDoubleForThousandsOfKeys) {
  constexpr std::int64_t n = 4096;
  const Vector z = as_floats(random_values(n, 11)), u = as_floats(random_values(n, 12));
  const RowDamping damping{.lambda = 1e-3};
  EXPECT_TRUE(
      close(run_rows(cpu, {}, z, u, n, damping).solved, run_rows(reference, {}, z, u, n, damping).solved, 2e-5));
}

// w = p / (p + lambda) is a sigmoid of the score, so nothing is divided by something small.
TEST(SoftmaxRowSolve, TheWeightsOfTheSolveAreASigmoidOfTheScores) {
  const Vector z = random_values(20, 13, 0.0, 3.0), u = random_values(20, 14);
  for (const double lambda : {1e-6, 1e-2, 10.0}) {
    Vector w = z;
    for (double& x : w) x = 1.0 / (1.0 + std::exp(-(x - log_sum_exp(z) - std::log(lambda))));
    const double mean = dot(w, u) / total(w);
    Vector expected = u;
    for (std::size_t j = 0; j < u.size(); ++j) expected[j] = w[j] * (u[j] - mean);
    const RowDamping damping{lambda, Scale::absolute};
    EXPECT_TRUE(close(run_rows(reference, {}, z, u, 20, damping).solved, expected, 1e-14)) << lambda;
  }
}

// The form that divides by s + lambda at the end, (g + p alpha / beta) / (p + lambda) with alpha = sum p g / (p +
// lambda) and beta = lambda sum p / (p + lambda), is the same in double.
TEST(SoftmaxRowSolve, EqualsTheShermanMorrisonForm) {
  const Vector z = random_values(20, 15), u = random_values(20, 16);
  const double lambda = 1e-2;
  const RowResults row = run_rows(reference, {}, z, u, 20, RowDamping{lambda, Scale::absolute});
  double alpha = 0.0, beta = 0.0;
  for (std::size_t j = 0; j < z.size(); ++j) {
    const double share = row.weights[j] / (row.weights[j] + lambda);
    alpha += share * row.dz[j];
    beta += lambda * share;
  }
  for (std::size_t j = 0; j < z.size(); ++j) {
    const double x = (row.dz[j] + row.weights[j] * alpha / beta) / (row.weights[j] + lambda);
    EXPECT_NEAR(row.solved[j], x, 1e-13);
  }
}

// How far a key of a uniform row is damped does not depend on how many keys there are.
TEST(SoftmaxRowSolve, DampingPerKeyTreatsLongRowsLikeShortOnes) {
  for (const std::int64_t n : {4, 64, 512}) {
    Vector u(static_cast<std::size_t>(n), 0.0);
    u[0] = 1.0;
    u[1] = -1.0;
    const Vector z(static_cast<std::size_t>(n), 0.5);
    const Vector x = run_rows(reference, {}, z, u, n, RowDamping{.lambda = 0.25}).solved;
    EXPECT_NEAR(x[0], 0.8, 1e-14) << n;  // w = (1 / n) / (1 / n + 0.25 / n)
  }
}

}  // namespace
}  // namespace monge
