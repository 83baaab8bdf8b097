#include "nn/attention/aaren.h"

#include <cmath>

#include "core/error.h"

namespace monge::nn {
namespace {

/// What is left of the tokens seen so far.
struct PrefixStates : Cache {
  Tensor states;  // (B, H, D + 2) f32 (reference: f64)
};

}  // namespace

// The query starts as large as one that is projected from a normalised token.
Aaren::Aaren(const LayerContext& c, const Position& position)
    : kv_heads_(c.kv_heads),
      query_(add_parameter("query", {c.heads, c.head_dim()}, Role::embedding,
                           Init::normal(0.02 * std::sqrt(static_cast<double>(c.width))))),
      kv_({.in = c.width,
           .out = 2 * c.kv_heads * c.head_dim(),
           .bias = c.bias,
           .parts = {{"k", c.kv_heads * c.head_dim(), c.kv_heads}, {"v", c.kv_heads * c.head_dim(), c.kv_heads}}}),
      out_({.in = c.width, .out = c.width, .bias = c.bias, .stddev = c.residual_stddev}) {
  add_module("kv", kv_);
  add_module("out", out_);
  if (position.rotates() || position.has_slopes()) {
    throw KeyError("model.position",
                   "attention aaren has one query for all tokens, which stands at no position, so neither rope nor "
                   "alibi can be applied to its scores; choose learned or none, or another attention");
  }
}

double Aaren::scale() const { return 1.0 / std::sqrt(static_cast<double>(head_dim())); }

Var Aaren::forward(const Var& x) {
  return out_.forward(autograd::prefix_attention(query_, kv_.forward(x), kv_heads_, scale()));
}

std::unique_ptr<Cache> Aaren::make_cache(const CacheContext& context) const {
  auto cache = std::make_unique<PrefixStates>();
  cache->states = Tensor::zeros({context.batch, heads(), head_dim() + 2}, backend_of(context.device).default_float(),
                                context.device);
  return cache;
}

Var Aaren::forward_cached(const Var& x, Cache& cache, std::int64_t start) {
  const Tensor& states = dynamic_cast<PrefixStates&>(cache).states;
  kernel::PrefixAttention call =
      autograd::prefix_attention_call(query_.var().value(), kv_.forward(x).value(), kv_heads_, scale());
  if (start > 0) call.before = states;
  call.after = states;
  states.backend().prefix_attention(call);
  return out_.forward(call.out.data);
}

}  // namespace monge::nn
