// Loss against training budget, and the speed-up derived from it.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "tools/compare/statistics/bootstrap.h"
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
/// baseline's power law. Infinite beyond the fit, where the challenger is at or below its floor.
struct SpeedUp {
  double factor = 1.0;
  Interval interval;  // bootstrap over seeds
};

/// Losses of one optimizer, [budget][seed]. Seed k is the same in every row of both optimizers and is drawn together.
using LossTable = std::vector<std::vector<double>>;

/// The speed-up at budgets[at]. `challenger` holds the losses of the seeds at that budget.
SpeedUp speed_up(std::span<const double> budgets, const LossTable& baseline, std::size_t at,
                 std::span<const double> challenger, RandomSequence& random, std::optional<double> floor = std::nullopt,
                 const BootstrapOptions& options = {});

/// Of excess losses: the geometric mean, over the units of a comparison, of one variant's relative to another's.
struct ExcessRatio {
  double ratio = 1.0;
  Interval interval;
};

}  // namespace monge::compare
