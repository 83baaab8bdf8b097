// One row through the kernels of the reference backend.
#pragma once

#include "tools/verify/oracles/dense_attention.h"
#include "tools/verify/problems.h"

namespace monge::tools {

struct RowResult {
  Vector weights;   // a(z)
  double stat;      // softmax: log-sum-exp
  Vector gradient;  // H u
  Vector natural;   // (H + lambda I)^-1 H u; empty for a map without a symmetric Jacobian
};

/// Scores z and payoffs u of one row.
RowResult run_row(const RowMap& map, const Vector& z, const Vector& u, double lambda = 0.1);

/// The weights and the statistic alone, by the row map.
std::pair<Vector, double> map_row(const RowMap& map, const Vector& z);

/// exp(z) / sum exp(z), by definition.
inline Vector softmax(const Vector& z) { return oracle::weights(RowMap(), z); }

}  // namespace monge::tools
