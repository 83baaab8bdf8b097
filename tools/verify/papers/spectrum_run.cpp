// How the attention of a trained run left the law of random weights, from the checkpoints that it kept.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tools/verify/papers/spectral_law.h"
#include "tools/verify/papers/spectrum.h"
#include "train/checkpoint/checkpoint.h"

namespace monge::tools {
namespace {

constexpr double largest_beta = 3.0;  // e^(beta^2) beyond it says nothing at these sizes

/// Scores without the mean of each row, which softmax does not see.
Matrix centred(const Matrix& scores) { return scores.colwise() - scores.rowwise().mean(); }

double spread(const Matrix& scores) { return std::sqrt(scores.array().square().mean()); }

/// What is measured of one matrix of scores (n, n), centred.
struct Measured {
  double beta, largest, to_linear, to_law;
};

Measured measure(const RowMap& map, const Matrix& scores, RandomSequence& random) {
  const Eigen::Index n = scores.rows();
  const double beta = std::min(spread(scores), largest_beta);
  const Matrix attention = centred_attention(map, scores);
  const Matrix linear = linear_model(scores, normal_matrix(random, n, n), beta);
  const std::vector<Vector> bulks = bulk_spectra({attention, linear});
  const double all = attention.squaredNorm(), v = std::expm1(beta * beta);
  return {spread(scores), 1.0 - bulks[0].sum() / all, distance(bulks[0], bulks[1]) / v,
          distance(bulks[0], marchenko_pastur(n, v)) / v};
}

/// Normal queries and keys of d numbers, whose scores have the given spread.
Matrix gaussian_scores(Eigen::Index n, Eigen::Index d, double beta, RandomSequence& random) {
  const Matrix q = normal_matrix(random, n, d), k = normal_matrix(random, n, d);
  const Matrix scores = centred(q * k.transpose());
  return beta / spread(scores) * scores;
}

LayerSpectrum spectrum_of(const LayerProblem& layer, RandomSequence& random) {
  const kernel::Attention& a = layer.call.args;
  const LayerScores scores(layer.call);
  LayerSpectrum out{.n = a.queries / 2};
  const double share = 1.0 / static_cast<double>(a.batch * a.heads);
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t h = 0; h < a.heads; ++h) {
      Matrix z(out.n, out.n);
      for (std::int64_t i = 0; i < out.n; ++i) z.row(i) = scores.scores(b, h, out.n + i).head(out.n).transpose();
      const Matrix own = centred(z);
      const Measured m = measure(a.map, own, random);
      const Measured g = measure(a.map, gaussian_scores(out.n, a.head_dim, m.beta, random), random);
      out.beta += share * m.beta;
      out.largest += share * m.largest;
      out.to_linear += share * m.to_linear;
      out.to_law += share * m.to_law;
      out.gaussian_to_linear += share * g.to_linear;
    }
  }
  return out;
}

}  // namespace

std::vector<LayerSpectrum> run_spectra(const std::filesystem::path& run_or_checkpoint, std::uint64_t seed) {
  constexpr std::size_t most = 24;
  const auto kept = train::kept_checkpoints(run_or_checkpoint);
  std::vector<LayerSpectrum> out;
  const std::size_t count = std::min(kept.size(), most);
  for (std::size_t i = 0; i < count; ++i) {  // evenly, the first and the last among them
    const auto& path = kept[count < 2 ? i : i * (kept.size() - 1) / (count - 1)];
    const Problems problems = checkpoint_problems(path, seed);
    const std::int64_t step = train::Checkpoint(path).state().step;
    for (std::size_t l = 0; l < problems.layers.size(); ++l) {
      const kernel::Attention& a = problems.layers[l].call.args;
      if (a.spans) {
        throw InputError(
            fmt::format("'{}': the law is about long rows, and in a run of packed pairs (model.packed) a row sees its "
                        "own pair alone; "
                        "allowed: a run whose tokens see all earlier ones",
                        path.string()));
      }
      if (!as<SoftmaxMap>(a.map) || a.queries < 32) {
        throw InputError(
            fmt::format("'{}': the law is about softmax, and needs a context of 32 tokens or more; layer {} is {} "
                        "with {}",
                        path.string(), l, name_of(a.map), a.queries));
      }
      RandomSequence random(seed, spectrum_stream, static_cast<std::uint32_t>(l + 1));
      LayerSpectrum one = spectrum_of(problems.layers[l], random);
      one.step = step;
      one.layer = fmt::format("layer {}", l);
      out.push_back(std::move(one));
    }
  }
  return out;
}

Findings run_spectrum_findings(const std::vector<LayerSpectrum>& spectra) {
  Findings out{
      .title = fmt::format("spectra of a trained run: n = {} queries and keys, means over heads and windows. "
                           "beta is the spread of scores; W1 the distance to the linear model relative to mean s^2, "
                           "in brackets that of normal queries and keys; top the share of the largest three "
                           "in the sum of s^2",
                           spectra.front().n)};
  for (const LayerSpectrum& s : spectra) {
    out.notes.push_back(fmt::format("step {:>6}, {}: beta {:.2f}, W1 {:.3f} ({:.3f}), to MP {:.3f}, top {:.2f}", s.step,
                                    s.layer, s.beta, s.to_linear, s.gaussian_to_linear, s.to_law, s.largest));
  }
  return out;
}

}  // namespace monge::tools
