// Factorisations of symmetric matrices, on the host in double precision (by Eigen).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace monge::optim {

/// (M + shift I)^-1 of a symmetric positive semi-definite M (n, n), row-major, by Cholesky. Throws
/// std::invalid_argument when M + shift I is not positive definite, NaN included.
std::vector<double> damped_inverse(std::span<const double> m, std::int64_t n, double shift);

/// The same for matrices one after the other, in parallel; shifts[k] is that of matrix k.
std::vector<double> damped_inverses(std::span<const double> matrices, std::int64_t n, std::span<const double> shifts);

/// M = V diag(values) V^T: `vectors` (n, n) row-major holds the eigenvectors as columns, values rise.
struct Eigensystem {
  std::vector<double> values, vectors;
};
Eigensystem eigensystem(std::span<const double> m, std::int64_t n);
/// Of square matrices of any sizes, in parallel.
std::vector<Eigensystem> eigensystems(const std::vector<std::vector<double>>& matrices);

/// (M + eps (largest eigenvalue) I)^exponent of a symmetric positive semi-definite M (n, n). M = 0 gives I.
std::vector<double> matrix_power(std::span<const double> m, std::int64_t n, double exponent, double eps);

/// Q of M = Q R, M (n, n), with a positive diagonal of R: the columns of M made orthonormal, the first first.
std::vector<double> orthonormal_columns(std::span<const double> m, std::int64_t n);

}  // namespace monge::optim
