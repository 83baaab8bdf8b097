// monge verify in_context: what a window makes of tasks, what training finds, and that faults are found.
#include "tools/verify/papers/in_context.h"

#include <gtest/gtest.h>

#include <Eigen/LU>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "support/expect_error.h"

namespace monge::tools {
namespace {

using autograd::Var;
using Kind = TaskLaw::Kind;

const TaskLaw steep{.kind = Kind::affine, .lipschitz = 3.0};

TEST(InContext, TasksAreTheirLaw) {
  RandomSequence random(1, 0);
  const TaskLaw law{.kind = Kind::affine, .lipschitz = 2.0, .noise = 0.0, .n = 9, .d = 4, .rank = 2};
  const Tasks t = draw_tasks(law, 50, random);
  for (std::size_t b = 0; b < 50; ++b) {
    // f(x) = L (<a, x> + b) is known from three of its values at points that differ in the first two axes only.
    const auto x = [&](std::size_t i, std::size_t axis) { return t.x[(b * 9 + i) * 4 + axis]; };
    Matrix points(9, 3);
    Vector values(9);
    for (std::size_t i = 0; i < 9; ++i) {
      double squares = 0.0;
      for (std::size_t axis = 0; axis < 4; ++axis) squares += x(i, axis) * x(i, axis);
      EXPECT_NEAR(squares, 1.0, 1e-12);
      points.row(static_cast<Eigen::Index>(i)) << x(i, 0), x(i, 1), 1.0;
      values[static_cast<Eigen::Index>(i)] = t.y[b * 9 + i];
    }
    const Vector f = (points.transpose() * points).inverse() * (points.transpose() * values);
    EXPECT_NEAR(f.head(2).norm(), 2.0, 1e-6);
    EXPECT_LE(std::abs(f[2]), 2.0 + 1e-6);
    EXPECT_NEAR(f[0] * t.query[b * 4] + f[1] * t.query[b * 4 + 1] + f[2], t.target[b], 1e-6);
  }
}

// A window of infinite width answers with the mean, one of no width with the value of the nearest point.
TEST(InContext, WindowsAtTheirLimits) {
  RandomSequence random(2, 0);
  const Tasks t = draw_tasks({.kind = Kind::relu, .n = 7, .d = 3}, 20, random);
  double wide = 0.0, narrow = 0.0;
  for (std::size_t b = 0; b < 20; ++b) {
    double mean = 0.0, nearest = -2.0, at_nearest = 0.0;
    for (std::size_t i = 0; i < 7; ++i) {
      double product = 0.0;
      for (std::size_t axis = 0; axis < 3; ++axis) product += t.x[(b * 7 + i) * 3 + axis] * t.query[b * 3 + axis];
      mean += t.y[b * 7 + i] / 7.0;
      if (product > nearest) nearest = product, at_nearest = t.y[b * 7 + i];
    }
    wide += std::pow(mean - t.target[b], 2) / 20.0;
    narrow += std::pow(at_nearest - t.target[b], 2) / 20.0;
  }
  EXPECT_NEAR(window_error(t, 0.0), wide, 1e-12);
  EXPECT_NEAR(window_error(t, 1e5), narrow, 1e-6);
}

TEST(InContext, TheBestWindowIsBetterThanItsNeighbours) {
  const Window best = best_window(steep, 3);
  RandomSequence random(3, in_context_stream);
  const Tasks t = draw_tasks(steep, 4000, random);
  EXPECT_NEAR(window_error(t, best.w), best.error, 1e-12);
  for (const double factor : {0.8, 1.25}) EXPECT_GT(window_error(t, factor * best.w), best.error);
}

TEST(InContext, TrainingFindsTheWindowAndFaultsDoNot) {
  const double best = best_window(steep, 1).w;
  const auto error = [&](const InContextUnit& unit) { return std::abs(trained_window(steep, 1, unit) / best - 1.0); };
  EXPECT_LE(error({}), 0.1);
  EXPECT_GT(error({.weights = [](const Var& z) { return autograd::softmax(autograd::scale(z, 2.0)); }}), 0.2);
  EXPECT_GT(error({.weights = [](const Var& z) { return autograd::scale(z, 1.0 / 32.0); }}), 0.2);
  EXPECT_GT(error({.loss = [](const Var& h, const Var&) { return autograd::mean(autograd::mul(h, h)); }}), 0.2);
}

/// A study that holds every claim, by hand.
InContextStudy made_up_study() {
  InContextStudy s;
  for (const Kind kind : {Kind::affine, Kind::relu, Kind::cosine}) {
    for (const double w : {4.0, 8.0, 6.0, 7.0}) {
      s.points.push_back({{.kind = kind}, {w, 0.1}, 1.1 * w, 0.2});
    }
  }
  s.outside = 0.05;
  s.outside_full = 0.95;
  for (const char* update : {"backprop", "row", "fisher", "fisher_cg"}) {
    s.updates.push_back({.update = update, .lr = 0.03, .steps = 50, .errors = {5.0, 1.2, 0.75}});
  }
  return s;
}

std::set<std::string> missed_texts(const InContextStudy& study) {
  std::set<std::string> out;
  for (const Claim& claim : missed({in_context_findings(study)})) out.insert(claim.text);
  return out;
}

TEST(InContext, EachClaimReadsItsOwnPart) {
  using Texts = std::set<std::string>;
  EXPECT_EQ(missed_texts(made_up_study()), Texts{});
  const auto changed = [](const auto& change) {
    InContextStudy s = made_up_study();
    change(s);
    return missed_texts(s);
  };
  EXPECT_EQ(changed([](auto& s) { s.points[5].best.w = 4.1; }).count("best w ~ L^p: p, least"), 1u);
  EXPECT_EQ(changed([](auto& s) { s.points[10].best.w = 3.0; }).count("best w ~ n^p: p, least"), 1u);
  EXPECT_EQ(changed([](auto& s) { s.points[3].best.w = 4.2; }).count("best w ~ sigma^-p: p, least"), 1u);
  EXPECT_EQ(changed([](auto& s) { s.points[7].learned = 3.0; }), Texts{"learned w / best w - 1, worst"});
  EXPECT_EQ(changed([](auto& s) { s.points[7].linear = 0.09; }), Texts{"no softmax: error / softmax's, least"});
  EXPECT_EQ(changed([](auto& s) { s.outside = 0.3; }), Texts{"2 axes of 6: share of M outside"});
  EXPECT_EQ(changed([](auto& s) { s.outside_full = 0.5; }), Texts{"all 6 axes: the same"});
  EXPECT_EQ(changed([](auto& s) {
              s.updates[2].errors = {5.0, 0.85};
            }),
            Texts{"2 axes of 4: error / best w I's, worst"});
}

TEST(InContext, TheFigureNamesItsCurves) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const std::string svg = in_context_svg(made_up_study());
  for (const char* part : {"affine", "relu", "cosine", "backprop", "row", "fisher", "fisher_cg", "w learned"}) {
    EXPECT_HAS(svg, part);
  }
}

}  // namespace
}  // namespace monge::tools
