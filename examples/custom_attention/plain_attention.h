// Softmax attention spelled out in ops, with a cache: a starting point for an attention that is no map of rows.
//
//   out(softmax(q k^T / sqrt(D) + mask) v)         for each head
#pragma once

#include <monge.h>

#include <cmath>
#include <memory>
#include <vector>

namespace plain_attention {

using monge::Tensor;
using monge::autograd::Var;
namespace autograd = monge::autograd;
namespace nn = monge::nn;

class PlainAttention : public nn::Attention {
 public:
  PlainAttention(const nn::LayerContext& c, nn::Position& position)
      : heads_(c.heads),
        head_dim_(c.head_dim()),
        position_(position),
        qkv_({.in = c.width, .out = 3 * c.width, .bias = c.bias}),
        out_({.in = c.width, .out = c.width, .bias = c.bias, .stddev = c.residual_stddev}) {
    if (c.kv_heads != c.heads)
      throw monge::InputError("model.kv_heads: attention 'plain' wants as many as model.heads");
    add_module("qkv", qkv_);
    add_module("out", out_);
  }

  Var forward(const Var& x) override {
    const Heads heads = project(x, 0);
    return attend(heads, heads.k, heads.v, 0);
  }

  std::unique_ptr<nn::Cache> make_cache(const nn::CacheContext&) const override {
    return std::make_unique<KeysAndValues>();
  }
  Var forward_cached(const Var& x, nn::Cache& cache, std::int64_t start) override {
    auto& seen = dynamic_cast<KeysAndValues&>(cache);
    const Heads heads = project(x, start);
    seen.k = seen.k.defined() ? autograd::concat({seen.k, heads.k}, 1) : heads.k;
    seen.v = seen.v.defined() ? autograd::concat({seen.v, heads.v}, 1) : heads.v;
    return attend(heads, seen.k, seen.v, start);
  }

 private:
  struct Heads {
    Var q, k, v;  // (B H, T, D) each
    std::int64_t batch;
  };
  struct KeysAndValues : nn::Cache {
    Var k, v;  // (B H, tokens so far, D)
  };

  Heads project(const Var& x, std::int64_t start) {
    const std::int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2);
    const Var qkv = position_.rotate(qkv_.forward(x), start);  // (B, T, 3 C)
    const auto part = [&](std::int64_t i) {
      const Var one = autograd::slice(qkv, -1, i * width, (i + 1) * width);
      const Var by_head = autograd::reshape(one, {batch, tokens, heads_, head_dim_});
      return autograd::reshape(autograd::transpose(by_head, 1, 2), {batch * heads_, tokens, head_dim_});
    };
    return {part(0), part(1), part(2), batch};
  }

  /// Queries from position `start` on against the keys and values of all positions so far.
  Var attend(const Heads& heads, const Var& k, const Var& v, std::int64_t start) {
    const std::int64_t tokens = heads.q.size(1), keys = k.size(1);
    const Var scores = autograd::scale(autograd::matmul(heads.q, k, false, true), 1.0 / std::sqrt(head_dim_));
    const Var weights = autograd::softmax(autograd::add(scores, mask(tokens, keys, start, scores.value())));
    const Var y = autograd::reshape(autograd::matmul(weights, v), {heads.batch, heads_, tokens, head_dim_});
    return out_.forward(autograd::reshape(autograd::transpose(y, 1, 2), {heads.batch, tokens, heads_ * head_dim_}));
  }

  /// (T, keys): 0 where a query may look, -1e30 where it may not.
  static Var mask(std::int64_t tokens, std::int64_t keys, std::int64_t start, const Tensor& like) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < tokens; ++i) {
      for (std::int64_t j = 0; j < keys; ++j) values.push_back(j <= start + i ? 0.0 : -1e30);
    }
    return Tensor::from(values, {tokens, keys}, like.dtype(), like.device());
  }

  std::int64_t heads_, head_dim_;
  nn::Position& position_;
  nn::Linear qkv_, out_;
};

inline void add_plain_attention() {
  nn::attentions().add<monge::NoOptions>(
      "plain", "softmax attention spelled out in ops",
      [](const monge::NoOptions&, const nn::LayerContext& c, nn::Position& position) {
        return std::make_unique<PlainAttention>(c, position);
      });
}

}  // namespace plain_attention
