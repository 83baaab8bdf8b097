#include "nn/encoder_decoder.h"

#include <cmath>

namespace monge::nn {
namespace {

EncoderDecoderOptions completed(EncoderDecoderOptions options) {
  options.check();
  if (options.encoder_layers == 0) options.encoder_layers = options.layers;
  if (options.source_context == 0) options.source_context = options.context;
  return options;
}

}  // namespace

void EncoderDecoderOptions::fields(Fields& f) {
  f("encoder_layers", encoder_layers, {.doc = "blocks of the encoder; 0: as many as layers", .min = 0, .max = 10000});
  f("source_context", source_context,
    {.doc = "longest source; 0: as long as context", .unit = "tokens", .min = 0, .max = 1 << 22});
  f("packed", packed, {.doc = "reads sequences of several pairs (data.packed), which do not see each other"});
  TransformerOptions::fields(f);
}

EncoderDecoder::EncoderDecoder(const EncoderDecoderOptions& options, std::int64_t vocab)
    : Model(options.context, vocab, options.dropout), options_(completed(options)) {
  LayerContext encoder = options_.layer_context(dropout_), decoder = encoder;
  encoder.reads = Reads::all;
  encoder.context = options_.source_context;
  encoder.layers = options_.encoder_layers;
  encoder.residual_stddev = 0.02 / std::sqrt(2.0 * static_cast<double>(options_.encoder_layers));
  decoder.source = options_.source_context;
  decoder.residual_stddev = 0.02 / std::sqrt(3.0 * static_cast<double>(options_.layers));

  wte_ = std::make_unique<Embedding>(vocab, options_.width);
  encoder_ = std::make_unique<Transformer>(options_, encoder, options_.encoder_layers);
  decoder_ = std::make_unique<Transformer>(options_, decoder, options_.layers, /*cross=*/true);
  add_module("wte", *wte_);
  add_module("encoder", *encoder_);
  add_module("decoder", *decoder_);
  if (!options_.tied_head) {
    head_ = std::make_unique<Linear>(Linear::Options{.in = options_.width, .out = vocab, .role = Role::head});
    add_module("head", *head_);
  }
}

std::vector<BatchField> EncoderDecoder::batch_fields() const {
  const std::int64_t T = context(), S = options_.source_context;
  std::vector<BatchField> fields{{"tokens", T}, {"targets", T}, {"source", S}, {"source_segment", S}};
  if (options_.packed) fields.push_back({"segment", T});
  return fields;
}

Source EncoderDecoder::encode(const Batch& batch, bool recompute) const {
  const Tensor &source = batch["source"], &segments = batch["source_segment"];
  require(source.rank() == 2 && segments.shape() == source.shape(),
          "[encoder_decoder] source {} and source_segment {}; both are (B, S)", source.shape(), segments.shape());
  const KeySpans spans = autograd::spans_of(segments, segments);
  return {encoder_->forward(wte_->forward(source), {.of_tokens = spans}, recompute), segments};
}

Var EncoderDecoder::hidden(const Batch& batch) {
  const Tensor& tokens = batch["tokens"];
  require(tokens.rank() == 2, "[encoder_decoder] tokens must be (B, T), got {}", tokens.shape());
  Source source = encode(batch, recompute());
  const Tensor* const segment = batch.find("segment");
  const Tensor of_targets = segment ? *segment : Tensor::zeros(tokens.shape(), DType::i32, tokens.device());
  source.of_states = autograd::spans_of(of_targets, source.segments);
  if (segment) source.of_tokens = autograd::spans_of(of_targets, of_targets);
  return decoder_->forward(wte_->forward(tokens), source, recompute());
}

Var EncoderDecoder::head(const Var& hidden) {
  return autograd::linear(hidden, head_ == nullptr ? wte_->weight() : head_->weight());
}

std::unique_ptr<Cache> EncoderDecoder::make_cache(const CacheContext& context) const {
  return decoder_->make_cache(context, encode(context.given, false));
}

Var EncoderDecoder::next_logits(const Tensor& tokens, Cache& cache) {
  return head(last_token(decoder_->forward_cached(wte_->forward(tokens), cache)));
}

bool EncoderDecoder::is_multiplied(const Parameter& parameter) const {
  return Model::is_multiplied(parameter) || (head_ == nullptr && &parameter == &wte_->weight());
}

double EncoderDecoder::flops_per_token() const {
  double for_target = 0.0, for_source = 0.0;
  for (const auto& [name, parameter] : parameters()) {
    if (!is_multiplied(*parameter)) continue;
    const bool reads_source = name.starts_with("encoder.") || name.find(".cross_attention.kv.") != std::string::npos;
    (reads_source ? for_source : for_target) += static_cast<double>(parameter->shape().numel());
  }
  const auto C = static_cast<double>(options_.width), T = static_cast<double>(context());
  const auto S = static_cast<double>(options_.source_context), L = static_cast<double>(options_.layers);
  const auto L_e = static_cast<double>(options_.encoder_layers);
  return 6.0 * (for_target + for_source * S / T) + 6.0 * L * C * T + 12.0 * L * C * S + 12.0 * L_e * C * S * S / T;
}

}  // namespace monge::nn
