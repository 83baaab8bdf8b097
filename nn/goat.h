// GOAT: a trained log-prior of causal attention (Litman & Guo 2026, "You Need Better Attention Priors",
// arXiv:2601.15380). For each key head, with i, j the positions of query and key,
//
//   log pi_ij = sum_r [a_r cos w_r (i - j) + b_r sin w_r (i - j)] - m (i - j) + u(j),    w_r = base^(-r / (R - 1)),
//   u(j) = gain mlp(f(j)) + first [j = 0],    f(j): cos and sin of M frequencies of j, j / length, ln(1 + j) / ln(1 +
//   length).
//
// Nothing depends on how long sequences are, so a model may read longer ones than it was trained on. The paper writes
// the recency term as + m j, a part of u: in a causal softmax that is the same, because the two differ by a number for
// each row. As a distance it is small where weights are large, and right for maps that a shift of the scores moves.
#pragma once

#include <string>
#include <vector>

#include "nn/registries.h"

namespace monge::nn {

struct GoatOptions : Options {
  std::int64_t frequencies = 4;      // R
  std::int64_t key_frequencies = 4;  // M
  double base = 10000.0;
  std::int64_t length = 2048;
  std::string start = "alibi";
  void fields(Fields& f) override;
};

class GoatPrior : public PositionPrior {
 public:
  GoatPrior(const GoatOptions& options, const LayerContext& context);

  Var of_distance(std::int64_t n, Device device) const override;
  Var of_key(std::int64_t n, Device device) const override;

 private:
  /// What does not change: rows for the positions 0 .. n - 1.
  struct Tables {
    std::int64_t n = 0;
    Tensor waves;     // (n, 2 R): cos, sin
    Tensor behind;    // (n, G): minus the distance
    Tensor features;  // (n, 2 M + 2)
    Tensor first;     // (n, 1)
    Tensor offset;    // (G): m = softplus(recency + offset)
    Tensor one;       // (1, 1)
  };
  const Tables& tables(std::int64_t n, Device device) const;
  /// (n, G) -> (H, n): each key head's column for the query heads that read it.
  Var by_head(const Var& x) const;

  const GoatOptions options_;
  const std::int64_t heads_, kv_heads_, context_;
  Parameter *cosine_ = nullptr, *sine_ = nullptr;  // (G, R): a, b; none where there are no frequencies
  Parameter& recency_;                             // (G)
  Parameter &up_, &up_bias_, &down_;               // (4, 2 M + 2), (4), (1, 4)
  Parameter &gain_, &first_;                       // (G)
  mutable Tables tables_;                          // made by the first call
};

/// The slopes of ALiBi (Press et al. 2022, arXiv:2108.12409), one for each head.
std::vector<double> alibi_slopes(std::int64_t heads);

}  // namespace monge::nn
