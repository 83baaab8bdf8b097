// The factorisations on the host against their definitions, Eigen, and the results of other numbers of threads.
#include "optim/matrix/symmetric.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <Eigen/Dense>
#include <algorithm>
#include <limits>

#include "support/compare.h"

namespace monge::optim {
namespace {

using Dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Sizes around the blocks of LAPACK and of our transpose, and large enough for divide and conquer.
const std::vector<std::int64_t> sizes{1, 2, 15, 16, 17, 40, 130};

Dense random_matrix(std::int64_t n, std::uint64_t seed) {
  const auto values = test::random_values(n * n, seed);
  return Eigen::Map<const Dense>(values.data(), n, n);
}
/// Symmetric, of full rank, eigenvalues over four orders of magnitude.
Dense covariance(std::int64_t n, std::uint64_t seed) {
  Dense x = random_matrix(n, seed);
  for (std::int64_t j = 0; j < n; ++j)
    x.col(j) *= std::pow(10.0, -2.0 * static_cast<double>(j) / static_cast<double>(n));
  return x.transpose() * x;
}
SquareMatrix host(const Dense& m) { return {m.rows(), {m.data(), m.data() + m.size()}}; }
Dense dense(const std::vector<double>& values, std::int64_t n) { return Eigen::Map<const Dense>(values.data(), n, n); }
template <class Make>
std::vector<SquareMatrix> one_of_each_size(Make make) {
  std::vector<SquareMatrix> out;
  for (const std::int64_t n : sizes) out.push_back(host(make(n, static_cast<std::uint64_t>(n))));
  return out;
}

TEST(Symmetric, EigensystemsMakeUpTheirMatrices) {
  const auto matrices = one_of_each_size(covariance);
  const auto systems = eigensystems(matrices);
  ASSERT_EQ(systems.size(), sizes.size());
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const std::int64_t n = sizes[k];
    const Dense m = dense(matrices[k].values, n), v = dense(systems[k].vectors, n);
    const Eigen::Map<const Eigen::VectorXd> values(systems[k].values.data(), n);
    EXPECT_LE((v * values.asDiagonal() * v.transpose() - m).norm(), 1e-13 * m.norm()) << n;
    EXPECT_LE((v.transpose() * v - Dense::Identity(n, n)).norm(), 1e-12) << n;
    EXPECT_TRUE(std::ranges::is_sorted(systems[k].values)) << n;
    const Eigensystem alone = eigensystem(matrices[k].values, n);
    EXPECT_EQ(alone.values, systems[k].values) << n;
    EXPECT_EQ(alone.vectors, systems[k].vectors) << n;
  }
}

TEST(Symmetric, PowersAreRootsAndInverses) {
  const auto matrices = one_of_each_size(covariance);
  const auto roots = matrix_powers(matrices, -0.25, 0.0), damped = matrix_powers(matrices, -1.0, 0.1);
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const std::int64_t n = sizes[k];
    const Dense m = dense(matrices[k].values, n), root = dense(roots[k].values, n), one = Dense::Identity(n, n);
    EXPECT_LE((root * root * m * root * root - one).norm(), 1e-9 * static_cast<double>(n)) << n;
    const double largest = Eigen::SelfAdjointEigenSolver<Dense>(m).eigenvalues().maxCoeff();
    const Dense inverse = (m + 0.1 * largest * one).inverse();
    EXPECT_LE((dense(damped[k].values, n) - inverse).norm(), 1e-12 * inverse.norm()) << n;
  }
  const auto zero = matrix_powers(std::vector<SquareMatrix>{{3, std::vector<double>(9, 0.0)}}, -0.25, 1e-8);
  EXPECT_EQ(zero[0].values, host(Dense::Identity(3, 3)).values);
}

TEST(Symmetric, OrthonormalColumnsAreThoseOfGramAndSchmidt) {
  const auto matrices = one_of_each_size(random_matrix);
  const auto got = orthonormal_columns(matrices);
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    Dense q = dense(matrices[k].values, sizes[k]);
    for (Eigen::Index j = 0; j < q.cols(); ++j) {
      for (int pass = 0; pass < 2; ++pass) {
        for (Eigen::Index i = 0; i < j; ++i) q.col(j) -= q.col(i).dot(q.col(j)) * q.col(i);
      }
      q.col(j).normalize();
    }
    EXPECT_TRUE(test::close(got[k].values, host(q).values, 1e-10)) << sizes[k];
  }
}

TEST(Symmetric, InversesBelongToTheirShifts) {
  std::vector<double> all, shifts;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const SquareMatrix m = host(covariance(20, seed));
    all.insert(all.end(), m.values.begin(), m.values.end());
    shifts.push_back(0.1 * static_cast<double>(seed));
  }
  const auto inverses = damped_inverses(all, 20, shifts);
  for (std::size_t k = 0; k < 3; ++k) {
    const Dense m = covariance(20, k + 1) + shifts[k] * Dense::Identity(20, 20);
    const Dense inverse = Eigen::Map<const Dense>(inverses.data() + 400 * k, 20, 20);
    EXPECT_LE((m * inverse - Dense::Identity(20, 20)).norm(), 1e-10) << k;
    EXPECT_EQ(inverse, Dense(inverse.transpose()));
  }
}

// Sixteen at once, so that several threads are in the library at the same time.
TEST(Symmetric, ResultsDoNotDependOnTheNumberOfThreads) {
  std::vector<SquareMatrix> matrices;
  for (std::uint64_t seed = 1; seed <= 16; ++seed) matrices.push_back(host(covariance(100 + 5 * seed, seed)));
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto systems = eigensystems(matrices);
  const auto powers = matrix_powers(matrices, -0.5, 1e-6), bases = orthonormal_columns(matrices);
  omp_set_num_threads(8);
  for (int repetition = 0; repetition < 3; ++repetition) {
    const auto many = eigensystems(matrices);
    const auto many_powers = matrix_powers(matrices, -0.5, 1e-6), many_bases = orthonormal_columns(matrices);
    for (std::size_t k = 0; k < matrices.size(); ++k) {
      EXPECT_TRUE(many[k].values == systems[k].values && many[k].vectors == systems[k].vectors) << k;
      EXPECT_TRUE(many_powers[k].values == powers[k].values) << k;
      EXPECT_TRUE(many_bases[k].values == bases[k].values) << k;
    }
  }
  omp_set_num_threads(before);
}

TEST(Symmetric, RefusesWhatIsNoFiniteSquareMatrix) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<SquareMatrix> bad{{2, {1.0, 0.0, 0.0, nan}}, {2, {1.0, 0.0, 0.0, 1.0}}};
  EXPECT_FALSE(all_finite(bad));
  EXPECT_TRUE(all_finite(std::span(bad).subspan(1)));
  EXPECT_THROW(eigensystems(bad), std::invalid_argument);
  EXPECT_THROW(matrix_powers(bad, -0.5, 0.0), std::invalid_argument);
  EXPECT_THROW(orthonormal_columns(bad), std::invalid_argument);
  EXPECT_THROW(eigensystem(std::vector<double>(3), 2), std::invalid_argument);
}

}  // namespace
}  // namespace monge::optim
