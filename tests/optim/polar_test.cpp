// The polar factor by Newton-Schulz iterations against singular value decompositions and the iteration in plain loops.
#include "optim/matrix/polar.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/dense.h"

namespace monge::optim {
namespace {

using test::Dense;
using test::dense;
using test::list;
using test::polar_factor;
using test::reference;

Tensor polar_of(const Dense& m, std::int64_t iterations) {
  const Tensor x = test::tensor(m), out = Tensor::like(x);
  polar(x, iterations, DType::f64, out);
  return out;
}

// The band of five steps of Jordan's polynomial, from singular values in [0.01, 1] of the normalised matrix: its
// extremes there, computed on a fine grid, are 0.6817 and 1.1339.
TEST(Polar, FiveIterationsBringSingularValuesNearOne) {
  for (const double least : {0.011, 0.03, 0.2, 0.7}) {
    Dense m = Dense::Zero(3, 4);
    m(0, 0) = 1.0;
    m(1, 1) = least;
    m(2, 2) = 0.5;
    const Dense out = dense(polar_of(3.7 * m, 5).values(), 3, 4);
    for (int i = 0; i < 3; ++i) {
      EXPECT_GE(out(i, i), 0.68) << least;
      EXPECT_LE(out(i, i), 1.135) << least;
      for (int j = 0; j < 4; ++j) {
        if (i != j) {
          EXPECT_NEAR(out(i, j), 0.0, 1e-14);
        }
      }
    }
  }
}

TEST(Polar, WithoutACountItConvergesToTheOrthogonalFactor) {
  for (const auto& [m, n] : {std::pair{4, 6}, {6, 4}, {5, 5}, {1, 7}}) {
    const Dense x = dense(test::random_values(m * n, 3), m, n);
    EXPECT_TRUE(test::close(polar_of(x, 0).values(), list(polar_factor(x)), 1e-10)) << m << " " << n;
  }
  EXPECT_EQ(polar_of(Dense::Zero(3, 4), 5).values(), std::vector<double>(12, 0.0));
}

// Long matrices use another algorithm for the same polynomial of the singular values; also in f32.
TEST(Polar, LongMatricesFollowThePolynomial) {
  for (const auto& [m, n] : {std::pair{5, 9}, {9, 5}, {3, 40}, {40, 3}, {1, 9}}) {
    Dense x = dense(test::random_values(m * n, 3), m, n);
    if (m < n) x.row(0) *= 1e-2;  // one of the singular values is small
    if (m > n) x.col(0) *= 1e-2;
    const Eigen::JacobiSVD<Dense> svd(x / x.norm(), Eigen::ComputeThinU | Eigen::ComputeThinV);
    Eigen::ArrayXd s = svd.singularValues();
    for (int k = 0; k < 5; ++k) s = 3.4445 * s - 4.7750 * s.pow(3) + 2.0315 * s.pow(5);
    const Dense expected = svd.matrixU() * s.matrix().asDiagonal() * svd.matrixV().transpose();
    EXPECT_TRUE(test::close(polar_of(x, 5).values(), list(expected), 1e-11)) << m << " " << n;
    const Tensor f32 = Tensor::from(list(x), {m, n}, DType::f32, test::cpu), out = Tensor::like(f32);
    polar(f32, 5, DType::f32, out);
    EXPECT_TRUE(test::close(out.values(), list(expected), 1e-3)) << m << " " << n;
  }
}

// In f32 and bf16, with rounding that every iteration could make larger, and directions that are nothing but rounding.
// No singular value passes 1.2024, the polynomial's largest value; from 1.264 on they would grow without bound.
TEST(Polar, StaysInTheBandForAnyNumberOfIterations) {
  for (const auto& [m, n] : {std::pair{16, 16}, {16, 80}, {80, 16}, {64, 256}, {3, 200}}) {
    for (const int rank : {std::min(m, n), 2, 1}) {
      const Dense x =
          dense(test::random_values(m * rank, 3), m, rank) * dense(test::random_values(rank * n, 4), rank, n);
      const Dense exact =
          Eigen::JacobiSVD<Dense>(x, Eigen::ComputeThinU | Eigen::ComputeThinV).matrixU().leftCols(rank);
      for (const std::int64_t iterations : {1, 4, 5, 6, 8, 9, 10, 12, 20, 100}) {
        for (const DType precision : {DType::f32, DType::bf16}) {
          const Tensor f32 = Tensor::from(list(x), {m, n}, DType::f32, test::cpu), out = Tensor::like(f32);
          polar(f32, iterations, precision, out);
          const Dense o = dense(out.values(), m, n);
          const auto what =
              fmt::format("{} x {} rank {}, {} iterations in {}", m, n, rank, iterations, name_of(precision));
          ASSERT_TRUE(o.allFinite()) << what;
          EXPECT_LE(Eigen::JacobiSVD<Dense>(o).singularValues()(0), 1.23) << what;
          if (iterations < 8) continue;  // until then small singular values rise
          EXPECT_GE(Eigen::JacobiSVD<Dense>(exact.transpose() * o).singularValues().minCoeff(), 0.6) << what;
        }
      }
    }
  }
}

// The band of f64 is [0.68, 1.14]; a product with eight bits of mantissa changes a singular value by some percent of
// the largest.
TEST(Polar, ProductsInBf16StayInTheBand) {
  for (const auto& [m, n] : {std::pair{32, 40}, {16, 48}, {48, 16}}) {
    const Dense x = dense(test::random_values(m * n, 3), m, n);
    const Tensor f32 = Tensor::from(list(x), {m, n}, DType::f32, test::cpu), out = Tensor::like(f32);
    polar(f32, 5, DType::bf16, out);
    const Dense o = dense(out.values(), m, n), exact = polar_factor(x);
    const Eigen::ArrayXd s = Eigen::JacobiSVD<Dense>(o).singularValues();
    EXPECT_GE(s.minCoeff(), 0.6) << m << " " << n;
    EXPECT_LE(s.maxCoeff(), 1.2) << m << " " << n;
    EXPECT_GE(o.cwiseProduct(exact).sum(), 0.97 * o.norm() * exact.norm()) << m << " " << n;
  }
}

}  // namespace
}  // namespace monge::optim
