// Sums over a few numbers, in double precision.
#pragma once

#include <cstdint>

namespace monge {

inline double inner(const double* x, const double* y, std::int64_t n) {
  double total = 0.0;
  for (std::int64_t i = 0; i < n; ++i) total += x[i] * y[i];
  return total;
}

/// y = y + factor * x.
inline void add_to(double* y, double factor, const double* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

}  // namespace monge
