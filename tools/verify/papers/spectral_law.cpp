#include "tools/verify/papers/spectral_law.h"

#include <cmath>
#include <numbers>

#include "optim/matrix/symmetric.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

optim::SquareMatrix gram(const Matrix& m) {
  optim::SquareMatrix out{m.rows(), std::vector<double>(static_cast<std::size_t>(m.rows() * m.rows()))};
  Eigen::Map<Matrix>(out.values.data(), m.rows(), m.rows()).noalias() = m * m.transpose();
  return out;
}

/// Quantile u of the squared singular values of an n x n matrix of independent elements of variance v / n.
double marchenko_pastur_quantile(double u, double v) {
  const auto below = [](double x) { return (x * std::sqrt(4.0 - x * x) / 2.0 + 2.0 * std::asin(x / 2.0)); };
  double low = 0.0, high = 2.0;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2.0;
    (below(middle) < u * std::numbers::pi ? low : high) = middle;
  }
  return v * low * low;
}

}  // namespace

Matrix centred_attention(const RowMap& map, const Matrix& scores) {
  const double n = static_cast<double>(scores.cols());
  Matrix out(scores.rows(), scores.cols());
  for (Eigen::Index i = 0; i < scores.rows(); ++i) {
    const Vector row = scores.row(i).transpose();
    out.row(i) = std::sqrt(n) * (map_row(map, row).first.array() - 1.0 / n).matrix().transpose();
  }
  return out;
}

Matrix linear_model(const Matrix& scores, const Matrix& z, double beta) {
  const double alpha = std::sqrt(std::exp(beta * beta) - 1.0 - beta * beta);
  return (alpha * z + scores) / std::sqrt(static_cast<double>(scores.cols()));
}

Matrix normal_matrix(RandomSequence& random, Eigen::Index rows, Eigen::Index columns) {
  Matrix out(rows, columns);
  for (double& x : out.reshaped()) x = random.normal();
  return out;
}

std::vector<Vector> bulk_spectra(const std::vector<Matrix>& matrices) {
  std::vector<optim::SquareMatrix> grams;
  for (const Matrix& m : matrices) grams.push_back(gram(m));
  std::vector<Vector> out;
  for (const optim::Eigensystem& system : optim::eigensystems(grams)) {
    const auto n = static_cast<Eigen::Index>(system.values.size());
    out.emplace_back(Eigen::Map<const Vector>(system.values.data(), n - spectrum_outliers));
  }
  return out;
}

Vector marchenko_pastur(std::int64_t n, double v) {
  Vector out(n - spectrum_outliers);
  for (Eigen::Index i = 0; i < out.size(); ++i) {
    out[i] = marchenko_pastur_quantile((static_cast<double>(i) + 0.5) / static_cast<double>(n), v);
  }
  return out;
}

double distance(const Vector& a, const Vector& b) { return (a - b).cwiseAbs().mean(); }

}  // namespace monge::tools
