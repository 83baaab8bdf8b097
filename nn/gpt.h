// Gpt: a pre-norm decoder of blocks from the registries (Radford et al. 2019, "Language Models are Unsupervised
// Multitask Learners"), with GPT-2 initialisation: normal(0, 0.02), projections onto the residual stream
// 0.02 / sqrt(2 L), biases zero, gains one.
#pragma once

#include <memory>
#include <vector>

#include "nn/model.h"
#include "nn/transformer.h"

namespace monge::nn {

struct GptOptions : TransformerOptions {};

class Gpt : public Model {
 public:
  Gpt(const GptOptions& options, std::int64_t vocab);

  /// Logits (B, T, V) of tokens i32 (B, T), T <= context.
  Var forward(const Tensor& tokens) { return logits({{"tokens", tokens}}); }
  /// loss() and sampled_loss() of tokens and targets i32 (B, T).
  using Model::loss;
  Var loss(const Tensor& tokens, const Tensor& targets) { return loss({{"tokens", tokens}, {"targets", targets}}); }
  using Model::sampled_loss;
  Var sampled_loss(const Tensor& tokens, const Tensor& targets, const Random& random) {
    return sampled_loss({{"tokens", tokens}, {"targets", targets}}, random);
  }

  std::unique_ptr<Cache> make_cache(const CacheContext& context) const override;
  /// None where all blocks are recurrent and positions have no end.
  std::optional<std::int64_t> cache_capacity() const override;
  using Model::next_logits;
  Var next_logits(const Tensor& tokens, Cache& cache) override;

  /// The table of a tied head is multiplied as well.
  bool is_multiplied(const Parameter& parameter) const override;
  /// The second term is the causal half of scores and weighted sums; of recurrent layers, what moves a state of C
  /// numbers on by a token: 6 operations a number forward and 11 backward.
  double flops_per_token() const override;
  std::string flops_formula() const override { return decoder_.is_recurrent() ? "6 N + 17 L C" : "6 N + 6 L C T"; }

 protected:
  Var hidden(const Batch& batch) override;
  Var head(const Var& hidden) override;

 private:
  const GptOptions options_;
  Embedding wte_;
  Transformer decoder_;
  std::unique_ptr<Linear> head_;  // none when tied
};

}  // namespace monge::nn
