#include "nn/gpt.h"

namespace monge::nn {
namespace {

const GptOptions& checked(const GptOptions& options) {
  options.check();
  return options;
}

}  // namespace

Gpt::Gpt(const GptOptions& options, std::int64_t vocab)
    : Model(options.context, vocab, options.dropout),
      options_(checked(options)),
      wte_(vocab, options.width),
      decoder_(options, options.layer_context(dropout_), options.layers) {
  add_module("wte", wte_);
  add_module("", decoder_);
  if (!options.tied_head) {
    head_ = std::make_unique<Linear>(Linear::Options{.in = options.width, .out = vocab, .role = Role::head});
    add_module("head", *head_);
  }
}

Var Gpt::hidden(const Batch& batch) {
  const Tensor& tokens = batch["tokens"];
  require(tokens.rank() == 2, "[gpt] tokens must be (B, T), got {}", tokens.shape());
  return decoder_.forward(wte_.forward(tokens), {}, recompute());
}

Var Gpt::head(const Var& hidden) {
  return autograd::linear(hidden, head_ == nullptr ? wte_.weight() : head_->weight());
}

std::unique_ptr<Cache> Gpt::make_cache(const CacheContext& context) const { return decoder_.make_cache(context); }

Var Gpt::next_logits(const Tensor& tokens, Cache& cache) {
  return head(last_token(decoder_.forward_cached(wte_.forward(tokens), cache)));
}

std::optional<std::int64_t> Gpt::cache_capacity() const {
  return decoder_.is_bounded() ? Model::cache_capacity() : std::nullopt;
}

bool Gpt::is_multiplied(const Parameter& parameter) const {
  return Model::is_multiplied(parameter) || (head_ == nullptr && &parameter == &wte_.weight());
}

double Gpt::flops_per_token() const {
  const double per_channel = decoder_.is_recurrent() ? 17.0 : 6.0 * static_cast<double>(context());
  return Model::flops_per_token() + per_channel * static_cast<double>(options_.layers * options_.width);
}

}  // namespace monge::nn
