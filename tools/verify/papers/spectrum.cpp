#include "tools/verify/papers/spectrum.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <span>

#include "optim/matrix/symmetric.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

/// What is claimed at one beta: the Wasserstein distance W1 to the linear model, and its share of that to
/// Marchenko-Pastur.
struct Bounds {
  double beta, to_linear, share_of_law;
};
constexpr std::array bounds_of{Bounds{0.5, 0.01, 0.2}, Bounds{1.0, 0.1, 0.5}};
constexpr std::array betas{bounds_of[0].beta, bounds_of[1].beta};
constexpr Eigen::Index outliers = 3;
const Source hayase{"Hayase 2025",
                    "Hayase, Collins & Karakida, Gaussian equivalence for self-attention: asymptotic spectral "
                    "analysis of attention matrix, arXiv:2510.06685"};

/// The mean of s^2.
double variance(double beta) { return std::exp(beta * beta) - 1.0; }

Matrix normal_matrix(RandomSequence& random, Eigen::Index n) {
  Matrix out(n, n);
  for (double& x : out.reshaped()) x = random.normal();
  return out;
}

/// sqrt(n) (A - 1 1^T / n): rows of weights without the constant direction.
Matrix centred_attention(const RowMap& map, const Matrix& g, double beta) {
  const double n = static_cast<double>(g.rows());
  Matrix out(g.rows(), g.cols());
  for (Eigen::Index i = 0; i < g.rows(); ++i) {
    const Vector scores = beta * std::sqrt(n) * g.row(i).transpose();
    out.row(i) = std::sqrt(n) * (map_row(map, scores).first.array() - 1.0 / n).matrix().transpose();
  }
  return out;
}

Matrix linear_model(const Matrix& g, const Matrix& z, double beta) {
  const double alpha = std::sqrt(std::exp(beta * beta) - 1.0 - beta * beta);
  return alpha / std::sqrt(static_cast<double>(g.rows())) * z + beta * g;
}

optim::SquareMatrix gram(const Matrix& m) {
  optim::SquareMatrix out{m.rows(), std::vector<double>(static_cast<std::size_t>(m.size()))};
  Eigen::Map<Matrix>(out.values.data(), m.rows(), m.rows()).noalias() = m * m.transpose();
  return out;
}

Vector bulk(const optim::Eigensystem& system) {
  const auto n = static_cast<Eigen::Index>(system.values.size());
  return Eigen::Map<const Vector>(system.values.data(), n - outliers);
}

/// Quantile u of the squared singular values of an n x n matrix of independent elements of variance v / n.
double marchenko_pastur_quantile(double u, double v) {
  const auto below = [](double x) { return (x * std::sqrt(4.0 - x * x) / 2.0 + 2.0 * std::asin(x / 2.0)); };
  double low = 0.0, high = 2.0;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2.0;
    (below(middle) < u * std::numbers::pi ? low : high) = middle;
  }
  return v * low * low;
}

/// The law's bulk, as many values as that of a draw.
Vector marchenko_pastur(std::int64_t n, double v) {
  Vector out(n - outliers);
  for (Eigen::Index i = 0; i < out.size(); ++i) {
    out[i] = marchenko_pastur_quantile((static_cast<double>(i) + 0.5) / static_cast<double>(n), v);
  }
  return out;
}

/// Wasserstein distance of two sorted samples of one size.
double distance(const Vector& a, const Vector& b) { return (a - b).cwiseAbs().mean(); }

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
      const Matrix q = normal_matrix(random, n), k = normal_matrix(random, n), z = normal_matrix(random, n);
      const Matrix g = q * k.transpose() / static_cast<double>(n);
      std::vector<optim::SquareMatrix> grams;
      for (const double beta : betas) {
        grams.push_back(gram(centred_attention(map, g, beta)));
        grams.push_back(gram(linear_model(g, z, beta)));
      }
      const auto systems = optim::eigensystems(grams);
      for (std::size_t b = 0; b < betas.size(); ++b) {
        out[b * sizes.n.size() + i].draws.push_back({bulk(systems[2 * b]), bulk(systems[2 * b + 1])});
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
                                    middle.draws.size(), middle.n, outliers)};
  for (std::size_t b = 0; b < betas.size(); ++b) {
    examine_beta(std::span(spectra).subspan(b * sizes, sizes), bounds_of[b], out);
  }
  return out;
}

Examined examine_spectrum(std::uint64_t seed) {
  const auto spectra = std::make_shared<std::vector<Spectra>>(draw_spectra(RowMap(), SpectrumSizes(), seed));
  return {{spectrum_findings(*spectra)}, [spectra] { return spectrum_svg(*spectra); }};
}

}  // namespace monge::tools
