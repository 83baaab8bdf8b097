#include "tools/verify/papers/spectrum.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>

#include "tools/verify/papers/spectral_law.h"

namespace monge::tools {
namespace {

/// What is claimed at one beta: the Wasserstein distance W1 to the linear model, and its share of that to
/// Marchenko-Pastur.
struct Bounds {
  double beta, to_linear, share_of_law;
};
constexpr std::array bounds_of{Bounds{0.5, 0.01, 0.2}, Bounds{1.0, 0.1, 0.5}};
constexpr std::array betas{bounds_of[0].beta, bounds_of[1].beta};
const Source hayase{"Hayase 2025",
                    "Hayase, Collins & Karakida, Gaussian equivalence for self-attention: asymptotic spectral "
                    "analysis of attention matrix, arXiv:2510.06685"};

/// The mean of s^2.
double variance(double beta) { return std::exp(beta * beta) - 1.0; }

template <class F>
double mean_over_draws(const Spectra& spectra, F f) {
  double sum = 0.0;
  for (const SpectrumDraw& draw : spectra.draws) sum += f(draw);
  return sum / static_cast<double>(spectra.draws.size());
}

double mean_square(const Spectra& s) {
  return mean_over_draws(s, [](const SpectrumDraw& d) { return d.attention.mean(); });
}
/// E s^4 / (E s^2)^2.
double fourth_moment(const Spectra& s) {
  return mean_over_draws(
      s, [](const SpectrumDraw& d) { return d.attention.array().square().mean() / std::pow(d.attention.mean(), 2); });
}
double distance_to_linear(const Spectra& s) {
  return mean_over_draws(s, [](const SpectrumDraw& d) { return distance(d.attention, d.linear); });
}
double distance_to_marchenko_pastur(const Spectra& s) {
  const Vector law = marchenko_pastur(s.n, variance(s.beta));
  return mean_over_draws(s, [&](const SpectrumDraw& d) { return distance(d.attention, law); });
}

/// The claims about one beta; its sizes in rising order.
void examine_beta(std::span<const Spectra> sizes, const Bounds& bounds, Findings& out) {
  const double v = variance(bounds.beta), beta2 = bounds.beta * bounds.beta;
  const Spectra& middle = sizes[sizes.size() / 2];
  const double to_linear = distance_to_linear(middle), to_law = distance_to_marchenko_pastur(middle);
  const auto add = [&](const char* text, double measured, double bound) {
    out.claims.push_back({fmt::format("beta {}: {}", bounds.beta, text), hayase, measured, bound});
  };
  add("W1 to linear model", to_linear, bounds.to_linear);
  add("the same / W1 to MP law", to_linear / to_law, bounds.share_of_law);
  double growth = 0.0;
  for (std::size_t i = 1; i < sizes.size(); ++i) {
    growth = std::max(growth, distance_to_linear(sizes[i]) / distance_to_linear(sizes[i - 1]));
  }
  add("W1 at n / W1 at n/2, worst", growth, 0.9);
  add("mean s^2, relative error", std::abs(mean_square(middle) / v - 1.0), 0.08);
  add("E s^4/(E s^2)^2, rel. error", std::abs(fourth_moment(middle) / (2.0 + beta2 * beta2 / (v * v)) - 1.0), 0.06);
  for (const Spectra& s : sizes) {
    out.notes.push_back(
        fmt::format("beta {}, n {}: W1 {:.4f} to the linear model, {:.3f} to Marchenko-Pastur; mean s^2 {:.3f} "
                    "(theory {:.3f}); E s^4 / (E s^2)^2 {:.3f} ({:.3f}).",
                    s.beta, s.n, distance_to_linear(s), distance_to_marchenko_pastur(s), mean_square(s), v,
                    fourth_moment(s), 2.0 + beta2 * beta2 / (v * v)));
  }
}

}  // namespace

std::vector<Spectra> draw_spectra(const RowMap& map, const SpectrumSizes& sizes, std::uint64_t seed) {
  std::vector<Spectra> out;
  for (const double beta : betas) {
    for (const std::int64_t n : sizes.n) out.push_back({beta, n, {}});
  }
  RandomSequence random(seed, spectrum_stream);
  for (std::size_t i = 0; i < sizes.n.size(); ++i) {
    for (int draw = 0; draw < sizes.draws; ++draw) {
      const std::int64_t n = sizes.n[i];
      const Matrix q = normal_matrix(random, n, n), k = normal_matrix(random, n, n), z = normal_matrix(random, n, n);
      const Matrix scores = q * k.transpose() / std::sqrt(static_cast<double>(n));
      std::vector<Matrix> matrices;
      for (const double beta : betas) {
        matrices.push_back(centred_attention(map, beta * scores));
        matrices.push_back(linear_model(beta * scores, z, beta));
      }
      const std::vector<Vector> bulks = bulk_spectra(matrices);
      for (std::size_t b = 0; b < betas.size(); ++b) {
        out[b * sizes.n.size() + i].draws.push_back({bulks[2 * b], bulks[2 * b + 1]});
      }
    }
  }
  return out;
}

Findings spectrum_findings(const std::vector<Spectra>& spectra) {
  const std::size_t sizes = spectra.size() / betas.size();
  const Spectra& middle = spectra[sizes / 2];
  Findings out{.title = fmt::format("spectra of softmax(beta W_Q W_K^T / sqrt(n)): means of {} draws, n = {} unless "
                                    "said, without the largest {} singular values",
                                    middle.draws.size(), middle.n, spectrum_outliers)};
  for (std::size_t b = 0; b < betas.size(); ++b) {
    examine_beta(std::span(spectra).subspan(b * sizes, sizes), bounds_of[b], out);
  }
  return out;
}

Examined examine_spectrum(const std::string& from, std::uint64_t seed) {
  const auto of_run = from.empty() ? nullptr : std::make_shared<std::vector<LayerSpectrum>>(run_spectra(from, seed));
  const auto spectra = std::make_shared<std::vector<Spectra>>(draw_spectra(RowMap(), SpectrumSizes(), seed));
  if (of_run == nullptr) return {{spectrum_findings(*spectra)}, [spectra] { return spectrum_svg(*spectra); }};
  return {{spectrum_findings(*spectra), run_spectrum_findings(*of_run)},
          [of_run] { return run_spectrum_svg(*of_run); }};
}

}  // namespace monge::tools
