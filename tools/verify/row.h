// One row through the kernels of the reference backend.
#pragma once

#include "tools/verify/problems.h"

namespace monge::tools {

struct RowResult {
  Vector weights;   // a(z)
  double stat;      // softmax: log-sum-exp
  Vector gradient;  // H u
  Vector natural;   // (H + lambda I)^-1 H u; empty for a map without a symmetric Jacobian
};

/// Scores z and payoffs u of one row. With unit vectors as keys and as values, attention maps a query z to its weights,
/// its backward a gradient u of the output to H u.
RowResult run_row(const RowMap& map, const Vector& z, const Vector& u, double lambda = 0.1);

/// The weights and the statistic alone, by the row map.
std::pair<Vector, double> map_row(const RowMap& map, const Vector& z);

/// exp(z) / sum exp(z), by definition.
Vector softmax(const Vector& z);

}  // namespace monge::tools
