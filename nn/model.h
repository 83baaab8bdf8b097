// Model: what a run trains, evaluates and samples from; `model.kind` in YAML names one. A program of one's own adds to
// them before it reads a config:
//
//   nn::models().add<MyOptions>("mine", "what it is", [](const MyOptions& o, std::int64_t vocab) {
//     return std::make_unique<MyModel>(o, vocab);
//   });
//
// A model gives hidden states and the head that makes logits of them; the loss, targets drawn from the predictions, and
// logits by chunks are made of these two.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/options/registry.h"
#include "nn/batch.h"
#include "nn/cache.h"
#include "nn/layers.h"

namespace monge::nn {

class Model : public Module {
 public:
  /// T, the tokens of a training sequence; V. `dropout`: probability at the sites made with `dropout_`.
  Model(std::int64_t context, std::int64_t vocab, double dropout = 0.0);

  std::int64_t context() const { return context_; }
  std::int64_t vocab() const { return vocab_; }

  /// What a batch must hold; `targets` always, unless it predicts something else.
  virtual std::vector<BatchField> batch_fields() const { return {{"tokens", context_}, {"targets", context_}}; }
  /// Whether what it predicts are tokens: then the loss is a cross-entropy, and one can sample from it.
  virtual bool predicts_tokens() const { return true; }
  /// What the loss is measured in, for people.
  virtual std::string loss_unit() const { return "nats per token"; }
  /// Mean cross-entropy of the targets in nats, shape (1).
  virtual Var loss(const Batch& batch) { return loss_of(batch, nullptr); }
  /// The same of targets drawn from the model's own predictions, at the positions that the targets do not leave out.
  /// `random`: seed and step, its stream is set here.
  virtual Var sampled_loss(const Batch& batch, const Random& random) { return loss_of(batch, &random); }
  /// Writes one over the number of targets that these batches count, all of the same size, into `share` (1).
  virtual void write_target_share(const Batch& batches, const Tensor& share) const;
  /// Logits (B, T, V) of the targets, which need not be in the batch.
  Var logits(const Batch& batch) { return head(hidden(batch)); }

  /// An empty cache for `context.batch` sequences, of which `context.given` holds the fields that the model reads
  /// beside the tokens. Null: the model keeps none, and each token of a sample costs a pass over the last T.
  virtual std::unique_ptr<Cache> make_cache(const CacheContext& context) const;
  /// How many tokens a cache takes; none: as many as one likes, as a recurrent state does.
  virtual std::optional<std::int64_t> cache_capacity() const { return context_; }
  /// Logits (B, V) of the token that comes next. `tokens` i32 (B, n), n <= T, follow those in the cache, which receives
  /// them. For inference only, of a model that makes a cache.
  virtual Var next_logits(const Tensor& tokens, Cache& cache);
  /// The same without a cache, by a pass over all tokens of the batch.
  Var next_logits(const Batch& batch) { return head(last_token(hidden(batch))); }

  /// Whether a parameter is multiplied for every token. A table that is only looked up is not.
  virtual bool is_multiplied(const Parameter& parameter) const { return parameter.role() != Role::embedding; }
  /// Floating-point operations of one trained token, forward and backward, in a sequence of T; N are the parameters
  /// that are multiplied. And the formula, for people.
  virtual double flops_per_token() const;
  virtual std::string flops_formula() const { return "6 N"; }

  /// Dropout on, drawing from `random` (its stream is set here), or off.
  void train(const Random& random);
  void eval() { dropout_.training = false; }
  /// Keep only what enters a block, and run each block again in backward.
  void set_recompute(bool on) { recompute_ = on; }
  /// The loss holds the logits of so many tokens at a time, and its backward computes them again; 0: of all, once.
  void set_head_chunk(std::int64_t tokens) { head_chunk_ = tokens; }
  std::int64_t head_chunk() const { return head_chunk_; }

 protected:
  /// What the head reads, (B, T, C).
  virtual Var hidden(const Batch& batch) = 0;
  /// (..., C) -> (..., V)
  virtual Var head(const Var& hidden) = 0;
  /// (B, n, C) -> (B, C), for inference only.
  static Var last_token(const Var& hidden);

  bool recompute() const { return recompute_; }
  DropoutState dropout_;

 private:
  Var loss_of(const Batch& batch, const Random* labels);

  const std::int64_t context_, vocab_;
  bool recompute_ = false;
  std::int64_t head_chunk_ = 0;
};

/// Registry `model.kind`: a model for a vocabulary. Making one takes no memory for parameters.
Registry<Model, std::int64_t>& models();

}  // namespace monge::nn
