// A language model without attention. Each layer keeps a running average of what it has seen, each forgetting half as
// fast as the layer below it, and a gate decides what is read of it:
//
//   m_t = a m_(t-1) + (1 - a) value(norm(x_t)),    x_t + out(silu(gate(norm(x_t))) * m_t)
//
// In training the averages of a whole sequence are one product with a triangular matrix. In generation the state m_t is
// all that is kept, so that a sample may be as long as one likes.
#pragma once

#include <monge.h>

#include <cmath>
#include <memory>
#include <vector>

namespace averages {

using monge::Tensor;
using monge::autograd::Var;
namespace autograd = monge::autograd;
namespace nn = monge::nn;

/// What YAML may say about it: model: {kind: averages, layers: 3, width: 64, context: 64, dropout: 0.0}
struct AveragesOptions : monge::Options {
  std::int64_t layers = 3, width = 64, context = 64;
  double dropout = 0.0;
  void fields(monge::Fields& f) override {
    f("layers", layers, {.doc = "layers, each with a running average", .min = 1, .max = 30});
    f("width", width, {.doc = "channels", .min = 1});
    f("context", context, {.doc = "training sequence", .unit = "tokens", .min = 1});
    f("dropout", dropout, {.doc = "of embeddings", .unit = "probability", .min = 0.0, .max = 0.95});
  }
};

class AveragesLayer : public nn::Module {
 public:
  AveragesLayer(std::int64_t width, double decay)
      : decay_(decay),
        norm_(nn::norms().make(nn::norms().choose("rmsnorm"), {.width = width})),
        value_({.in = width, .out = width}),
        gate_({.in = width, .out = width, .activation = monge::Activation::silu}),
        out_({.in = width, .out = width}) {
    add_module("norm", *norm_);
    add_module("value", value_);
    add_module("gate", gate_);
    add_module("out", out_);
  }

  /// x (B, T, C) -> (B, T, C). `state` (B, C), unless null, is the average before x and becomes the one after it.
  Var forward(const Var& x, Tensor* state) {
    const Var h = norm_->forward(x);
    return autograd::add(x, out_.forward(autograd::mul(gate_.forward(h), average(value_.forward(h), state))));
  }

 private:
  Var average(const Var& v, Tensor* state) const {
    const std::int64_t batch = v.size(0), tokens = v.size(1), width = v.size(2);
    // Time first, so that one product serves all sequences and channels: (T, T) times (T, B C).
    const Var by_time = autograd::reshape(autograd::transpose(v, 0, 1), {tokens, batch * width});
    Var m = autograd::matmul(constant(tokens, tokens, v.value(),
                                      [this](std::int64_t t, std::int64_t s) {
                                        return s > t ? 0.0 : (1.0 - decay_) * std::pow(decay_, t - s);
                                      }),
                             by_time);
    if (state != nullptr) {
      const Var fading =
          constant(tokens, 1, v.value(), [this](std::int64_t t, std::int64_t) { return std::pow(decay_, t + 1); });
      m = autograd::add(m, autograd::matmul(fading, Var(state->reshape({1, batch * width}))));
      *state = m.value().slice(tokens - 1, tokens).reshape({batch, width}).clone();
    }
    return autograd::transpose(autograd::reshape(m, {tokens, batch, width}), 0, 1);
  }

  template <class F>
  static Var constant(std::int64_t rows, std::int64_t columns, const Tensor& like, F element) {
    std::vector<double> values;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) values.push_back(element(r, c));
    }
    return Var(Tensor::from(values, {rows, columns}, like.dtype(), like.device()));
  }

  double decay_;
  std::unique_ptr<nn::Norm> norm_;
  nn::Linear value_, gate_, out_;
};

class AveragesModel : public nn::Model {
 public:
  AveragesModel(const AveragesOptions& o, std::int64_t vocab)
      : Model(o.context, vocab, o.dropout),
        width_(o.width),
        embedding_(vocab, o.width),
        embedding_dropout_(dropout_),
        norm_(nn::norms().make(nn::norms().choose("rmsnorm"), {.width = o.width})),
        head_({.in = o.width, .out = vocab, .role = nn::Role::head}) {
    add_module("embedding", embedding_);
    for (std::int64_t i = 0; i < o.layers; ++i) {
      layers_.push_back(std::make_unique<AveragesLayer>(o.width, 1.0 - std::exp2(-static_cast<double>(i + 1))));
      add_module(fmt::format("layers.{}", i), *layers_.back());
    }
    add_module("norm", *norm_);
    add_module("head", head_);
  }

  std::unique_ptr<nn::Cache> make_cache(const nn::CacheContext& c) const override {
    auto cache = std::make_unique<States>();
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      cache->of_layer.push_back(Tensor::zeros({c.batch, width_}, c.dtype, c.device));
    }
    return cache;
  }
  std::optional<std::int64_t> cache_capacity() const override { return std::nullopt; }
  Var next_logits(const Tensor& tokens, nn::Cache& cache) override {
    return head(last_token(hidden(tokens, &dynamic_cast<States&>(cache))));
  }

 protected:
  Var hidden(const nn::Batch& batch) override { return hidden(batch["tokens"], nullptr); }
  Var head(const Var& hidden) override { return head_.forward(hidden); }

 private:
  struct States : nn::Cache {
    std::vector<Tensor> of_layer;  // (B, C) each
  };

  Var hidden(const Tensor& tokens, States* states) {
    Var x = embedding_dropout_.forward(embedding_.forward(tokens));
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      x = layers_[i]->forward(x, states != nullptr ? &states->of_layer[i] : nullptr);
    }
    return norm_->forward(x);
  }

  std::int64_t width_;
  nn::Embedding embedding_;
  nn::Dropout embedding_dropout_;
  std::vector<std::unique_ptr<AveragesLayer>> layers_;
  std::unique_ptr<nn::Norm> norm_;
  nn::Linear head_;
};

/// Makes `model.kind: averages` known.
inline void add_averages() {
  nn::models().add<AveragesOptions>(
      "averages", "gated running averages instead of attention",
      [](const AveragesOptions& o, std::int64_t vocab) { return std::make_unique<AveragesModel>(o, vocab); });
}

}  // namespace averages
