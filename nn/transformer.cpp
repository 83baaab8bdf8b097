#include "nn/transformer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace monge::nn {

void TransformerOptions::fields(Fields& f) {
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

void TransformerOptions::check() const {
  if (width % heads != 0) {
    throw InputError(fmt::format("model.heads ({}) must divide model.width ({})", heads, width));
  }
  if (kv_heads > 0 && heads % kv_heads != 0) {
    throw InputError(fmt::format("model.kv_heads ({}) must divide model.heads ({})", kv_heads, heads));
  }
}

LayerContext TransformerOptions::layer_context(DropoutState& dropout_state) const {
  return {.width = width,
          .heads = heads,
          .kv_heads = kv_heads > 0 ? kv_heads : heads,
          .layers = layers,
          .context = context,
          .bias = bias,
          .dropout = &dropout_state,
          .residual_stddev = 0.02 / std::sqrt(2.0 * static_cast<double>(layers))};
}

struct Transformer::BlockCaches : Cache {
  std::vector<std::unique_ptr<Cache>> blocks;
  std::int64_t length = 0;  // tokens seen
};

Transformer::Transformer(const TransformerOptions& options, const LayerContext& layer, std::int64_t count, bool cross)
    : layer_(layer),
      attention_kind_(options.attention),
      position_kind_(options.position),
      cross_(cross),
      position_(positions().make(options.position, layer)),
      embedding_dropout_(std::make_unique<Dropout>(*layer.dropout)) {
  add_module("position", *position_);
  for (std::int64_t i = 0; i < count; ++i) {
    blocks_.push_back(
        blocks().make(options.block, layer, {options.attention, options.mlp, options.norm, position_.get(), cross}));
    add_module(fmt::format("blocks.{}", i), *blocks_.back());
  }
  norm_ = norms().make(options.norm, layer);
  add_module("norm", *norm_);
}

Var Transformer::embedded(const Var& x, const Places& places) {
  const std::int64_t counted = is_bounded() ? places.start : 0;  // towards the limit
  require(counted + x.size(1) <= layer_.context, "[transformer] {} tokens after {} exceed the context of {}", x.size(1),
          counted, layer_.context);
  return embedding_dropout_->forward(position_->embed(x, places));
}

bool Transformer::is_recurrent() const {
  return std::ranges::all_of(blocks_, [](const auto& block) { return block->is_recurrent(); });
}

Var Transformer::finished(const Residual& x) {
  if (!position_->applied()) {
    throw InputError(
        fmt::format("model.attention '{}' does not apply model.position '{}' (Position::rotate, Position::slopes, "
                    "Position::make_prior); choose position learned or none, or another attention",
                    attention_kind_.kind, position_kind_.kind));
  }
  return norm_->forward(x.stream, x.branch).norm;
}

Var Transformer::forward(const Var& x, const Source& source, bool recompute) {
  const bool reads_earlier_alone = !cross_ && layer_.reads == Reads::earlier;
  const auto run = [reads_earlier_alone](Block& block, const Residual& at, const Source& with) {
    return reads_earlier_alone ? block.forward(at) : block.forward_with(at, with);
  };
  Residual at{embedded(x, {.each = source.of_tokens.positions}), {}};
  for (const auto& block : blocks_) {
    if (!recompute) {
      at = run(*block, at, source);
      continue;
    }
    const auto again = [block = block.get(), run, source](const std::vector<Var>& in) {
      Source given = source;
      given.states = in[2];
      const Residual out = run(*block, {in[0], in[1]}, given);
      return std::vector<Var>{out.stream, out.branch};
    };
    const auto out = autograd::recompute(again, {at.stream, at.branch, source.states});
    at = {out[0], out[1]};
  }
  return finished(at);
}

std::unique_ptr<Cache> Transformer::make_cache(const CacheContext& context, const Source& source) const {
  auto caches = std::make_unique<BlockCaches>();
  for (const auto& block : blocks_) {
    caches->blocks.push_back(cross_ ? block->make_cache_with(context, source) : block->make_cache(context));
    if (caches->blocks.back() == nullptr) return nullptr;
  }
  return caches;
}

Var Transformer::forward_cached(const Var& x, Cache& cache) {
  auto& caches = dynamic_cast<BlockCaches&>(cache);
  Residual at{embedded(x, {.start = caches.length}), {}};
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    at = blocks_[i]->forward_cached(at, *caches.blocks[i], caches.length);
  }
  caches.length += x.size(1);
  return finished(at);
}

}  // namespace monge::nn
