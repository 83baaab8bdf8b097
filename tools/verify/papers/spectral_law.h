// The law of attention's spectrum and what it is compared with: what `monge verify spectrum` says of random weights and
// of trained ones.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/verify/problems.h"

namespace monge::tools {

/// How many of the largest singular values are left out: they stand apart from the bulk.
inline constexpr Eigen::Index spectrum_outliers = 3;

/// sqrt(n) (A - 1 1^T / n) for the rows A of weights of scores (n, n): attention without the constant direction.
Matrix centred_attention(const RowMap& map, const Matrix& scores);
/// alpha Z / sqrt(n) + scores / sqrt(n), alpha^2 = e^(beta^2) - 1 - beta^2, for Z of independent normal elements.
Matrix linear_model(const Matrix& scores, const Matrix& z, double beta);
Matrix normal_matrix(RandomSequence& random, Eigen::Index rows, Eigen::Index columns);

/// Squared singular values of each square matrix, rising, without the outliers.
std::vector<Vector> bulk_spectra(const std::vector<Matrix>& matrices);
/// The same of an n x n matrix of independent elements of variance v / n, by the law of Marchenko and Pastur.
Vector marchenko_pastur(std::int64_t n, double v);
/// Wasserstein distance W1 of two sorted samples of one size.
double distance(const Vector& a, const Vector& b);

}  // namespace monge::tools
