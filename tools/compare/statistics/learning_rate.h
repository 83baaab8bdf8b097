// How the loss depends on the learning rate: where the optimum lies, whether the grid brackets it, how wide it is and
// where training breaks.
//
// The axis is log2 of the learning rate, since the grid goes in factors. A rate's loss is the mean over its seeds; a
// diverged run (loss infinite or NaN) makes it infinite.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "tools/compare/statistics/sample.h"

namespace monge::compare {

/// One learning rate that was tried, with the final loss of every seed.
struct LearningRatePoint {
  double lr = 0.0;
  std::vector<double> losses;
};

/// A parabola in log2(lr) by least squares: loss + curvature log2(lr / optimum)^2.
struct Parabola {
  double optimum = 0.0;    // learning rate
  double loss = 0.0;       // there
  double curvature = 0.0;  // nats per octave squared, > 0
};

struct LearningRateStudy {
  std::size_t best = 0;        // index of the least mean loss
  std::vector<double> losses;  // mean of each point, infinite where a run diverged
  bool worse_below = false;    // the least rate of the grid is worse than the best, or diverged
  bool worse_above = false;    // the largest rate is
  bool bracketed() const { return worse_below && worse_above; }

  /// The least rate at which a run diverged.
  std::optional<double> divergence;
  /// The rates around the best with a loss within `tolerance` of it, linear in log2(lr) between points. It ends at the
  /// grid's end, and at the last finite point before a diverged one.
  Interval tolerated;
  /// Through the best and its neighbours at most `reach` points away; absent with fewer than three finite points, where
  /// it does not open upward, and where its optimum is not between the points.
  std::optional<Parabola> parabola;
};

struct LearningRateOptions {
  double tolerance = 0.02;  // nats
  std::size_t reach = 2;    // points on either side of the best
};

/// Points in increasing order of learning rate, each with a loss at least; otherwise, and when every point diverged,
/// throws std::invalid_argument.
LearningRateStudy study_learning_rates(std::span<const LearningRatePoint> points,
                                       const LearningRateOptions& options = {});

/// The next rates to try until the optimum is bracketed, by `factor` beyond that end of the grid where it may lie: none
/// once it is. When every point diverged, the one below the grid.
std::vector<double> rates_to_add(std::span<const LearningRatePoint> points, double factor = 2.0);

}  // namespace monge::compare
