// monge verify spline: the claims hold for relu and softplus, and each is missed by a fault that breaks it.
#include "tools/verify/papers/spline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/row_map/custom.h"
#include "support/expect_error.h"
#include "tools/verify/papers/interpolant.h"

namespace monge::tools {
namespace {

/// A map that changes the scores before the relu.
template <class Change>
struct ChangedRelu : ReluMap {
  static constexpr const char* name = "changed relu";
  template <class Row>
  typename Row::Number weights(Row& row) const {
    row.apply([](auto z) { return Change::of(z); });
    return ReluMap::weights(row);
  }
};
struct MovedCorner {
  static double of(double z) { return z - 0.01; }
};
struct Curved {
  static double of(double z) { return z + 1e-3 * z * z; }
};
struct Doubled {
  static double of(double z) { return 2.0 * z; }
};

template <class Change>
SplineMaps with() {
  return {.relu = custom_row_map(ChangedRelu<Change>{})};
}

std::set<std::string> missed_texts(const SplineMaps& maps) {
  std::set<std::string> out;
  for (const Claim& claim : missed({spline_findings(spline_problems(1), maps)})) out.insert(claim.text);
  return out;
}

TEST(Spline, HoldsForAnySeed) {
  for (const std::uint64_t seed : {1, 2, 3, 1234567}) {
    const Findings findings = spline_findings(spline_problems(seed));
    EXPECT_EQ(findings.claims.size(), 13u);
    for (const Claim& claim : findings.claims) {
      EXPECT_TRUE(claim.ok()) << claim.text << ": " << claim.measured << ", seed " << seed;
    }
  }
}

TEST(Spline, KnotsAreAllTheZerosOfTheScores) {
  for (const SplineForm& form : spline_problems(5).forms) {
    const HeadOnLine& head = form.heads.front();
    const auto knots = head.knots();
    for (const Knot& knot : knots) EXPECT_NEAR(head.scores(knot.t)(knot.row, knot.key), 0.0, 1e-13);
    std::size_t changes = 0;
    constexpr int points = 20000;
    Matrix before = head.scores(-1.0);
    for (int p = 1; p <= points; ++p) {
      const Matrix now = head.scores(-1.0 + 2.0 * p / points);
      for (Eigen::Index i = 0; i < now.rows(); ++i) {
        for (Eigen::Index j = 0; j < head.keys(i); ++j) changes += (before(i, j) > 0.0) != (now(i, j) > 0.0) ? 1 : 0;
      }
      before = now;
    }
    EXPECT_EQ(knots.size(), changes) << form.name;
  }
}

TEST(Spline, TheInterpolantIsExactAtItsDegreeAndNotBelow) {
  const auto cubic = [](double t) { return Matrix::Constant(1, 1, 2.0 * t * t * t - t + 0.5); };
  const Interpolant exact(cubic, 0.2, 0.9, 3), below(cubic, 0.2, 0.9, 2);
  EXPECT_NEAR(exact(0.37)(0, 0), cubic(0.37)(0, 0), 1e-15);
  EXPECT_NEAR(exact.slope(0.2, 0.1)(0, 0), 6.0 * 0.04 - 1.0, 1e-13);
  EXPECT_GT(std::abs(below(0.37)(0, 0) - cubic(0.37)(0, 0)), 1e-4);
}

TEST(Spline, AMovedCornerIsFound) {
  const auto wrong = missed_texts(with<MovedCorner>());
  for (const char* text : {"attention: cubic between knots", "masked: cubic between knots",
                           "encoder-decoder: cubic between knots", "fixed encoder: linear between knots",
                           "slope jumps by |z'| v / n at a knot", "softplus: gap at a knot / own term - 1"}) {
    EXPECT_TRUE(wrong.contains(text)) << text;
  }
}

TEST(Spline, ACurvatureIsFound) {
  const auto wrong = missed_texts(with<Curved>());
  for (const char* text : {"attention: cubic between knots", "fixed encoder: linear between knots",
                           "differences of order degree + 1", "two blocks: degree 9"}) {
    EXPECT_TRUE(wrong.contains(text)) << text;
  }
}

// Still a spline with the same knots: only the claims about its size can see it.
TEST(Spline, AWrongFactorIsFound) {
  const auto wrong = missed_texts(with<Doubled>());
  EXPECT_FALSE(wrong.contains("attention: cubic between knots"));
  for (const char* text : {"slope jumps by |z'| v / n at a knot", "softplus: gap / (ln 2/(beta n) sum|v|)"}) {
    EXPECT_TRUE(wrong.contains(text)) << text;
  }
}

TEST(Spline, ASoftplusThatIsTooSoftIsFound) {
  SplineMaps maps;
  maps.softplus = [](double beta) { return SoftplusMap{.beta = 0.9 * beta}; };
  const auto wrong = missed_texts(maps);
  EXPECT_EQ(wrong, (std::set<std::string>{"softplus: gap / (ln 2/(beta n) sum|v|)",
                                          "softplus: gap at a knot / own term - 1"}));
}

TEST(Spline, TheFigureNamesItsCurves) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const std::string svg = spline_svg(spline_problems(1));
  for (const char* part : {"relu: cubic pieces", "knots, in closed form", "softplus, beta 4"}) EXPECT_HAS(svg, part);
}

}  // namespace
}  // namespace monge::tools
