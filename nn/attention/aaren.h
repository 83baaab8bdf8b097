// Aaren, attention as a recurrence (Feng et al. 2024, "Attention as an RNN", arXiv:2405.13956): softmax attention with
// one learned query for all tokens.
#pragma once

#include <memory>

#include "nn/registries.h"

namespace monge::nn {

/// Every head has a query that is a parameter, in the place of one projected from each token. A score belongs to a key
/// alone, so the output is a running weighted mean of the values: its cost is linear in T, and a state of D + 2 numbers
/// for each head stands for all tokens before. Key/value heads may be shared by query heads. No position reaches the
/// scores, and no weight is dropped in training, since the weights never exist one by one.
class Aaren : public Attention {
 public:
  /// Throws KeyError for a position that the scores would have to apply.
  Aaren(const LayerContext& c, const Position& position);

  Var forward(const Var& x) override;
  bool is_recurrent() const override { return true; }
  std::unique_ptr<Cache> make_cache(const CacheContext& context) const override;
  Var forward_cached(const Var& x, Cache& cache, std::int64_t start) override;

  std::int64_t heads() const { return query_.shape()[0]; }
  std::int64_t kv_heads() const { return kv_heads_; }
  std::int64_t head_dim() const { return query_.shape()[1]; }

 private:
  double scale() const;

  std::int64_t kv_heads_;
  Parameter& query_;  // (H, D)
  Linear kv_, out_;   // W_k on top of W_v, (2 G D, C)
};

}  // namespace monge::nn
