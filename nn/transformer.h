// Transformer: pre-norm blocks from the registries, between embedded tokens and normalised hidden states. What `Gpt` is
// one of and `EncoderDecoder` two.
#pragma once

#include <memory>
#include <vector>

#include "nn/registries.h"

namespace monge::nn {

struct TransformerOptions : monge::Options {
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

  /// Of a stack of decoders: `layers` blocks of two branches each.
  LayerContext layer_context(DropoutState& dropout_state) const;
};

class Transformer : public Module {
 public:
  /// `count` blocks made for `layer`; `cross`: each with cross-attention.
  Transformer(const TransformerOptions& options, const LayerContext& layer, std::int64_t count, bool cross = false);

  /// x (B, T, C), the embeddings of the tokens without their positions -> (B, T, C), normalised. `source` is for
  /// cross-attention, or says what all tokens may read (Reads::all). `recompute`: keep only what enters a block.
  Var forward(const Var& x, const Source& source, bool recompute);

  /// One cache for each block, or null when a block makes none. With cross-attention: of the blocks and the source.
  std::unique_ptr<Cache> make_cache(const CacheContext& context, const Source& source = {}) const;
  /// The same of the tokens that follow those in the cache, which receives them.
  Var forward_cached(const Var& x, Cache& cache);
  /// Whether a state of constant size stands for the tokens before, in every block.
  bool is_recurrent() const;
  /// Whether a cache takes no more than the context.
  bool is_bounded() const { return !is_recurrent() || position_->is_bounded(); }

 private:
  struct BlockCaches;
  Var embedded(const Var& x, const Places& places);
  Var finished(const Residual& x);

  const LayerContext layer_;
  const Choice attention_kind_, position_kind_;
  const bool cross_;
  std::unique_ptr<Position> position_;
  std::unique_ptr<Dropout> embedding_dropout_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<Norm> norm_;
};

}  // namespace monge::nn
