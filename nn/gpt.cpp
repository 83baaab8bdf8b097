#include "nn/gpt.h"

#include <algorithm>
#include <cmath>

#include "core/backend.h"

namespace monge::nn {

void GptOptions::fields(Fields& f) {
  f("layers", layers, {.doc = "blocks", .min = 1, .max = 10000});
  f("heads", heads, {.doc = "query heads", .min = 1, .max = 1 << 16});
  f("kv_heads", kv_heads,
    {.doc = "key/value heads, each shared by heads / kv_heads query heads; 0: as many as heads", .min = 0});
  f("width", width, {.doc = "channels of the residual stream", .min = 1, .max = 1 << 20});
  f("context", context, {.doc = "longest sequence", .unit = "tokens", .min = 1, .max = 1 << 22});
  f("position", position, positions(), {.doc = "how the positions of tokens are known"});
  f("norm", norm, norms(), {.doc = "normalisation"});
  f("mlp", mlp, mlps(), {.doc = "the part of a block that treats each token by itself"});
  f("attention", attention, attentions(), {.doc = "how scores become weights"});
  f("block", block, blocks(), {.doc = "how norms, attention and mlp are put together"});
  f("dropout", dropout,
    {.doc = "of embeddings, attention weights and branches", .unit = "probability", .min = 0.0, .max = 0.95});
  f("bias", bias, {.doc = "biases in products and layer norms"});
  f("tied_head", tied_head, {.doc = "the head shares the token embedding's table"});
}

void GptOptions::check() const {
  if (width % heads != 0) {
    throw InputError(fmt::format("model.heads ({}) must divide model.width ({})", heads, width));
  }
  if (kv_heads > 0 && heads % kv_heads != 0) {
    throw InputError(fmt::format("model.kv_heads ({}) must divide model.heads ({})", kv_heads, heads));
  }
}

/// One cache for each block.
struct Gpt::TokenCache : Cache {
  std::vector<std::unique_ptr<Cache>> blocks;
  std::int64_t length = 0;  // tokens seen
};

Gpt::Gpt(const GptOptions& options, std::int64_t vocab)
    : Model(options.context, vocab, options.dropout), options_(options) {
  options_.check();
  const LayerContext layer{
      .width = options.width,
      .heads = options.heads,
      .kv_heads = options.kv_heads > 0 ? options.kv_heads : options.heads,
      .layers = options.layers,
      .context = options.context,
      .bias = options.bias,
      .dropout = &dropout_,
      .residual_stddev = 0.02 / std::sqrt(2.0 * static_cast<double>(options.layers)),
  };

  wte_ = std::make_unique<Embedding>(vocab, options.width);
  add_module("wte", *wte_);
  position_ = positions().make(options.position, layer);
  add_module("position", *position_);
  embedding_dropout_ = std::make_unique<Dropout>(dropout_);
  for (std::int64_t i = 0; i < options.layers; ++i) {
    blocks_.push_back(monge::nn::blocks().make(options.block, layer,
                                               {options.attention, options.mlp, options.norm, position_.get()}));
    add_module(fmt::format("blocks.{}", i), *blocks_.back());
  }
  norm_ = norms().make(options.norm, layer);
  add_module("norm", *norm_);
  if (!options.tied_head) {
    head_ = std::make_unique<Linear>(Linear::Options{.in = options.width, .out = vocab, .role = Role::head});
    add_module("head", *head_);
  }
}

Var Gpt::hidden(const Tensor& tokens, TokenCache* cache) {
  require(tokens.rank() == 2, "[gpt] tokens must be (B, T), got {}", tokens.shape());
  const std::int64_t start = cache != nullptr ? cache->length : 0;
  const std::int64_t counted = cache_capacity() ? start : 0;  // towards the limit
  require(counted + tokens.size(1) <= context(), "[gpt] {} tokens after {} exceed the context of {}", tokens.size(1),
          counted, context());

  Residual x{embedding_dropout_->forward(position_->embed(wte_->forward(tokens), start)), {}};
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (cache != nullptr) {
      x = blocks_[i]->forward_cached(x, *cache->blocks[i], start);
    } else if (recompute()) {
      const auto run = [block = blocks_[i].get()](const std::vector<Var>& in) {
        const Residual out = block->forward({in[0], in[1]});
        return std::vector<Var>{out.stream, out.branch};
      };
      const auto out = autograd::recompute(run, {x.stream, x.branch});
      x = {out[0], out[1]};
    } else {
      x = blocks_[i]->forward(x);
    }
  }
  if (!position_->applied()) {
    throw InputError(
        fmt::format("model.attention '{}' does not apply model.position '{}' (Position::rotate, Position::slopes); "
                    "choose position learned or none, or another attention",
                    options_.attention.kind, options_.position.kind));
  }
  if (cache != nullptr) cache->length += tokens.size(1);
  return norm_->forward(x.stream, x.branch).norm;
}

Var Gpt::head(const Var& hidden) { return autograd::linear(hidden, tied() ? wte_->weight() : head_->weight()); }

Var Gpt::next_logits(const Tensor& tokens, Cache& cache) {
  return head(last_token(hidden(tokens, &dynamic_cast<TokenCache&>(cache))));
}

std::unique_ptr<Cache> Gpt::make_cache(const CacheContext& context) const {
  auto cache = std::make_unique<TokenCache>();
  for (const auto& block : blocks_) {
    cache->blocks.push_back(block->make_cache(context));
    if (cache->blocks.back() == nullptr) return nullptr;
  }
  return cache;
}

bool Gpt::is_recurrent() const {
  return std::ranges::all_of(blocks_, [](const auto& block) { return block->is_recurrent(); });
}

std::optional<std::int64_t> Gpt::cache_capacity() const {
  return is_recurrent() && !position_->is_bounded() ? std::nullopt : Model::cache_capacity();
}

bool Gpt::is_multiplied(const Parameter& parameter) const {
  return Model::is_multiplied(parameter) || (tied() && &parameter == &wte_->weight());
}

double Gpt::flops_per_token() const {
  const double per_channel = is_recurrent() ? 17.0 : 6.0 * static_cast<double>(context());
  return Model::flops_per_token() + per_channel * static_cast<double>(options_.layers * options_.width);
}

}  // namespace monge::nn
