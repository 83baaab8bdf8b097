// Matrices in double precision, to compute by formula what a tensor should hold.
#pragma once

#include <Eigen/Dense>
#include <vector>

#include "support/compare.h"

namespace monge::test {

/// The type of oracle::Matrix.
using Dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline Dense dense(const std::vector<double>& values, std::int64_t rows, std::int64_t cols) {
  return Eigen::Map<const Dense>(values.data(), rows, cols);
}
inline Dense dense(const Tensor& x) { return dense(x.values(), x.size(0), x.size(1)); }
inline Dense random_dense(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  return dense(random_values(rows * cols, seed), rows, cols);
}
inline std::vector<double> list(const Dense& x) { return {x.data(), x.data() + x.size()}; }
inline Tensor tensor(const Dense& x) { return Tensor::from(list(x), {x.rows(), x.cols()}, DType::f64, reference); }

/// The largest difference of two elements, relative to the largest element of `b`.
inline double difference(const Dense& a, const Dense& b) {
  return (a - b).cwiseAbs().maxCoeff() / b.cwiseAbs().maxCoeff();
}
/// U V^T of m = U S V^T.
inline Dense polar_factor(const Dense& m) {
  const Eigen::JacobiSVD<Dense> svd(m, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return svd.matrixU() * svd.matrixV().transpose();
}

}  // namespace monge::test
