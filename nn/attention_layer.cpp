#include "nn/attention_layer.h"

#include <cmath>

#include "core/backend.h"
#include "core/error.h"
#include "core/random_streams.h"

namespace monge::nn {
namespace {

/// Predictions in the floats of the outputs they are compared with.
Var as(const Tensor& outputs, const Var& predictions) { return autograd::cast(predictions, outputs.dtype()); }

}  // namespace

void AttentionLayerOptions::fields(Fields& f) {
  f("width", width, {.doc = "C, of the vectors", .min = 1, .max = 1 << 20});
  f("heads", heads, {.doc = "attention heads", .min = 1, .max = 1 << 16});
  f("kv_heads", kv_heads, {.doc = "heads of keys and values; 0: as many as heads", .min = 0, .max = 1 << 16});
  f("context", context, {.doc = "T, vectors of a sequence", .unit = "tokens", .min = 1, .max = 1 << 22});
  f("position", position, positions(), {.doc = "how the positions of vectors are known"});
  f("attention", attention, attentions(), {.doc = "how scores become weights"});
  f("bias", bias, {.doc = "biases in both projections"});
  f("causal", causal, {.doc = "each vector reads itself and the earlier ones; false: all of the sequence"});
}

void AttentionLayerOptions::check() const {
  if (width % heads != 0) {
    throw KeyError("heads", fmt::format("{} heads do not divide the width {}", heads, width));
  }
  if (kv_heads > 0 && heads % kv_heads != 0) {
    throw KeyError("kv_heads", fmt::format("{} heads of keys do not divide {} heads", kv_heads, heads));
  }
}

AttentionLayerModel::AttentionLayerModel(const AttentionLayerOptions& options)
    : Model(options.context, 1), options_(options) {
  options.check();
  const LayerContext layer{.width = options.width,
                           .heads = options.heads,
                           .kv_heads = options.kv_heads > 0 ? options.kv_heads : options.heads,
                           .layers = 1,
                           .context = options.context,
                           .reads = options.causal ? Reads::earlier : Reads::all,
                           .bias = options.bias,
                           .dropout = &dropout_,
                           .residual_stddev = 0.02};
  position_ = positions().make(options.position, layer);
  attention_ = attentions().make(options.attention, layer, *position_);
  add_module("position", *position_);
  add_module("attention", *attention_);
  for (const auto& [name, parameter] : attention_->parameters()) {
    if (parameter->role() != Role::matrix) continue;
    const auto rows = static_cast<double>(parameter->shape()[0]), columns = static_cast<double>(parameter->shape()[1]);
    const double bound = name == "out.weight" ? 1.0 / std::sqrt(columns) : std::sqrt(6.0 / (rows + columns));
    parameter->set_init(Init::uniform(-bound, bound));
  }
}

std::vector<BatchField> AttentionLayerModel::batch_fields() const {
  return {{"inputs", context(), options_.width}, {"outputs", context(), options_.width}};
}

Var AttentionLayerModel::hidden(const Batch& batch) {
  const Tensor& inputs = batch["inputs"];
  require(inputs.rank() == 3 && inputs.size(2) == options_.width, "[attention_layer] inputs must be (B, T, {}), got {}",
          options_.width, inputs.shape());
  const DType dtype = attention_->parameters().front().parameter->var().value().dtype();
  const Var x = position_->embed(autograd::cast(inputs, dtype), {});
  const Var y = options_.causal ? attention_->forward(x) : attention_->forward_with(x, {});
  if (!position_->applied()) {
    throw KeyError("model.position", fmt::format("attention kind {} does not apply position {}; allowed: none",
                                                 options_.attention.kind, options_.position.kind));
  }
  return y;
}

Var AttentionLayerModel::loss(const Batch& batch) {
  const Tensor& outputs = batch["outputs"];
  return autograd::mean_squared_error(as(outputs, hidden(batch)), outputs);
}

Var AttentionLayerModel::sampled_loss(const Batch& batch, const Random& random) {
  Random labels = random;
  labels.stream = label_stream;
  const Var predicted = as(batch["outputs"], hidden(batch));
  const Tensor drawn = Tensor::like(predicted.value());
  Backend& backend = drawn.backend();
  backend.normal({.x = drawn, .stddev = std::sqrt(0.5 * static_cast<double>(options_.width)), .random = labels});
  backend.add_scaled({.x = predicted.value(), .factor = 1.0, .y = drawn});
  return autograd::mean_squared_error(predicted, drawn);
}

void AttentionLayerModel::write_target_share(const Batch& batches, const Tensor& share) const {
  const std::int64_t vectors = batches["outputs"].numel() / options_.width;
  share.backend().fill({.x = share, .value = 1.0 / static_cast<double>(vectors)});
}

double AttentionLayerModel::flops_per_token() const {
  const auto keys = static_cast<double>(context()) * (options_.causal ? 0.5 : 1.0);
  return Model::flops_per_token() + 12.0 * static_cast<double>(options_.width) * keys;
}

}  // namespace monge::nn
