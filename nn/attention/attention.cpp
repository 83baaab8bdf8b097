// The attention kinds that `model.attention` names. Every kind is a row map between scores and weights.
#include <cmath>

#include "core/backend.h"
#include "core/error.h"
#include "nn/registries.h"

namespace monge::nn {
namespace {

/// Multi-head self-attention with grouped key/value heads (Vaswani et al. 2017; Ainslie et al. 2023, arXiv:2305.13245).
class RowMapAttention : public SelfAttention {
 public:
  RowMapAttention(RowMap map, const LayerContext& c, Position& position)
      : heads_(c.heads),
        kv_heads_(c.kv_heads),
        head_dim_(c.head_dim()),
        map_(map),
        position_(position),
        qkv_({.in = c.width, .out = (c.heads + 2 * c.kv_heads) * c.head_dim(), .bias = c.bias}),
        out_({.in = c.width, .out = c.width, .bias = c.bias, .stddev = c.residual_stddev}),
        weight_dropout_(*c.dropout) {
    add_module("qkv", qkv_);
    add_module("out", out_);
  }

  Var forward(const Var& x, LayerCache* cache, std::int64_t start) override {
    const Var qkv = position_.rotate(qkv_.forward(x), start);
    if (cache != nullptr) return out_.forward(cached(qkv.value(), *cache, start));
    return out_.forward(autograd::attention(qkv, {.heads = heads_,
                                                  .kv_heads = kv_heads_,
                                                  .causal = true,
                                                  .scale = scale(),
                                                  .map = map_,
                                                  .slopes = position_.slopes(x.value().device()),
                                                  .dropout = weight_dropout_.p(),
                                                  .random = weight_dropout_.random()}));
  }

 private:
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(head_dim_)); }

  /// Queries of the new tokens against the keys and values of all tokens so far.
  Tensor cached(const Tensor& qkv, LayerCache& cache, std::int64_t start) const {
    const std::int64_t batch = qkv.size(0), tokens = qkv.size(1), width = qkv.size(2), context = cache.qkv.size(1);
    require(start + tokens <= context, "[attention] {} tokens after {} do not fit into a cache of {}", tokens, start,
            context);
    Backend& backend = qkv.backend();
    for (std::int64_t b = 0; b < batch; ++b) {
      backend.copy(qkv.slice(b, b + 1), cache.qkv.flat_view((b * context + start) * width, {1, tokens, width}));
    }
    const Tensor out = Tensor::empty({batch, tokens, heads_ * head_dim_}, qkv.dtype(), qkv.device());
    const std::int64_t stride = context * width;
    backend.attention({.batch = batch,
                       .queries = tokens,
                       .keys = start + tokens,
                       .heads = heads_,
                       .kv_heads = kv_heads_,
                       .head_dim = head_dim_,
                       .start = start,
                       .causal = true,
                       .scale = scale(),
                       .map = map_,
                       .slopes = position_.slopes(qkv.device()),
                       .dropout = 0.0,
                       .random = {},
                       .q = {qkv, 0, width, tokens * width},
                       .k = {cache.qkv, heads_ * head_dim_, width, stride},
                       .v = {cache.qkv, (heads_ + kv_heads_) * head_dim_, width, stride},
                       .out = {out, 0, heads_ * head_dim_, tokens * heads_ * head_dim_},
                       .row_stat = Tensor::empty({batch, heads_, tokens}, backend.default_float(), qkv.device())});
    return out;
  }

  std::int64_t heads_, kv_heads_, head_dim_;
  RowMap map_;
  Position& position_;
  Linear qkv_, out_;
  Dropout weight_dropout_;
};

}  // namespace

Registry<SelfAttention, const LayerContext&, Position&>& attentions() {
  static auto& registry = *[] {
    auto* r = new Registry<SelfAttention, const LayerContext&, Position&>("attention");
    r->add<NoOptions>("softmax", "weights exp(z) / sum exp(z)",
                      [](const NoOptions&, const LayerContext& c, Position& position) {
                        return std::make_unique<RowMapAttention>(RowMap{RowMapKind::softmax}, c, position);
                      });
    return r;
  }();
  return registry;
}

}  // namespace monge::nn
