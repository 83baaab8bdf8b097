#include "tools/verify/papers/goat.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/gradcheck.h"
#include "nn/parameter_store.h"
#include "tools/verify/papers/attend.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

using autograd::Var;

const Source litman{"Litman 2026", "Litman & Guo, You need better attention priors, arXiv:2601.15380"};
const Source press{"Press 2022",
                   "Train short, test long: attention with linear biases enables input length "
                   "extrapolation, arXiv:2108.12409"};
constexpr std::int64_t head_dim = 6, tokens = 48;
constexpr Device reference = GoatTables::device, cpu{DeviceKind::cpu, 0};

/// The prior of one head with made-up parameters, in double.
struct OneHead {
  explicit OneHead(std::uint64_t seed, const std::vector<std::string>& silent = {})
      : prior(options, {.heads = 1, .kv_heads = 1, .context = tokens}),
        store(prior, reference, nn::Precision::float32, seed) {
    RandomSequence random(seed, goat_stream);
    for (const auto& entry : store.entries()) {
      std::vector<double> values(static_cast<std::size_t>(entry.shape.numel()));
      for (double& x : values) x = random.normal();
      if (std::ranges::find(silent, entry.name) != silent.end()) std::ranges::fill(values, 0.0);
      store.value(entry).backend().copy_from_host({.from = values.data(), .to = store.value(entry)});
    }
  }

  Vector parameter(const std::string& name) const { return to_matrix(store.value(store.entry(name))).reshaped(); }
  /// m, and the waves' frequencies.
  double slope() const {
    const double start = nn::alibi_slopes(1).front();
    return std::log1p(std::exp(parameter("recency")[0] + std::log(std::expm1(start))));
  }
  double frequency(Eigen::Index r) const {
    return std::pow(options.base, -static_cast<double>(r) / static_cast<double>(options.frequencies - 1));
  }
  /// u(j), from the parameters.
  double of_key(Eigen::Index j) const {
    const double t = static_cast<double>(j), length = static_cast<double>(options.length);
    const Eigen::Index M = options.key_frequencies;
    Vector features(2 * M + 2);
    for (Eigen::Index r = 0; r < M; ++r) {
      features[r] = std::cos(frequency(r) * t);
      features[M + r] = std::sin(frequency(r) * t);
    }
    features.tail(2) << t / length, std::log1p(t) / std::log1p(length);
    const Matrix up = to_matrix(store.value(store.entry("up")));
    const Eigen::ArrayXd x = (up * features + parameter("up_bias")).array();
    const double u = parameter("down").dot((x / (1.0 + (-x).exp())).matrix());
    return parameter("gain")[0] * u + (j == 0 ? parameter("first")[0] : 0.0);
  }

  nn::GoatOptions options;  // as many waves of keys as of distances
  nn::GoatPrior prior;
  nn::ParameterStore store;
};

HeadPrior tables_of(const OneHead& head, const GoatTables& tables) {
  return {to_matrix(tables.of_distance(head.prior, tokens).value()).row(0).transpose(),
          to_matrix(tables.of_key(head.prior, tokens).value()).row(0).transpose()};
}

struct Tokens {
  Matrix q, k, v;
  double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
};

Tokens draw_tokens(std::uint64_t seed) {
  RandomSequence random(seed, goat_stream, 1);
  const auto draw = [&] {
    Matrix out(tokens, head_dim);
    for (double& x : out.reshaped()) x = random.normal();
    return out;
  };
  Matrix q = draw(), k = draw(), v = draw();
  return {std::move(q), std::move(k), std::move(v)};
}

