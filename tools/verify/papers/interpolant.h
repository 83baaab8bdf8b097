// The polynomial through the Chebyshev points of an interval, by the barycentric formula (Berrut & Trefethen 2004).
#pragma once

#include <cmath>
#include <numbers>
#include <vector>

#include "tools/verify/problems.h"

namespace monge::tools {

class Interpolant {
 public:
  /// Of a matrix f(t) on [begin, end].
  template <class F>
  Interpolant(F f, double begin, double end, int degree) {
    for (int k = 0; k <= degree; ++k) {
      const double angle = (2 * k + 1) * std::numbers::pi / (2 * degree + 2);
      points_.push_back(0.5 * (begin + end) + 0.5 * (end - begin) * std::cos(angle));
      weights_.push_back((k % 2 == 0 ? 1.0 : -1.0) * std::sin(angle));
      values_.push_back(f(points_.back()));
    }
  }

  Matrix operator()(double t) const {
    Matrix sum = Matrix::Zero(values_[0].rows(), values_[0].cols());
    double total = 0.0;
    for (std::size_t k = 0; k < points_.size(); ++k) {
      if (t == points_[k]) return values_[k];
      const double w = weights_[k] / (t - points_[k]);
      sum += w * values_[k];
      total += w;
    }
    return sum / total;
  }

  /// The derivative, exact for a degree of at most 4, by differences of width h.
  Matrix slope(double t, double h) const {
    const Interpolant& p = *this;
    return (8.0 * (p(t + h) - p(t - h)) - (p(t + 2.0 * h) - p(t - 2.0 * h))) / (12.0 * h);
  }

 private:
  std::vector<double> points_, weights_;
  std::vector<Matrix> values_;
};

}  // namespace monge::tools
