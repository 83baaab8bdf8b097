// Gpt: a pre-norm decoder of blocks from the registries (Radford et al. 2019, "Language Models are Unsupervised
// Multitask Learners"), with GPT-2 initialisation: normal(0, 0.02), projections onto the residual stream
// 0.02 / sqrt(2 L), biases zero, gains one.
#pragma once

#include <memory>
#include <vector>

#include "core/backend.h"
#include "nn/parameter_store.h"
#include "nn/registries.h"

namespace monge::nn {

struct GptOptions : monge::Options {
  std::int64_t layers = 4;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 0;  // 0: as many as heads
  std::int64_t width = 128;
  std::int64_t context = 64;
  Choice position = positions().choose("learned");
  Choice norm = norms().choose("layernorm");
  Choice mlp = mlps().choose("gelu");
  Choice attention = attentions().choose("softmax");
  Choice block = blocks().choose("prenorm");
  double dropout = 0.0;
  bool bias = false;
  bool tied_head = true;

  void fields(Fields& f) override;
  void check() const override;
};

/// The tokens that a generating model has seen.
struct Cache {
  std::vector<LayerCache> layers;
  std::int64_t length = 0;
};

class Gpt : public Module {
 public:
  Gpt(const GptOptions& options, std::int64_t vocab);

  /// Logits (B, T, V) of tokens i32 (B, T), T <= context. With a cache (inference only) the tokens follow those in it.
  Var forward(const Tensor& tokens, Cache* cache = nullptr);
  /// Logits (B, V) of the last position only.
  Var forward_last(const Tensor& tokens, Cache* cache = nullptr);
  /// Mean cross-entropy in nats of targets i32 (B, T), shape (1); -1 leaves a position out.
  Var loss(const Tensor& tokens, const Tensor& targets);
  /// The same of targets drawn from the model's own predictions, at the positions that `targets` does not leave out.
  /// `random`: seed and step, its stream is set here.
  Var sampled_loss(const Tensor& tokens, const Tensor& targets, const Random& random);

  /// Dropout on, drawing from `random` (its stream is set here), or off.
  void train(const Random& random);
  void eval() { dropout_.training = false; }
  /// Keep only the blocks' inputs and run each block again in backward.
  void set_recompute(bool on) { recompute_ = on; }
  /// loss() holds the logits of so many tokens at a time, and its backward computes them again; 0: of all, once.
  void set_head_chunk(std::int64_t tokens) { head_chunk_ = tokens; }
  std::int64_t head_chunk() const { return head_chunk_; }

  /// An empty cache for `batch` sequences.
  Cache make_cache(std::int64_t batch, DType dtype, Device device) const;

  const GptOptions& options() const { return options_; }
  std::int64_t vocab() const { return vocab_; }
  /// Floating-point operations of one trained token, forward and backward: 6 N + 6 L C T. N counts all parameters but
  /// the tables that are only looked up; the second term is the causal half of scores and weighted sums.
  double flops_per_token(std::int64_t tokens) const;

 private:
  Var hidden(const Tensor& tokens, Cache* cache);  // (B, T, C), normalised
  Var head(const Var& hidden);                     // (..., C) -> (..., V)
  Var loss_of(const Tensor& tokens, const Tensor& targets, const Random* labels);
  bool tied() const { return head_ == nullptr; }

  const GptOptions options_;
  const std::int64_t vocab_;
  DropoutState dropout_;
  bool recompute_ = false;
  std::int64_t head_chunk_ = 0;
  std::unique_ptr<Embedding> wte_;
  std::unique_ptr<Position> position_;
  std::unique_ptr<Dropout> embedding_dropout_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<Norm> norm_;
  std::unique_ptr<Linear> head_;  // none when tied
};

}  // namespace monge::nn
