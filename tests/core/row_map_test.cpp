// The row maps as mathematics: optimality of the weights, and the advantage form of the Jacobian.
#include "core/row_map/row_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/row_map/host_row.h"
#include "support/compare.h"

namespace monge {
namespace {

using test::close;
using test::random_values;
using Row = HostRow<double>;
using Vector = std::vector<double>;

constexpr double infinity = std::numeric_limits<double>::infinity();

Row row_of(Vector& values) { return {values.data(), static_cast<std::int64_t>(values.size())}; }

double dot(const Vector& a, const Vector& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

struct Weights {
  Vector p;
  double stat;
};

Weights softmax(Vector z) {
  Row row = row_of(z);
  const double stat = SoftmaxMap::weights(row);
  return {z, stat};
}

/// H u in advantage form, s (u - <s, u> / c), from the weights.
Vector advantage(const Vector& p, const Vector& u) {
  const double baseline = SoftmaxMap::baseline(dot(p, u));
  Vector out(u.size());
  for (std::size_t j = 0; j < u.size(); ++j) out[j] = SoftmaxMap::curvature(p[j]) * (u[j] - baseline);
  return out;
}

TEST(SoftmaxMap, WeightsArePositiveAndSumToOne) {
  for (const std::int64_t n : {1, 2, 17, 1000}) {
    const Weights w = softmax(random_values(n, 1, 0.0, 3.0));
    EXPECT_NEAR(std::accumulate(w.p.begin(), w.p.end(), 0.0), 1.0, 1e-14);
    for (const double p : w.p) EXPECT_GT(p, 0.0);
  }
}

TEST(SoftmaxMap, TheStatisticIsLogSumExp) {
  Vector z{0.0, std::log(2.0), std::log(5.0)};
  EXPECT_NEAR(softmax(z).stat, std::log(8.0), 1e-15);
}

// Optimality (KKT) of max <p, z> + H(p) over the simplex: z_j - log p_j is one constant, and it is the value attained.
TEST(SoftmaxMap, SolvesTheEntropicTransportOfARow) {
  const Vector z = random_values(33, 2, 0.0, 4.0);
  const auto [p, stat] = softmax(z);
  const auto objective = [&](const Vector& weights) {
    double value = dot(weights, z);
    for (const double x : weights) value -= x * std::log(x);
    return value;
  };
  for (std::size_t j = 0; j < z.size(); ++j) EXPECT_NEAR(z[j] - std::log(p[j]), stat, 1e-13);
  EXPECT_NEAR(objective(p), stat, 1e-13);
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const Vector other = softmax(random_values(33, 100 + seed, 0.0, 2.0)).p;
    EXPECT_LT(objective(other), stat);
  }
}

TEST(SoftmaxMap, WeightsAreTheGradientOfTheStatistic) {
  Vector z = random_values(9, 3);
  const Vector p = softmax(z).p;
  constexpr double h = 1e-5;
  for (std::size_t j = 0; j < z.size(); ++j) {
    Vector above = z, below = z;
    above[j] += h;
    below[j] -= h;
    EXPECT_NEAR((softmax(above).stat - softmax(below).stat) / (2 * h), p[j], 1e-9);
  }
}

TEST(SoftmaxMap, TheAdvantageFormIsTheDenseJacobian) {
  const Vector z = random_values(21, 4, 0.0, 2.0), u = random_values(21, 5);
  const Vector p = softmax(z).p;
  Vector dense(21, 0.0);
  for (std::size_t i = 0; i < 21; ++i) {
    for (std::size_t j = 0; j < 21; ++j) dense[i] += ((i == j ? p[i] : 0.0) - p[i] * p[j]) * u[j];
  }
  EXPECT_TRUE(close(advantage(p, u), dense, 1e-14));
}

TEST(SoftmaxMap, TheAdvantageFormIsTheDirectionalDerivative) {
  const Vector z = random_values(12, 6), u = random_values(12, 7);
  constexpr double h = 1e-5;
  Vector above = z, below = z, numeric(12);
  for (std::size_t j = 0; j < 12; ++j) {
    above[j] += h * u[j];
    below[j] -= h * u[j];
  }
  const Vector high = softmax(above).p, low = softmax(below).p;
  for (std::size_t j = 0; j < 12; ++j) numeric[j] = (high[j] - low[j]) / (2 * h);
  EXPECT_TRUE(close(advantage(softmax(z).p, u), numeric, 1e-8));
}

TEST(SoftmaxMap, AShiftMovesOnlyTheStatistic) {
  Vector z = random_values(15, 8);
  const Weights before = softmax(z);
  for (double& x : z) x += 300.0;
  const Weights after = softmax(z);
  EXPECT_TRUE(close(after.p, before.p, 1e-12));
  EXPECT_NEAR(after.stat, before.stat + 300.0, 1e-12);
  EXPECT_TRUE(close(advantage(before.p, Vector(15, 1.0)), Vector(15, 0.0), 1e-15));  // so H 1 = 0
}

TEST(SoftmaxMap, RecomputeGivesTheSameWeights) {
  Vector z = random_values(40, 9, 50.0, 10.0);
  const Weights w = softmax(z);
  Row row = row_of(z);
  SoftmaxMap::recompute(row, w.stat);
  EXPECT_TRUE(close(z, w.p, 1e-13));
}

TEST(SoftmaxMap, ExtremeScores) {
  EXPECT_EQ(softmax({-1e4, -1e4}).p, (Vector{0.5, 0.5}));
  EXPECT_EQ(softmax({80.0, -1e4, -1e4}).p, (Vector{1.0, 0.0, 0.0}));
  const Weights masked = softmax({2.0, -infinity, 2.0});
  EXPECT_EQ(masked.p, (Vector{0.5, 0.0, 0.5}));
  EXPECT_NEAR(masked.stat, 2.0 + std::log(2.0), 1e-15);
}

TEST(SoftmaxMap, AnEmptyRowHasAnEmptyMaximum) { EXPECT_EQ(softmax({}).stat, -infinity); }

TEST(RowMap, AKindFindsItsStruct) {
  int visited = 0;
  visit_row_map({.kind = RowMapKind::softmax}, [&](auto map) {
    EXPECT_STREQ(decltype(map)::name, "softmax");
    ++visited;
  });
  EXPECT_EQ(visited, 1);
}

}  // namespace
}  // namespace monge
