// Gaussian equivalence of attention spectra (Hayase, Collins & Karakida 2025, arXiv:2510.06685).
//
// W_Q, W_K, Z are n x n with independent standard normal elements, G = W_Q W_K^T / n. The singular values of
//   attention      sqrt(n) (softmax(beta sqrt(n) G) - 1 1^T / n)       softmax of each row
// tend, as n grows, to those of the
//   linear model   alpha Z / sqrt(n) + beta G,                         alpha^2 = e^(beta^2) - 1 - beta^2
// and not to the law of Marchenko and Pastur, which a matrix of independent elements has.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tools/verify/papers/paper.h"
#include "tools/verify/problems.h"

namespace monge::tools {

/// Squared singular values, rising, without the largest three, which stand apart from the bulk.
struct SpectrumDraw {
  Vector attention, linear;
};

/// Draws of one beta and one size.
struct Spectra {
  double beta = 1.0;
  std::int64_t n = 0;
  std::vector<SpectrumDraw> draws;
};

/// For each beta, the sizes in rising order. The claims about one size are about the one in the middle.
struct SpectrumSizes {
  std::array<std::int64_t, 3> n{250, 500, 1000};
  int draws = 5;
};

/// Rows of weights by `map`, which the claims expect to be softmax.
std::vector<Spectra> draw_spectra(const RowMap& map, const SpectrumSizes& sizes, std::uint64_t seed);
Findings spectrum_findings(const std::vector<Spectra>& spectra);
/// Histograms of the singular values at the largest size of each beta.
std::string spectrum_svg(const std::vector<Spectra>& spectra);

Examined examine_spectrum(std::uint64_t seed);

}  // namespace monge::tools
