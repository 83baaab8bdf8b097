// Attention is a smoothed cubic spline (Lai, Lim & Liu 2024, arXiv:2408.09624).
//
// Along a line X(t) = X0 + t X1 through input space, queries, keys and values are affine in t, and a score is
// quadratic. Attention of relu, a_ij = relu(z_ij) / n_i with n_i the keys that row i sees, is then a cubic between the
// zeros of the scores, its knots. Two residual blocks make degree 9, softplus of a large beta a smooth neighbour.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/verify/papers/paper.h"
#include "tools/verify/problems.h"

namespace monge::tools {

/// Where a score changes its sign.
struct Knot {
  double t;
  Eigen::Index row, key;
  double slope;  // dz/dt
};

/// One head along a line: Q(t) = q0 + t q1, and so on.
struct HeadOnLine {
  Matrix q0, q1, k0, k1, v0, v1;
  double scale = 1.0;
  bool causal = false;

  Matrix output(const RowMap& map, double t) const;
  Matrix scores(double t) const;
  Eigen::Index keys(Eigen::Index row) const { return causal ? row + 1 : k0.rows(); }
  /// In closed form, rising, those in (-1, 1).
  std::vector<Knot> knots() const;
};

/// A form of attention, drawn several times. `degree`: of the output between two knots.
struct SplineForm {
  std::string name;
  int degree = 3;
  std::vector<HeadOnLine> heads;
};

/// Queries, keys and values of all tokens: x w + 1 b^T.
struct SplineBlock {
  Matrix w_q, w_k, w_v, w_out;
  Vector b_q, b_k, b_v;
};

/// Residual blocks of attention alone, without a norm, along a line.
struct StackOnLine {
  Matrix x0, x1;
  std::vector<SplineBlock> blocks;

  struct State {
    Matrix x;
    std::vector<bool> positive;  // signs of all scores of all blocks
  };
  State run(const RowMap& map, double t) const;
};

struct SplineProblems {
  std::vector<SplineForm> forms;
  std::vector<StackOnLine> stacks;
};
SplineProblems spline_problems(std::uint64_t seed);

/// What ships, unless a test plants a fault.
struct SplineMaps {
  RowMap relu = ReluMap{};
  std::function<RowMap(double)> softplus = [](double beta) { return SoftplusMap{.beta = beta}; };
};
Findings spline_findings(const SplineProblems& problems, const SplineMaps& maps = {});
/// An element of the output along a line with its knots, and softplus closing in.
std::string spline_svg(const SplineProblems& problems);

Examined examine_spline(std::uint64_t seed);

}  // namespace monge::tools
