// Row maps: how a row of attention scores becomes weights.
//
// A map is the gradient of a convex potential: a = grad Omega*(z), where Omega is the regulariser of a one-sided
// transport problem (Litman 2025, arXiv:2508.08369). Its Jacobian is symmetric and has one form for every map,
//   H = diag(s) - s s^T / c,        backward:  dz = H u = s (u - <s, u> / c)       (advantage form),
// and the damped natural gradient of the row has the same shape, with w = s / (s + lambda):
//   (H + lambda I)^-1 H u = w (u - <w, u> / (<w, 1> + (c - <s, 1>) / lambda)).
//
// A map is written once, as a small struct in a file of its own, over a `Row` that each backend provides (a double
// loop, SIMD lanes, a warp):
//
//   static constexpr const char* name, Metric metric
//   static constexpr bool curvature_is_weight      s = a and c = 1, so <s, u> / c = <a, u> = <dO, o> costs nothing
//   weights<Row>(row)            scores -> weights in place; returns the statistic kept for backward
//   recompute<Row>(row, stat)    scores -> weights in place, from the kept statistic
//   curvature<Row>(a, n)         s_j from the weight a_j, in a row of n keys
//   slack<Row>(stat)             c - sum_j s_j: 0 when a shift of the scores changes nothing, infinite when each
//                                weight depends on its own score only
//
// and what it may use of a Row:
//
//   Row::Number                  a scalar: sums, maxima and the kept statistic
//   row.size(), row.max()        keys; largest element (-infinity for an empty row)
//   row.sum(f), row.apply(f)     sum of f(z_j); z_j = f(z_j), returning the sum of the new values
//   Row::exp, log, sqrt          of an element; exp and log of a Number too
//   Row::expm1, log1p            e^x - 1 and log(1 + x) of an element
//   Row::relu(x)                 max(x, 0) of an element
//   Row::positive(x)             1 where an element is > 0, else 0
//
// `f` is called with elements: one scalar, or several in the lanes of a vector. Elements have + - * / among themselves
// and with a Number, and nothing else, so that the same text compiles for every Row. Keys that are masked out are not
// part of the Row.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string_view>

#include "core/dtype.h"
#include "core/row_map/host_row.h"

namespace monge {

enum class RowMapKind : std::uint8_t {
  softmax,
  softmax1,
  sparsemax,
  entmax15,
  entmax,
  sigmoid,
  relu,
  softplus,
  softpick,
  custom
};

/// What the Jacobian of a map is as a metric on scores. Only the first two are Fisher information matrices.
enum class Metric : std::uint8_t {
  categorical,        // of a draw of one key (softmax1: or of none)
  bernoulli,          // of independent draws of each key
  conjugate_hessian,  // the Hessian of the conjugate of the regulariser
  none,               // the Jacobian is not symmetric: no natural gradient
};
std::string_view name_of(Metric metric);

/// A user's own map behind virtual calls; made by custom_row_map (custom.h). Rows are plain memory, f32 on cpu and f64
/// on reference. Called from several threads at once.
class CustomRowMap {
 public:
  virtual ~CustomRowMap() = default;
  virtual std::string_view name() const = 0;
  virtual Metric metric() const = 0;

  virtual float weights(HostRow<float>& row) const = 0;
  virtual double weights(HostRow<double>& row) const = 0;
  virtual void recompute(HostRow<float>& row, float stat) const = 0;
  virtual void recompute(HostRow<double>& row, double stat) const = 0;
  virtual float curvature(float weight, float n) const = 0;
  virtual double curvature(double weight, double n) const = 0;
  virtual float slack(float stat) const = 0;
  virtual double slack(double stat) const = 0;
};

/// The map of an attention call and its settings.
struct RowMap {
  RowMapKind kind = RowMapKind::softmax;
  double alpha = 1.5;                          // entmax: 1 < alpha <= 2
  double beta = 1.0;                           // softplus: > 0; relu in the limit
  bool balanced = true;                        // sigmoid: -log n is added to the scores of a row of n keys
  std::shared_ptr<const CustomRowMap> custom;  // custom: host backends only
};

#define MONGE_LAMBDA
#include "core/row_map/maps.h"
#undef MONGE_LAMBDA

std::string_view name_of(const RowMap& map);
Metric metric_of(const RowMap& map);

}  // namespace monge
