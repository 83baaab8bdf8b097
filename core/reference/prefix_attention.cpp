// Attention of one query by its definition: a softmax for every prefix of the tokens.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/reference/reference_backend.h"
#include "core/reference/vectors.h"

namespace monge {
namespace {

/// One query head of one sequence. The tokens before the first count as one more key, with the score `before_score` and
/// the value w / u.
class Prefixes {
 public:
  Prefixes(const kernel::PrefixAttention& a, std::int64_t b, std::int64_t h) : D(a.head_dim) {
    const std::int64_t g = h / (a.heads / a.kv_heads);
    const double* const q = a.q.data_as<double>() + h * D;
    for (std::int64_t j = 0; j < a.tokens; ++j) scores_.push_back(a.scale * inner(q, a.k.head<double>(b, j, g, D), D));
    before_value_.assign(static_cast<std::size_t>(D), 0.0);
    const double* const state = a.before ? a.before.data_as<double>() + (b * a.heads + h) * (D + 2) : nullptr;
    if (state == nullptr || state[1] == 0.0) return;
    before_score_ = state[0] + std::log(state[1]);
    add_to(before_value_.data(), 1.0 / state[1], state + 2, D);
  }

  double largest(std::int64_t i) const {
    return *std::max_element(scores_.begin(), scores_.begin() + i + 1,
                             [](double x, double y) { return x < y || std::isnan(y); });
  }
  /// The weights of tokens 0 .. i, then that of what came before them.
  std::vector<double> weights(std::int64_t i) const {
    std::vector<double> a(scores_.begin(), scores_.begin() + i + 1);
    a.push_back(before_score_);
    const double top = std::max(largest(i), before_score_);
    double total = 0.0;
    for (double& x : a) total += x = std::exp(x - top);
    for (double& x : a) x /= total;
    return a;
  }
  double before_score() const { return before_score_; }
  const double* before_value() const { return before_value_.data(); }
  double score(std::int64_t j) const { return scores_[static_cast<std::size_t>(j)]; }

 private:
  const std::int64_t D;
  std::vector<double> scores_, before_value_;
  double before_score_ = -INFINITY;
};

template <class F>
void for_each_head(const kernel::PrefixAttention& a, F f) {
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t h = 0; h < a.heads; ++h) f(b, h, h / (a.heads / a.kv_heads));
  }
}

}  // namespace

void ReferenceBackend::compute(const kernel::PrefixAttention& a) {
  const auto D = a.head_dim, T = a.tokens;
  for_each_head(a, [&](std::int64_t b, std::int64_t h, std::int64_t g) {
    const Prefixes prefixes(a, b, h);
    for (std::int64_t i = 0; i < T; ++i) {
      const auto weights = prefixes.weights(i);
      a.gate.data_as<double>()[(b * a.heads + h) * T + i] = weights[static_cast<std::size_t>(i)];
      double* const out = a.out.head<double>(b, i, h, D);
      std::fill_n(out, D, 0.0);
      add_to(out, weights.back(), prefixes.before_value(), D);
      for (std::int64_t j = 0; j <= i; ++j) {
        add_to(out, weights[static_cast<std::size_t>(j)], a.v.head<double>(b, j, g, D), D);
      }
    }
    if (!a.after) return;
    double* const state = a.after.data_as<double>() + (b * a.heads + h) * (D + 2);
    const double* const before = a.before ? a.before.data_as<double>() + (b * a.heads + h) * (D + 2) : nullptr;
    const double m_before = before != nullptr ? before[0] : -INFINITY;
    const double m = T > 0 ? std::max(m_before, prefixes.largest(T - 1)) : m_before;
    const double kept = std::isinf(m_before) ? 0.0 : std::exp(m_before - m);
    std::vector<double> sums(static_cast<std::size_t>(D) + 1, 0.0);  // u, w
    if (before != nullptr) add_to(sums.data(), kept, before + 1, D + 1);
    for (std::int64_t j = 0; j < T; ++j) {
      const double weight = std::exp(prefixes.score(j) - m);
      sums[0] += weight;
      add_to(sums.data() + 1, weight, a.v.head<double>(b, j, g, D), D);
    }
    state[0] = m;
    std::copy(sums.begin(), sums.end(), state + 1);
  });
}

// Row by row, as in attention: with u_ij = <dO_i, v_j>, ds_j = sum_i a_ij (u_ij - <dO_i, out_i>), dv_j = sum_i a_ij
// dO_i.
void ReferenceBackend::compute(const kernel::PrefixAttentionBackward& args) {
  const kernel::PrefixAttention& a = args.forward;
  const auto D = a.head_dim, T = a.tokens;
  if (!args.accumulate_q) compute(kernel::Fill{.x = args.dq});
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t j = 0; j < T; ++j) {
      std::fill_n(args.dk.head<double>(b, j, 0, D), a.kv_heads * D, 0.0);
      std::fill_n(args.dv.head<double>(b, j, 0, D), a.kv_heads * D, 0.0);
    }
  }
  for_each_head(a, [&](std::int64_t b, std::int64_t h, std::int64_t g) {
    const Prefixes prefixes(a, b, h);
    const double* const q = a.q.data_as<double>() + h * D;
    for (std::int64_t i = 0; i < T; ++i) {
      const auto weights = prefixes.weights(i);
      const double* const dout = args.dout.head<double>(b, i, h, D);
      const double mean = inner(dout, a.out.head<double>(b, i, h, D), D);
      for (std::int64_t j = 0; j <= i; ++j) {
        const double weight = weights[static_cast<std::size_t>(j)];
        const double ds = a.scale * weight * (inner(dout, a.v.head<double>(b, j, g, D), D) - mean);
        add_to(args.dv.head<double>(b, j, g, D), weight, dout, D);
        add_to(args.dk.head<double>(b, j, g, D), ds, q, D);
        add_to(args.dq.data_as<double>() + h * D, ds, a.k.head<double>(b, j, g, D), D);
      }
    }
  });
}

}  // namespace monge
