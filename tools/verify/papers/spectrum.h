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
#include <filesystem>
#include <string>
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

/// How far the attention of a trained layer is from the law, at one checkpoint: means over heads and windows. Its n
/// queries are those of a window's second half, its n keys those of the first, which all of them see; the scores among
/// these are taken as they are, without the mean of each row, and beta^2 is their variance.
struct LayerSpectrum {
  std::int64_t step = 0;
  std::string layer;
  std::int64_t n = 0;
  double beta = 0.0;
  double largest = 0.0;             // share of the outliers in the sum of s^2
  double to_linear = 0.0;           // W1 to the linear model of the same scores, relative to its mean s^2
  double to_law = 0.0;              // W1 to Marchenko-Pastur, relative to its mean s^2
  double gaussian_to_linear = 0.0;  // to_linear of normal queries and keys of the same n, head width and beta
};
std::vector<LayerSpectrum> run_spectra(const std::filesystem::path& run_or_checkpoint, std::uint64_t seed);
Findings run_spectrum_findings(const std::vector<LayerSpectrum>& spectra);
/// beta and the distances of every layer against the step.
std::string run_spectrum_svg(const std::vector<LayerSpectrum>& spectra);

/// With a run, of its checkpoints as well; without, `from` is empty.
Examined examine_spectrum(const std::string& from, std::uint64_t seed);

}  // namespace monge::tools
