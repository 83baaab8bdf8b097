// Loss against training budget, and the speed-up derived from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tools/compare/statistics/sample.h"

namespace monge::compare {

/// L(D) = floor + scale D^-exponent, with D in any unit of budget: Hestness et al., "Deep learning scaling is
/// predictable, empirically", 2017 (arXiv:1712.00409).
struct PowerLaw {
  double floor = 0.0;     // E
  double scale = 0.0;     // A >= 0
  double exponent = 0.0;  // b

  double loss(double budget) const;
  /// The budget at which the law has this loss: infinite at and below the floor.
  double budget(double loss) const;
};

/// Least squares over (floor, scale, exponent in 0.01 .. 10): for each exponent the two others are a linear fit, and
/// the best exponent is found by search. A known floor (the exact entropy of the data) leaves two unknowns. Losses that
/// do not fall give a flat law, scale 0. Needs as many different budgets > 0 as unknowns; throws std::invalid_argument.
PowerLaw fit_power_law(std::span<const double> budgets, std::span<const double> losses,
                       std::optional<double> floor = std::nullopt);

/// How much more budget the baseline would need for the challenger's loss: D_eff / D, where D_eff is read off the
/// baseline's power law. Outside the budgets that were measured it is a bound, never extrapolated.
struct SpeedUp {
  double factor = 1.0;
  enum class Bound : std::uint8_t { none, more_than, less_than } bound = Bound::none;
};

/// The speed-up at budgets[at] (rising budgets), from mean losses.
SpeedUp speed_up(std::span<const double> budgets, std::span<const double> baseline, std::size_t at, double challenger,
                 std::optional<double> floor = std::nullopt);

/// Of excess losses: the geometric mean, over the units of a comparison, of one variant's relative to another's.
struct ExcessRatio {
  double ratio = 1.0;
  Interval interval;
};

}  // namespace monge::compare
