// How large the weights and outputs of sigmoid attention are at the start of training (Ramapuram et al. 2024,
// arXiv:2409.04431): the bias -log n makes a row about as heavy as one of softmax, no bias makes it n / 2.
#include <gtest/gtest.h>

#include <cmath>

#include "support/row_maps.h"

namespace monge {
namespace {

using test::random_values;
using test::Vector;

constexpr std::int64_t keys = 64, rows = 400;

Vector weights_of(const RowMap& map, Vector z) {
  HostRow<double> row(z.data(), static_cast<std::int64_t>(z.size()));
  visit_row_map(map, [&](const auto& kind) { kind.weights(row); });
  return z;
}

const RowMap balanced = SigmoidMap(), unbiased = SigmoidMap{.balanced = false};

TEST(SigmoidScale, ABalancedRowSumsToTheMeanOfTheExponentials) {
  for (const double spread : {0.0, 1.0}) {
    double sum = 0.0, expected = 0.0;
    for (std::int64_t i = 0; i < rows; ++i) {
      const Vector z = random_values(keys, 10 + static_cast<std::uint64_t>(i), 0.0, spread);
      sum += test::total(weights_of(balanced, z)) / rows;
      for (const double x : z) expected += std::exp(x) / (keys * rows);
    }
    EXPECT_NEAR(sum, expected, 0.1 * expected) << "scores of spread " << spread;
  }
}

TEST(SigmoidScale, WithoutABiasARowSumsToHalfOfItsKeys) {
  EXPECT_DOUBLE_EQ(test::total(weights_of(unbiased, Vector(keys, 0.0))), keys / 2.0);
}

TEST(SigmoidScale, TheOutputIsAsLargeAsThatOfSoftmaxOnlyWithTheBias) {
  const auto squared_output = [](const RowMap& map) {
    double total = 0.0;
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto seed = static_cast<std::uint64_t>(i);
      const Vector a = weights_of(map, random_values(keys, 1000 + seed)), v = random_values(keys, 5000 + seed);
      total += std::pow(test::dot(a, v), 2);
    }
    return total;
  };
  const double softmax = squared_output({});
  EXPECT_LT(std::sqrt(squared_output(balanced) / softmax), 3.0);
  EXPECT_GT(std::sqrt(squared_output(unbiased) / softmax), 10.0);
}

TEST(SigmoidScale, TheCurvatureIsTheSecondOrderOfTheBernoulliDivergence) {
  const auto divergence = [](double a, double b) {
    return a * std::log(a / b) + (1.0 - a) * std::log((1.0 - a) / (1.0 - b));
  };
  for (const double z : {-6.0, -2.0, 0.0, 0.7, 4.0}) {
    const double dz = 1e-4;
    const double a = weights_of(balanced, {z}).front(), moved = weights_of(balanced, {z + dz}).front();
    const double s = SigmoidMap().curvature<HostRow<double>>(a, 1.0);
    EXPECT_NEAR(divergence(a, moved) / (0.5 * s * dz * dz), 1.0, 1e-3) << "z = " << z;
  }
}

}  // namespace
}  // namespace monge
