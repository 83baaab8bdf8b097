// EncoderDecoder: an encoder whose tokens all see each other, and a decoder that reads its states by cross-attention
// (Vaswani et al. 2017), pre-norm, of the blocks of the registries. One table embeds source and target. Initialised
// like Gpt; in the decoder, whose blocks have three branches, projections onto the residual stream 0.02 / sqrt(3 L).
#pragma once

#include <memory>
#include <vector>

#include "nn/model.h"
#include "nn/transformer.h"

namespace monge::nn {

struct EncoderDecoderOptions : TransformerOptions {
  std::int64_t encoder_layers = 0;  // 0: as many as layers
  std::int64_t source_context = 0;  // 0: as long as context
  bool packed = false;

  void fields(Fields& f) override;
};

/// Reads beside tokens and targets i32 (B, T): source and source_segment i32 (B, S) and, if packed, segment i32 (B, T).
/// Tokens see those of their own segment alone (core/kernel/segments.h); without `segment` all targets are of segment
/// 0. What pads a source has another than any target.
class EncoderDecoder : public Model {
 public:
  EncoderDecoder(const EncoderDecoderOptions& options, std::int64_t vocab);

  std::vector<BatchField> batch_fields() const override;

  /// Encodes `context.given` once.
  std::unique_ptr<Cache> make_cache(const CacheContext& context) const override;
  using Model::next_logits;
  Var next_logits(const Tensor& tokens, Cache& cache) override;

  bool is_multiplied(const Parameter& parameter) const override;
  /// N_t are the parameters that are multiplied for every token of the target, N_s those for every token of the source,
  /// of which a sequence has S; a source of full length.
  double flops_per_token() const override;
  std::string flops_formula() const override { return "6 N_t + 6 N_s S/T + 6 L C T + 12 L C S + 12 L_e C S^2/T"; }

 protected:
  Var hidden(const Batch& batch) override;
  Var head(const Var& hidden) override;

 private:
  /// The source; which of its tokens a target sees is left open.
  Source encode(const Batch& batch, bool recompute) const;

  const EncoderDecoderOptions options_;  // no size left 0
  std::unique_ptr<Embedding> wte_;
  std::unique_ptr<Transformer> encoder_, decoder_;
  std::unique_ptr<Linear> head_;  // none when tied
};

}  // namespace monge::nn
