// Factorisations of square matrices on the host, in double precision, by LAPACK: of symmetric ones, and QR.
//
// Calls for several matrices distribute them over the threads, each matrix to one thread, so that results do not depend
// on the number of threads. Matrices are row-major. All throw std::invalid_argument for matrices that are not finite.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace monge::optim {

/// (n, n), row-major.
struct SquareMatrix {
  std::int64_t n = 0;
  std::vector<double> values;
};

/// Whether no element is infinite or NaN.
bool all_finite(std::span<const SquareMatrix> matrices);

/// (M + shift I)^-1 of a symmetric positive semi-definite M (n, n), by Cholesky. Throws when M + shift I is not
/// positive definite.
std::vector<double> damped_inverse(std::span<const double> m, std::int64_t n, double shift);

/// The same for matrices stored one after another; shifts[k] belongs to matrix k.
std::vector<double> damped_inverses(std::span<const double> matrices, std::int64_t n, std::span<const double> shifts);

/// M = V diag(values) V^T of a symmetric M: `vectors` (n, n) holds the eigenvectors as columns, in order of rising
/// eigenvalues.
struct Eigensystem {
  std::vector<double> values, vectors;
};
Eigensystem eigensystem(std::span<const double> m, std::int64_t n);
std::vector<Eigensystem> eigensystems(std::span<const SquareMatrix> matrices);

/// (M + eps (largest eigenvalue) I)^exponent of symmetric positive semi-definite matrices M. M = 0 gives I.
std::vector<SquareMatrix> matrix_powers(std::span<const SquareMatrix> matrices, double exponent, double eps);

/// Q of M = Q R with a positive diagonal of R: Gram-Schmidt of the columns of M from the first to the last.
std::vector<SquareMatrix> orthonormal_columns(std::span<const SquareMatrix> matrices);

}  // namespace monge::optim
