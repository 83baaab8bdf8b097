#include <algorithm>
#include <cmath>

#include "tools/verify/papers/attend.h"
#include "tools/verify/papers/spline.h"

namespace monge::tools {
namespace {

constexpr int draws = 10, stack_draws = 20;

Matrix normal_matrix(RandomSequence& random, Eigen::Index rows, Eigen::Index cols, double stddev = 1.0) {
  Matrix out(rows, cols);
  for (double& x : out.reshaped()) x = stddev * random.normal();
  return out;
}

SplineBlock draw_block(RandomSequence& random, Eigen::Index width, Eigen::Index head_dim) {
  const double stddev = 1.0 / std::sqrt(static_cast<double>(width));
  const auto weights = [&] { return normal_matrix(random, width, head_dim, stddev); };
  const auto bias = [&] { return normal(random, head_dim, 0.5); };
  return {weights(), weights(), weights(), normal_matrix(random, head_dim, width, stddev), bias(), bias(), bias()};
}

Matrix affine(const Matrix& x, const Matrix& w, const Vector& b) { return (x * w).rowwise() + b.transpose(); }

double scale_of(const SplineBlock& block) { return 1.0 / std::sqrt(static_cast<double>(block.w_q.cols())); }

/// Queries from one line, keys and values from another.
HeadOnLine draw_cross(RandomSequence& random, bool encoder_moves) {
  constexpr Eigen::Index queries = 5, keys = 6, width = 8, head_dim = 4;
  const SplineBlock b = draw_block(random, width, head_dim);
  const Matrix x0 = normal_matrix(random, queries, width), x1 = normal_matrix(random, queries, width);
  const Matrix y0 = normal_matrix(random, keys, width);
  const Matrix y1 = normal_matrix(random, keys, width, encoder_moves ? 1.0 : 0.0);
  return {affine(x0, b.w_q, b.b_q),
          x1 * b.w_q,
          affine(y0, b.w_k, b.b_k),
          y1 * b.w_k,
          affine(y0, b.w_v, b.b_v),
          y1 * b.w_v,
          scale_of(b),
          false};
}

HeadOnLine draw_self(RandomSequence& random, bool causal) {
  constexpr Eigen::Index tokens = 6, width = 8, head_dim = 4;
  const SplineBlock b = draw_block(random, width, head_dim);
  const Matrix x0 = normal_matrix(random, tokens, width), x1 = normal_matrix(random, tokens, width);
  return {affine(x0, b.w_q, b.b_q),
          x1 * b.w_q,
          affine(x0, b.w_k, b.b_k),
          x1 * b.w_k,
          affine(x0, b.w_v, b.b_v),
          x1 * b.w_v,
          scale_of(b),
          causal};
}

template <class F>
SplineForm draw_form(const char* name, int degree, F draw) {
  SplineForm out{name, degree, {}};
  for (int i = 0; i < draws; ++i) out.heads.push_back(draw());
  return out;
}

/// Real zeros of a t^2 + b t + c without cancellation.
std::vector<double> zeros(double a, double b, double c) {
  const double discriminant = b * b - 4.0 * a * c;
  if (discriminant <= 0.0) return {};
  const double q = -0.5 * (b + std::copysign(std::sqrt(discriminant), b));
  std::vector<double> out{c / q};
  if (a != 0.0) out.push_back(q / a);
  return out;
}

}  // namespace

Matrix HeadOnLine::output(const RowMap& map, double t) const {
  return attend(map, q0 + t * q1, k0 + t * k1, v0 + t * v1, scale, causal);
}

Matrix HeadOnLine::scores(double t) const { return scale * (q0 + t * q1) * (k0 + t * k1).transpose(); }

std::vector<Knot> HeadOnLine::knots() const {
  std::vector<Knot> out;
  for (Eigen::Index i = 0; i < q0.rows(); ++i) {
    for (Eigen::Index j = 0; j < keys(i); ++j) {
      const double a = scale * q1.row(i).dot(k1.row(j)), c = scale * q0.row(i).dot(k0.row(j));
      const double b = scale * (q0.row(i).dot(k1.row(j)) + q1.row(i).dot(k0.row(j)));
      for (const double t : zeros(a, b, c)) {
        if (std::abs(t) < 1.0) out.push_back({t, i, j, 2.0 * a * t + b});
      }
    }
  }
  std::ranges::sort(out, {}, &Knot::t);
  return out;
}

StackOnLine::State StackOnLine::run(const RowMap& map, double t) const {
  State out{x0 + t * x1, {}};
  for (const SplineBlock& b : blocks) {
    const Matrix q = affine(out.x, b.w_q, b.b_q), k = affine(out.x, b.w_k, b.b_k), v = affine(out.x, b.w_v, b.b_v);
    const Matrix z = q * k.transpose();
    for (const double score : z.reshaped()) out.positive.push_back(score > 0.0);
    out.x += attend(map, q, k, v, scale_of(b), false) * b.w_out;
  }
  return out;
}

SplineProblems spline_problems(std::uint64_t seed) {
  RandomSequence random(seed, spline_stream);
  SplineProblems out;
  out.forms.push_back(draw_form("attention", 3, [&] { return draw_self(random, false); }));
  out.forms.push_back(draw_form("masked", 3, [&] { return draw_self(random, true); }));
  out.forms.push_back(draw_form("encoder-decoder", 3, [&] { return draw_cross(random, true); }));
  out.forms.push_back(draw_form("fixed encoder", 1, [&] { return draw_cross(random, false); }));
  constexpr Eigen::Index tokens = 3, width = 4, head_dim = 4;
  for (int i = 0; i < stack_draws; ++i) {
    StackOnLine stack{normal_matrix(random, tokens, width), normal_matrix(random, tokens, width), {}};
    for (int block = 0; block < 2; ++block) stack.blocks.push_back(draw_block(random, width, head_dim));
    out.stacks.push_back(std::move(stack));
  }
  return out;
}

}  // namespace monge::tools
