// Row maps: how a row of attention scores becomes weights.
//
// A map is the gradient of a convex potential, so its Jacobian has the form H = diag(s) - s s^T / c, and backward is
// one formula for every map: dz = H u = s * (u - <s, u> / c) (advantage form; Litman 2025, arXiv:2508.08369).
// A map is written once (softmax.h), over a `Row` that each backend provides (a double loop, SIMD lanes, a warp):
//
//   Row::Number           a scalar: sums, maxima and the kept statistic
//   row.max()             largest element; -infinity for an empty row
//   row.sum(f)            sum of f(z_j)
//   row.apply(f)          z_j = f(z_j); returns the sum of the new values
//   Row::exp(x)           of an element
//   Row::log(x)           of a Number
//
// `f` is called with elements: one scalar, or several in the lanes of a vector. Elements have + - * / among themselves
// and with a Number, and nothing else, so that the same text compiles for every Row. Keys that are masked out are not
// part of the Row.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace monge {

enum class RowMapKind : std::uint8_t { softmax };

/// The map of an attention call and its settings.
struct RowMap {
  RowMapKind kind = RowMapKind::softmax;
};

#define MONGE_LAMBDA
#include "core/row_map/maps.h"
#undef MONGE_LAMBDA

}  // namespace monge
