// monge verify sigmoid: the claims hold for the sigmoid map, and each is missed by a fault that breaks it.
#include "tools/verify/papers/sigmoid.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "core/row_map/custom.h"
#include "support/expect_error.h"

namespace monge::tools {
namespace {

/// Takes half the logarithm of the keys for a bias.
struct HalfBias : SigmoidMap {
  static constexpr const char* name = "half bias";
  template <class Row>
  typename Row::Number weights(Row& row) const {
    const double half = 0.5 * std::log(static_cast<double>(row.size()));
    row.apply([half](auto z) { return z + half; });
    return SigmoidMap::weights(row);
  }
};

/// Saturates too early.
struct Squeezed : SigmoidMap {
  static constexpr const char* name = "squeezed";
  template <class Row>
  typename Row::Number weights(Row& row) const {
    SigmoidMap::weights(row);
    row.apply([](auto a) { return a / (1.0 + 3.0 * a); });
    return 0;
  }
};

struct WrongCurvature : SigmoidMap {
  static constexpr const char* name = "wrong curvature";
  template <class Row, class Element, class Number>
  Element curvature(Element weight, Number) const {
    return weight;
  }
};

std::set<std::string> missed_texts(const SigmoidMaps& maps) {
  std::set<std::string> out;
  for (const Claim& claim : missed({sigmoid_findings(1, maps)})) out.insert(claim.text);
  return out;
}

TEST(Sigmoid, HoldsForAnySeed) {
  for (const std::uint64_t seed : {1, 2, 3, 1234567}) {
    const Findings findings = sigmoid_findings(seed);
    EXPECT_EQ(findings.claims.size(), 11u);
    for (const Claim& claim : findings.claims) {
      EXPECT_TRUE(claim.ok()) << claim.text << ": " << claim.measured << ", seed " << seed;
    }
  }
}

TEST(Sigmoid, ABiasOfHalfTheSizeIsFound) {
  const auto wrong = missed_texts({.balanced = custom_row_map(HalfBias{})});
  for (const char* text : {"a = (1 + tanh((z - ln n) / 2)) / 2", "zero scores: row sum = n / (n + 1)",
                           "row sum / mean e^z, largest", "b = -ln n: row sum / mean e^z - 1",
                           "b = -ln n: output / that of softmax", "b = -ln n: the same at 16 n / at n"}) {
    EXPECT_TRUE(wrong.contains(text)) << text;
  }
}

TEST(Sigmoid, AnEarlySaturationIsFound) {
  const auto wrong = missed_texts({.balanced = custom_row_map(Squeezed{})});
  for (const char* text : {"their gap n / mean e^2z, largest", "zero scores: row sum = n / (n + 1)"}) {
    EXPECT_TRUE(wrong.contains(text)) << text;
  }
}

TEST(Sigmoid, ABiasWhereNoneShouldBeIsFound) {
  EXPECT_EQ(missed_texts({.unbiased = SigmoidMap{}}),
            (std::set<std::string>{"b = 0: row sum / (n / 2) - 1", "b = 0: output / that of softmax",
                                   "b = 0: the same at 16 n / at n"}));
}

TEST(Sigmoid, AJacobianThatIsNotTheFisherInformationIsFound) {
  EXPECT_EQ(missed_texts({.balanced = custom_row_map(WrongCurvature{})}),
            (std::set<std::string>{"KL / (dz' H dz / 2) - 1"}));
}

// Untrained models differ in the size of attention's outputs alone; what was measured of training is what was trained.
TEST(Sigmoid, ClaimsOfTrainingAreMissedWhereTrainingFails) {
  std::vector<TrainedSigmoid> trained;
  for (const Stabiliser& s : stabilisers()) trained.push_back({.name = s.name, .output = 1.0, .loss = 1.0});
  trained[2].loss = 1.2;
  trained[1].loss = 1.02;
  EXPECT_TRUE(missed({trained_sigmoid_findings(trained)}).empty());
  trained[1].loss = 1.04;
  EXPECT_EQ(missed({trained_sigmoid_findings(trained)}).size(), 1u);
  trained[2].loss = 1.05;
  EXPECT_EQ(missed({trained_sigmoid_findings(trained)}).size(), 2u);
}

TEST(Sigmoid, TheFigureNamesItsCurves) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const std::string svg = sigmoid_svg(1);
  for (const char* part : {"b = -ln n", "b = 0", "softmax", "relative to softmax"}) EXPECT_HAS(svg, part);
}

}  // namespace
}  // namespace monge::tools
