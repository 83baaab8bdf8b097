#include "tools/verify/papers/sigmoid.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/verify/papers/attend.h"
#include "tools/verify/row.h"
#include "tools/verify/worst.h"

namespace monge::tools {
namespace {

const Source ramapuram{"Ramapuram 2024",
                       "Theory, analysis, and best practices for sigmoid self-attention, "
                       "arXiv:2409.04431"};
constexpr std::int64_t head_dim = 64, tokens = 64, many_tokens = 1024;
constexpr double scale = 0.125;  // 1 / sqrt(head_dim): scores of variance one

struct Head {
  Matrix q, k, v;

  Matrix output(const RowMap& map) const { return attend(map, q, k, v, scale, false); }
  /// What the weights of each row sum to: the output for values of one.
  Vector row_sums(const RowMap& map, bool causal = false) const {
    return attend(map, q, k, Matrix::Ones(v.rows(), v.cols()), scale, causal).col(0);
  }
  Matrix scores() const { return scale * q * k.transpose(); }
};

Head draw_head(std::int64_t n, std::uint64_t seed) {
  RandomSequence random(seed, sigmoid_stream, static_cast<std::uint32_t>(n));
  const auto draw = [&] {
    Matrix out(n, head_dim);
    for (double& x : out.reshaped()) x = random.normal();
    return out;
  };
  Matrix q = draw(), k = draw(), v = draw();
  return {std::move(q), std::move(k), std::move(v)};
}

std::vector<Vector> draw_rows(std::uint64_t seed) {
  RandomSequence random(seed, sigmoid_stream);
  std::vector<Vector> out;
  for (const std::int64_t n : {1, 2, 8, 64, 333}) {
    for (int i = 0; i < 10; ++i) out.push_back(normal(random, n, i % 2 == 0 ? 1.0 : 3.0));
  }
  return out;
}

Claim definition_claim(const std::vector<Vector>& rows, const RowMap& balanced) {
  const auto error = [&](const Vector& z) {
    const Vector expected = (1.0 + ((z.array() - std::log(z.size())) / 2.0).tanh()) / 2.0;
    return (map_row(balanced, z).first - expected).cwiseAbs().maxCoeff();
  };
  return {"a = (1 + tanh((z - ln n) / 2)) / 2", ramapuram, worst(rows, error), 1e-14};
}

Claim zero_claim(const RowMap& balanced) {
  double error = 0.0;
  for (const std::int64_t n : {1, 2, 64, 1000}) {
    const double size = static_cast<double>(n);
    const double sum = map_row(balanced, Vector::Zero(n)).first.sum();
    error = std::max(error, std::abs(sum - size / (size + 1.0)));
  }
  return {"zero scores: row sum = n / (n + 1)", ramapuram, error, 1e-13};
}

// e^z / n - (e^z / n)^2 <= sigmoid(z - ln n) <= e^z / n, in every row, masked or not.
void add_row_claims(const Head& head, const RowMap& balanced, std::vector<Claim>& out) {
  double share = 0.0, gap = 0.0;
  const Matrix z = head.scores();
  for (const bool causal : {false, true}) {
    const Vector sums = head.row_sums(balanced, causal);
    for (Eigen::Index i = 0; i < z.rows(); ++i) {
      const Eigen::Index n = causal ? i + 1 : z.cols();
      const Eigen::ArrayXd e = z.row(i).head(n).transpose().array().exp();
      share = std::max(share, sums[i] / e.mean());
      gap = std::max(gap, (e.mean() - sums[i]) * static_cast<double>(n) / e.square().mean());
    }
  }
  out.push_back({"row sum / mean e^z, largest", {}, share, 1.0});
  out.push_back({"their gap n / mean e^2z, largest", {}, gap, 1.0});
}

/// KL divergence of independent draws of each key, from weights a to weights b.
double bernoulli_divergence(const Vector& a, const Vector& b) {
  double total = 0.0;
  for (Eigen::Index j = 0; j < a.size(); ++j) {
    const double change = b[j] - a[j];
    total -= a[j] * std::log1p(change / a[j]) + (1.0 - a[j]) * std::log1p(-change / (1.0 - a[j]));
  }
  return total;
}

// The Jacobian of the backward pass is the Fisher information of the weights.
Claim divergence_claim(const std::vector<Vector>& rows, const RowMap& balanced, std::uint64_t seed) {
  constexpr double step = 3e-4;
  RandomSequence random(seed, sigmoid_stream, 1);
  const auto error = [&](const Vector& z) {
    const Vector dz = normal(random, z.size(), step);
    const double kl = bernoulli_divergence(map_row(balanced, z).first, map_row(balanced, z + dz).first);
    return std::abs(kl / (0.5 * dz.dot(run_row(balanced, z, dz).gradient)) - 1.0);
  };
  return {"KL / (dz' H dz / 2) - 1", ramapuram, worst(rows, error), 1e-3};
}

void add_size_claims(const InitialSizes& few, const InitialSizes& many, std::vector<Claim>& out) {
  const double n = static_cast<double>(few.n);
  const auto add = [&](const char* text, double measured, double bound, bool at_least = false) {
    out.push_back({text, ramapuram, measured, bound, at_least});
  };
  add("b = -ln n: row sum / mean e^z - 1", std::abs(few.balanced.row_sum / few.mean_exp - 1.0), 0.1);
  add("b = 0: row sum / (n / 2) - 1", std::abs(few.unbiased.row_sum / (n / 2.0) - 1.0), 0.05);
  add("b = -ln n: output / that of softmax", few.balanced.output, 3.0);
  add("b = 0: output / that of softmax", few.unbiased.output, 10.0, true);
  add("b = -ln n: the same at 16 n / at n", many.balanced.output / few.balanced.output, 1.5);
  add("b = 0: the same at 16 n / at n", many.unbiased.output / few.unbiased.output, 8.0, true);
}

}  // namespace

InitialSizes initial_sizes(std::int64_t n, std::uint64_t seed, const SigmoidMaps& maps) {
  const Head head = draw_head(n, seed);
  const double of_softmax = head.output(RowMap()).norm();
  const auto size = [&](const RowMap& map) {
    return InitialSize{head.row_sums(map).mean(), head.output(map).norm() / of_softmax};
  };
  return {n, head.scores().array().exp().mean(), size(maps.balanced), size(maps.unbiased)};
}

Findings sigmoid_findings(std::uint64_t seed, const SigmoidMaps& maps) {
  const InitialSizes few = initial_sizes(tokens, seed, maps), many = initial_sizes(many_tokens, seed, maps);
  const std::vector<Vector> rows = draw_rows(seed);
  Findings out{.title = fmt::format("sigmoid attention on normal queries, keys and values: n = {} tokens, head "
                                    "dimension {}",
                                    tokens, head_dim)};
  out.claims = {definition_claim(rows, maps.balanced), zero_claim(maps.balanced)};
  add_row_claims(draw_head(tokens, seed), maps.balanced, out.claims);
  add_size_claims(few, many, out.claims);
  out.claims.push_back(divergence_claim(rows, maps.balanced, seed));
  for (const InitialSizes& s : {few, many}) {
    out.notes.push_back(
        fmt::format("n = {}: row sum {:.2f} with b = -ln n (mean e^z {:.2f}), {:.1f} with b = 0; "
                    "output relative to softmax {:.2f} and {:.1f}.",
                    s.n, s.balanced.row_sum, s.mean_exp, s.unbiased.row_sum, s.balanced.output, s.unbiased.output));
  }
  return out;
}

Examined examine_sigmoid(std::uint64_t seed) {
  return {{sigmoid_findings(seed), trained_sigmoid_findings(train_sigmoids(stabilisers(), seed))},
          [seed] { return sigmoid_svg(seed); }};
}

}  // namespace monge::tools
