#include "nn/gpt.h"

#include <cmath>
#include <optional>

#include "core/error.h"
#include "nn/random_streams.h"

namespace monge::nn {

void GptOptions::fields(Fields& f) {
  f("layers", layers, {.doc = "blocks", .min = 1});
  f("heads", heads, {.doc = "query heads", .min = 1});
  f("kv_heads", kv_heads,
    {.doc = "key/value heads, each shared by heads / kv_heads query heads; 0: as many as heads", .min = 0});
  f("width", width, {.doc = "channels of the residual stream", .min = 1});
  f("context", context, {.doc = "longest sequence", .unit = "tokens", .min = 1});
  f("position", position, positions(), {.doc = "how a token's place is known"});
  f("norm", norm, norms(), {.doc = "normalisation"});
  f("mlp", mlp, mlps(), {.doc = "the part of a block that sees one token at a time"});
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

Gpt::Gpt(const GptOptions& options, std::int64_t vocab) : options_(options), vocab_(vocab) {
  require(vocab >= 1, "a model needs a vocabulary, got {} tokens", vocab);
  options_.check();
  dropout_.p = options.dropout;
  const LayerContext context{
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
  position_ = positions().make(options.position, context);
  add_module("position", *position_);
  embedding_dropout_ = std::make_unique<Dropout>(dropout_);
  for (std::int64_t i = 0; i < options.layers; ++i) {
    blocks_.push_back(monge::nn::blocks().make(options.block, context,
                                               {options.attention, options.mlp, options.norm, position_.get()}));
    add_module(fmt::format("blocks.{}", i), *blocks_.back());
  }
  norm_ = norms().make(options.norm, context);
  add_module("norm", *norm_);
  if (!options.tied_head) {
    head_ = std::make_unique<Linear>(Linear::Options{.in = options.width, .out = vocab, .role = Role::head});
    add_module("head", *head_);
  }
}

Var Gpt::hidden(const Tensor& tokens, Cache* cache) {
  require(tokens.rank() == 2, "[gpt] tokens must be (B, T), got {}", tokens.shape());
  const std::int64_t start = cache != nullptr ? cache->length : 0;
  require(start + tokens.size(1) <= options_.context, "[gpt] {} tokens after {} exceed the context of {}",
          tokens.size(1), start, options_.context);

  Residual x{embedding_dropout_->forward(position_->embed(wte_->forward(tokens), start)), {}};
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    LayerCache* layer_cache = cache != nullptr ? &cache->layers[i] : nullptr;
    if (recompute_ && cache == nullptr) {
      const auto run = [block = blocks_[i].get()](const std::vector<Var>& in) {
        const Residual out = block->forward({in[0], in[1]}, nullptr, 0);
        return std::vector<Var>{out.stream, out.branch};
      };
      const auto out = autograd::recompute(run, {x.stream, x.branch});
      x = {out[0], out[1]};
    } else {
      x = blocks_[i]->forward(x, layer_cache, start);
    }
  }
  if (cache != nullptr) cache->length += tokens.size(1);
  return norm_->forward(x.stream, x.branch).norm;
}

Var Gpt::head(const Var& hidden) { return autograd::linear(hidden, tied() ? wte_->weight() : head_->weight()); }

Var Gpt::forward(const Tensor& tokens, Cache* cache) { return head(hidden(tokens, cache)); }

Var Gpt::forward_last(const Tensor& tokens, Cache* cache) {
  const Var h = hidden(tokens, cache);
  const std::int64_t batch = h.size(0), length = h.size(1), width = h.size(2);
  const Tensor last = Tensor::empty({batch, width}, h.value().dtype(), h.value().device());
  for (std::int64_t b = 0; b < batch; ++b) {
    last.backend().copy({.from = h.value().flat_view((b * length + length - 1) * width, {width}), .to = last.flat_view(b * width, {width})});
  }
  return head(last);
}

Var Gpt::loss(const Tensor& tokens, const Tensor& targets) { return loss_of(tokens, targets, nullptr); }

Var Gpt::sampled_loss(const Tensor& tokens, const Tensor& targets, const Random& random) {
  return loss_of(tokens, targets, &random);
}

Var Gpt::loss_of(const Tensor& tokens, const Tensor& targets, const Random* labels) {
  const std::int64_t rows = tokens.numel();
  /// Of the logits of one chunk.
  const auto cross_entropy = [labels = labels != nullptr ? std::optional(*labels) : std::nullopt](
                                 const Var& logits, const Tensor& given, const Tensor& share, std::uint32_t chunk) {
    if (!labels) return autograd::cross_entropy(logits, given, share);
    Random random = *labels;
    random.stream = label_stream + chunk;
    const Tensor drawn = given.clone();
    drawn.backend().sample_targets({.logits = logits.value(), .random = random, .targets = drawn});
    return autograd::cross_entropy(logits, drawn, share);
  };
  if (head_chunk_ == 0 || rows <= head_chunk_) return cross_entropy(forward(tokens), targets, {}, 0);
  const Var h = hidden(tokens, nullptr), flat = autograd::reshape(h, {rows, h.shape().last()});
  const Tensor flat_targets = targets.reshape({rows});
  const Tensor share = Tensor::empty({1}, h.value().backend().default_float(), tokens.device());
  share.backend().target_share({.targets = flat_targets, .vocab = vocab_, .share = share});
  Var total;
  for (std::int64_t begin = 0; begin < rows; begin += head_chunk_) {
    const std::int64_t end = std::min(begin + head_chunk_, rows);
    const auto chunk = static_cast<std::uint32_t>(begin / head_chunk_);
    const auto of_chunk = [=, this, given = flat_targets.slice(begin, end)](const std::vector<Var>& in) {
      return std::vector<Var>{cross_entropy(head(in[0]), given, share, chunk)};
    };
    const Var part = autograd::recompute(of_chunk, {autograd::slice(flat, begin, end)})[0];
    total = total.defined() ? autograd::add(total, part) : part;
  }
  return total;
}

void Gpt::train(const Random& random) {
  dropout_.random = random;
  dropout_.random.stream = dropout_stream;
  dropout_.training = true;
}

Cache Gpt::make_cache(std::int64_t batch, DType dtype, Device device) const {
  const std::int64_t kv_heads = options_.kv_heads > 0 ? options_.kv_heads : options_.heads;
  const std::int64_t width = (options_.heads + 2 * kv_heads) * (options_.width / options_.heads);
  Cache cache;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    cache.layers.push_back({Tensor::zeros({batch, options_.context, width}, dtype, device)});
  }
  return cache;
}

double Gpt::flops_per_token(std::int64_t tokens) const {
  double products = 0.0;
  for (const auto& [name, parameter] : parameters()) {
    const bool lookup = parameter->role() == Role::embedding && !(tied() && name == "wte.weight");
    if (!lookup) products += static_cast<double>(parameter->shape().numel());
  }
  const double attention = static_cast<double>(options_.layers * options_.width) * static_cast<double>(tokens);
  return 6.0 * products + 6.0 * attention;
}

}  // namespace monge::nn