double gap(const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

// The paper's lanes, which make a prior of the plain inner product: with c = cos w_r t and s = sin w_r t,
//   key (k_j, c_j, s_j, u(j) + m j),   query (scale q_i, a c_i + b s_i, a s_i - b c_i, 1).
Matrix packed(const OneHead& head, const Tokens& t) {
  const Vector a = head.parameter("cosine"), b = head.parameter("sine");
  const Eigen::Index R = a.size(), d = head_dim + 2 * R + 1;
  Matrix q = Matrix::Zero(tokens, d), k = Matrix::Zero(tokens, d), v = Matrix::Zero(tokens, d);
  q.leftCols(head_dim) = t.scale * t.q;
  k.leftCols(head_dim) = t.k;
  v.leftCols(head_dim) = t.v;
  for (Eigen::Index i = 0; i < tokens; ++i) {
    const double at = static_cast<double>(i);
    for (Eigen::Index r = 0; r < R; ++r) {
      const double c = std::cos(head.frequency(r) * at), s = std::sin(head.frequency(r) * at);
      k(i, head_dim + r) = c;
      k(i, head_dim + R + r) = s;
      q(i, head_dim + r) = a[r] * c + b[r] * s;
      q(i, head_dim + R + r) = a[r] * s - b[r] * c;
    }
    k(i, d - 1) = head.of_key(i) + head.slope() * at;
    q(i, d - 1) = 1.0;
  }
  return attend(RowMap(), q, k, v, 1.0, true).leftCols(head_dim);
}

void add_packing_claims(const OneHead& head, const Tokens& t, const GoatTables& tables, std::vector<Claim>& out) {
  const HeadPrior prior = tables_of(head, tables);
  const Matrix expected = packed(head, t);
  const auto shipped = [&](Device device) { return attend(tables.map, t.q, t.k, t.v, t.scale, prior, device); };
  out.push_back({"tables = the paper's packed lanes", litman, gap(shipped(reference), expected), 1e-12});
  out.push_back({"the same in single precision", litman, gap(shipped(cpu), expected), 1e-5});
}

Claim silent_claim(std::uint64_t seed, const Tokens& t, const GoatTables& tables) {
  OneHead silent(seed, {"cosine", "sine", "down", "first"});
  const double none = -50.0;  // softplus(-50) = 2e-22
  const Tensor recency = silent.store.value(silent.store.entry("recency"));
  recency.backend().copy_from_host({.from = &none, .to = recency});
  const Matrix plain = attend(RowMap(), t.q, t.k, t.v, t.scale, true);
  return {"a = b = m = u = 0: plain softmax", litman,
          gap(attend(tables.map, t.q, t.k, t.v, t.scale, tables_of(silent, tables)), plain), 1e-14};
}

void add_recency_claims(std::uint64_t seed, const Tokens& t, const GoatTables& tables, std::vector<Claim>& out) {
  const OneHead head(seed, {"cosine", "sine", "down", "first"});
  const HeadPrior prior = tables_of(head, tables);
  HeadPrior on_keys, sloped;
  on_keys.of_key = Vector::LinSpaced(tokens, 0.0, static_cast<double>(tokens - 1)) * head.slope();
  sloped.slope = head.slope();
  const auto attention = [&](const RowMap& map, const HeadPrior& p) { return attend(map, t.q, t.k, t.v, t.scale, p); };
  const Matrix shipped = attention(tables.map, prior);
  out.push_back({"recency alone = ALiBi", press, gap(shipped, attention(RowMap(), sloped)), 1e-12});
  out.push_back({"the same as m j on the keys", litman, gap(shipped, attention(RowMap(), on_keys)), 1e-12});
  out.push_back({"sigmoid: m j on the keys is another",
                 {},
                 gap(attention(SigmoidMap{}, prior), attention(SigmoidMap{}, on_keys)),
                 0.01,
                 true});
}

/// Scores and log-prior of one query.
struct Row {
  Vector scores, prior;
};

Row draw_row(const Tokens& t, const HeadPrior& p, Eigen::Index i) {
  Row row{t.scale * t.k.topRows(i + 1) * t.q.row(i).transpose(), p.of_key.head(i + 1)};
  for (Eigen::Index j = 0; j <= i; ++j) row.prior[j] += p.of_distance[i - j];
  return row;
}

/// sum p log(p / pi), 0 log 0 = 0.
double divergence(const Vector& p, const Vector& pi) {
  double total = 0.0;
  for (Eigen::Index j = 0; j < p.size(); ++j) total += p[j] > 0.0 ? p[j] * std::log(p[j] / pi[j]) : 0.0;
  return total;
}

// p = softmax(z + log pi) minimises -<p, z> + KL(p, pi), and stays within e^(range of z) of the prior.
void add_transport_claims(const OneHead& head, const Tokens& t, const GoatTables& tables, std::uint64_t seed,
                          std::vector<Claim>& out) {
  const HeadPrior tables_here = tables_of(head, tables);
  RandomSequence random(seed, goat_stream, 2);
  double shortfall = -std::numeric_limits<double>::infinity(), reach = 0.0;
  for (const Eigen::Index i : {3, 15, 47}) {
    const Row row = draw_row(t, tables_here, i);
    const Vector pi = softmax(row.prior), p = map_row(tables.map, row.scores + row.prior).first;
    const auto objective = [&](const Vector& w) { return -w.dot(row.scores) + divergence(w, pi); };
    const double best = objective(p);
    for (int draw = 0; draw < 2000; ++draw) {
      Vector other = normal(random, p.size(), draw % 3 == 0 ? 3.0 : 0.1);  // anywhere, or near the solution
      if (draw % 3 != 0) other += row.scores + row.prior;
      shortfall = std::max(shortfall, best - objective(softmax(other)));
    }
    const double range = row.scores.maxCoeff() - row.scores.minCoeff();
    for (Eigen::Index j = 0; j < p.size(); ++j) {
      reach = std::max(reach, p[j] > 0.0 ? std::abs(std::log(p[j] / pi[j])) / range : 1e30);
    }
  }
  out.push_back({"objective - that of others, largest", litman, shortfall, 0.0});
  out.push_back({"|log(p / pi)| / range of z, largest", litman, reach, 1.0});
}

// A key whose logit exceeds all others by delta leaves them at most (n - 1) / (e^delta + n - 1).
Claim sink_claim(const OneHead& head, const Tokens& t, const GoatTables& tables) {
  HeadPrior prior = tables_of(head, tables);
  double worst = 0.0;
  for (const double lift : {2.0, 5.0, 9.0}) {
    for (Eigen::Index i = 1; i < tokens; ++i) {
      Row row = draw_row(t, prior, i);
      Vector logits = row.scores + row.prior;
      const double others = logits.tail(i).maxCoeff();
      logits[0] = others + lift;
      const double mass = map_row(tables.map, logits).first.tail(i).sum(), n = static_cast<double>(i);
      worst = std::max(worst, mass / (n / (std::exp(lift) + n)));
    }
  }
  return {"mass beside a sink / its bound, worst", litman, worst, 1.0 + 1e-12};
}

Claim gradient_claim(OneHead& head, const Tokens& t, const GoatTables& tables) {
  Matrix qkv(tokens, 3 * head_dim);
  qkv << t.q, t.k, t.v;
  constexpr std::int64_t n = 12;
  const Matrix few = qkv.topRows(n);
  const Tensor packed =
      Tensor::from({few.data(), static_cast<std::size_t>(few.size())}, {1, n, 3 * head_dim}, DType::f64, reference);
  std::vector<Tensor> inputs;
  for (const auto& p : head.prior.parameters()) inputs.push_back(p.parameter->var().value().clone());
  const auto f = [&](const std::vector<Var>& in) {
    const auto parameters = head.prior.parameters();
    for (std::size_t i = 0; i < in.size(); ++i) parameters[i].parameter->bind(in[i]);
    return autograd::attention(packed, {.scale = t.scale,
                                        .map = tables.map,
                                        .distance_prior = tables.of_distance(head.prior, n),
                                        .key_prior = tables.of_key(head.prior, n)});
  };
  return {"gradients of a, b, m and u", litman, autograd::gradcheck(f, inputs).worst, 1e-7};
}

}  // namespace

Findings goat_findings(std::uint64_t seed, const GoatTables& tables) {
  OneHead head(seed);
  const Tokens t = draw_tokens(seed);
  Findings out{
      .title = fmt::format("the prior of GOAT with made-up parameters: {} tokens, one head of {}", tokens, head_dim)};
  add_packing_claims(head, t, tables, out.claims);
  out.claims.push_back(silent_claim(seed, t, tables));
  add_recency_claims(seed, t, tables, out.claims);
  add_transport_claims(head, t, tables, seed, out.claims);
  out.claims.push_back(sink_claim(head, t, tables));
  out.claims.push_back(gradient_claim(head, t, tables));
  return out;
}

Examined examine_goat(std::uint64_t seed) {
  return {{goat_findings(seed)}, [] { return goat_svg(); }};
}

}  // namespace monge::tools
