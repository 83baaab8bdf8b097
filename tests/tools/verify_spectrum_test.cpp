// monge verify spectrum: the claims hold for softmax, and are missed by what is not softmax.
#include "tools/verify/papers/spectrum.h"

#include <gtest/gtest.h>

#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/row_map/custom.h"
#include "support/expect_error.h"
#include "support/program.h"

namespace monge::tools {
namespace {

/// Small enough for a fast test, large enough for the bounds at beta 0.5.
constexpr SpectrumSizes small{.n = {150, 300, 500}, .draws = 2};

/// The row map of a layer that forgets a part of its temperature.
struct WarmSoftmax : SoftmaxMap {
  static constexpr const char* name = "warm softmax";
  template <class Row>
  typename Row::Number weights(Row& row) const {
    row.apply([](auto z) { return z * typename Row::Number(0.9); });
    return SoftmaxMap::weights(row);
  }
};

std::vector<std::string> texts(const std::vector<Claim>& claims) {
  std::vector<std::string> out;
  for (const Claim& claim : claims) out.push_back(claim.text);
  return out;
}

TEST(Spectrum, HoldsAtBetaOneHalfForAnySeed) {
  for (const std::uint64_t seed : {1, 2}) {
    const Findings findings = spectrum_findings(draw_spectra(RowMap(), small, seed));
    EXPECT_EQ(findings.claims.size(), 10u);
    for (const Claim& claim : findings.claims) {
      if (claim.text.starts_with("beta 0.5")) {
        EXPECT_TRUE(claim.ok()) << claim.text << ": " << claim.measured << ", seed " << seed;
      }
    }
  }
}

TEST(Spectrum, APlantedTemperatureIsFound) {
  const auto wrong = texts(missed({spectrum_findings(draw_spectra(custom_row_map(WarmSoftmax{}), small, 1))}));
  for (const char* text : {"beta 0.5: W1 to linear model", "beta 0.5: mean s^2, relative error"}) {
    EXPECT_EQ(std::ranges::count(wrong, text), 1) << text;
  }
}

// Weights that do not depend on the scores' products have the spectrum of independent elements.
TEST(Spectrum, IndependentElementsFollowMarchenkoPasturAndMissTheClaims) {
  RandomSequence random(5, 99);
  constexpr std::int64_t n = 200;
  std::vector<Spectra> spectra = draw_spectra(RowMap(), {.n = {100, 150, n}, .draws = 1}, 1);
  for (Spectra& s : spectra) {
    Matrix z(s.n, s.n);
    const double v = std::expm1(s.beta * s.beta);
    for (double& x : z.reshaped()) x = std::sqrt(v / static_cast<double>(s.n)) * random.normal();
    const Vector squares = Eigen::JacobiSVD<Matrix>(z).singularValues().array().square().reverse();
    s.draws = {{squares.head(s.n - 3), s.draws.front().linear}};
  }
  const auto wrong = texts(missed({spectrum_findings(spectra)}));
  for (const char* text : {"beta 0.5: the same / W1 to MP law", "beta 0.5: E s^4/(E s^2)^2, rel. error",
                           "beta 1: the same / W1 to MP law", "beta 1: E s^4/(E s^2)^2, rel. error"}) {
    EXPECT_EQ(std::ranges::count(wrong, text), 1) << text;
  }
}

TEST(Spectrum, TheFigureNamesItsCurves) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const std::string svg = spectrum_svg(draw_spectra(RowMap(), {.n = {20, 30, 40}, .draws = 1}, 1));
  for (const char* part : {"attention", "linear model", "Marchenko-Pastur", "beta = 0.5, n = 40", "beta = 1, n = 40"}) {
    EXPECT_HAS(svg, part);
  }
}

}  // namespace
}  // namespace monge::tools
