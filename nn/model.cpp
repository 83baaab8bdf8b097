#include "nn/model.h"

#include <algorithm>

#include "core/backend.h"
#include "core/random_streams.h"
#include "nn/attention_layer.h"
#include "nn/encoder_decoder.h"
#include "nn/gpt.h"

namespace monge::nn {

Model::Model(std::int64_t context, std::int64_t vocab, double dropout) : context_(context), vocab_(vocab) {
  require(vocab >= 1, "a model needs a vocabulary, got {} tokens", vocab);
  dropout_.p = dropout;
}

Var Model::loss_of(const Batch& batch, const Random* labels) {
  const Tensor& targets = batch["targets"];
  const std::int64_t rows = targets.numel();
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
  if (head_chunk_ == 0 || rows <= head_chunk_) return cross_entropy(logits(batch), targets, {}, 0);
  const Var h = hidden(batch), flat = autograd::reshape(h, {rows, h.shape().last()});
  const Tensor flat_targets = targets.reshape({rows});
  const Tensor share = Tensor::empty({1}, h.value().backend().default_float(), targets.device());
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

void Model::write_target_share(const Batch& batches, const Tensor& share) const {
  share.backend().target_share({.targets = batches["targets"], .vocab = vocab_, .share = share});
}

Var Model::last_token(const Var& hidden) {
  const std::int64_t batch = hidden.size(0), length = hidden.size(1), width = hidden.size(2);
  const Tensor last = Tensor::empty({batch, width}, hidden.value().dtype(), hidden.value().device());
  for (std::int64_t b = 0; b < batch; ++b) {
    last.backend().copy({.from = hidden.value().flat_view((b * length + length - 1) * width, {width}),
                         .to = last.flat_view(b * width, {width})});
  }
  return last;
}

std::unique_ptr<Cache> Model::make_cache(const CacheContext&) const { return nullptr; }
Var Model::next_logits(const Tensor&, Cache&) {
  throw std::logic_error("a model that makes a cache must have next_logits(tokens, cache) as well");
}

double Model::flops_per_token() const {
  double multiplied = 0.0;
  for (const auto& [name, parameter] : parameters()) {
    if (is_multiplied(*parameter)) multiplied += static_cast<double>(parameter->shape().numel());
  }
  return 6.0 * multiplied;
}

void Model::train(const Random& random) {
  dropout_.random = random;
  dropout_.random.stream = dropout_stream;
  dropout_.training = true;
}

Registry<Model, std::int64_t>& models() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Model, std::int64_t>("model");
    r->add<GptOptions>("gpt", "a decoder of attention and mlp blocks",
                       [](const GptOptions& o, std::int64_t vocab) { return std::make_unique<Gpt>(o, vocab); });
    r->add<EncoderDecoderOptions>(
        "encoder_decoder", "an encoder of the source, and a decoder that reads it",
        [](const EncoderDecoderOptions& o, std::int64_t vocab) { return std::make_unique<EncoderDecoder>(o, vocab); });
    r->add<AttentionLayerOptions>(
        "attention_layer", "one attention layer that learns vectors from vectors",
        [](const AttentionLayerOptions& o, std::int64_t) { return std::make_unique<AttentionLayerModel>(o); });
    return r;
  }());
  return registry;
}

}  // namespace monge::nn
