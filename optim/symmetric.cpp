#include "optim/symmetric.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <exception>

#include "core/error.h"

namespace monge::optim {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Matrix> as_matrix(std::span<const double> m, std::int64_t n) {
  require(static_cast<std::int64_t>(m.size()) == n * n, "{} elements are no {} x {} matrix", m.size(), n, n);
  return {m.data(), n, n};
}

}  // namespace

std::vector<double> damped_inverse(std::span<const double> m, std::int64_t n, double shift) {
  const Matrix shifted = as_matrix(m, n) + shift * Matrix::Identity(n, n);
  const Eigen::LLT<Matrix> factor(shifted);
  require(factor.info() == Eigen::Success && shifted.allFinite(), "a {} x {} matrix is not positive definite", n, n);
  std::vector<double> inverse(static_cast<std::size_t>(n * n));
  Eigen::Map<Matrix>(inverse.data(), n, n) = factor.solve(Matrix::Identity(n, n));
  return inverse;
}

std::vector<double> damped_inverses(std::span<const double> matrices, std::int64_t n, std::span<const double> shifts) {
  const auto size = static_cast<std::size_t>(n * n);
  require(matrices.size() == shifts.size() * size, "{} elements for {} matrices of {} x {}", matrices.size(),
          shifts.size(), n, n);
  std::vector<double> out(matrices.size());
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t k = 0; k < shifts.size(); ++k) {
    try {
      const std::vector<double> one = damped_inverse(matrices.subspan(k * size, size), n, shifts[k]);
      std::copy(one.begin(), one.end(), out.begin() + static_cast<std::ptrdiff_t>(k * size));
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  return out;
}

Eigensystem eigensystem(std::span<const double> m, std::int64_t n) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(as_matrix(m, n));
  require(solver.info() == Eigen::Success, "a {} x {} matrix has no eigenvalues that could be found", n, n);
  Eigensystem out{std::vector<double>(static_cast<std::size_t>(n)),
                  std::vector<double>(static_cast<std::size_t>(n * n))};
  Eigen::Map<Eigen::VectorXd>(out.values.data(), n) = solver.eigenvalues();
  Eigen::Map<Matrix>(out.vectors.data(), n, n) = solver.eigenvectors();
  return out;
}

std::vector<Eigensystem> eigensystems(const std::vector<std::vector<double>>& matrices) {
  std::vector<Eigensystem> out(matrices.size());
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t k = 0; k < matrices.size(); ++k) {
    out[k] = eigensystem(matrices[k], std::llround(std::sqrt(static_cast<double>(matrices[k].size()))));
  }
  return out;
}

std::vector<double> matrix_power(std::span<const double> m, std::int64_t n, double exponent, double eps) {
  const Eigensystem system = eigensystem(m, n);
  const double largest = system.values.back();
  std::vector<double> out(static_cast<std::size_t>(n * n));
  Eigen::Map<Matrix> power(out.data(), n, n);
  if (largest <= 0.0) {
    power.setIdentity();
    return out;
  }
  const Eigen::Map<const Eigen::ArrayXd> values(system.values.data(), n);
  const Eigen::ArrayXd powers = (values.max(0.0) + eps * largest).pow(exponent);
  const Eigen::Map<const Matrix> vectors(system.vectors.data(), n, n);
  power.noalias() = vectors * powers.matrix().asDiagonal() * vectors.transpose();
  return out;
}

std::vector<double> orthonormal_columns(std::span<const double> m, std::int64_t n) {
  const Eigen::HouseholderQR<Matrix> factor(as_matrix(m, n));
  std::vector<double> out(static_cast<std::size_t>(n * n));
  Eigen::Map<Matrix> q(out.data(), n, n);
  q = factor.householderQ();
  for (std::int64_t j = 0; j < n; ++j) {
    if (factor.matrixQR()(j, j) < 0.0) q.col(j) = -q.col(j);
  }
  return out;
}

}  // namespace monge::optim
