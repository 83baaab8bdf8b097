// The layers that YAML chooses by name: interfaces and registries. A user's program adds to them before it
// reads a config:
//
//   nn::mlps().add<MyOptions>("mine", "what it is", [](const MyOptions& o, const nn::LayerContext& c) {
//     return std::make_unique<MyMlp>(o, c);
//   });
#pragma once

#include <memory>

#include "core/options/registry.h"
#include "nn/cache.h"
#include "nn/layers.h"

namespace monge::nn {

/// What a layer needs to know of the model it is made for.
struct LayerContext {
  std::int64_t width = 0;                // C
  std::int64_t heads = 0, kv_heads = 0;  // H, G
  std::int64_t layers = 0;               // L
  std::int64_t context = 0;              // largest T
  bool bias = false;
  DropoutState* dropout = nullptr;  // shared by the model
  double residual_stddev = 0.0;     // initial weights of projections onto the residual stream: 0.02 / sqrt(2 L)

  std::int64_t head_dim() const { return width / heads; }
};

/// x (B, T, C) -> (B, T, C), each token by itself.
class Mlp : public Module {
 public:
  virtual Var forward(const Var& x) = 0;
};
Registry<Mlp, const LayerContext&>& mlps();

/// Normalises the last dimension.
class Norm : public Module {
 public:
  virtual Var forward(const Var& x) = 0;
  /// x + residual and its normalised value; fused where the kind can.
  virtual autograd::SumAndNorm forward(const Var& x, const Var& residual) {
    const Var sum = autograd::add(x, residual);
    return {sum, forward(sum)};
  }
};
Registry<Norm, const LayerContext&>& norms();

/// How a model knows the positions of tokens.
class Position : public Module {
 public:
  /// Added to the token embeddings x (B, T, C) of positions start .. start + T.
  virtual Var embed(const Var& x, std::int64_t start) {
    (void)start;
    return x;
  }
  /// Applied to the packed projection qkv (B, T, (H + 2 G) D) before attention.
  virtual Var rotate(const Var& qkv, std::int64_t start) {
    (void)start;
    return qkv;
  }
  /// Whether `rotate` does anything. It has to be linear.
  virtual bool rotates() const { return false; }
  /// ALiBi slopes (H) on the given device, or none.
  virtual Tensor slopes(Device device) {
    (void)device;
    return {};
  }
};
Registry<Position, const LayerContext&>& positions();

/// Self-attention over the tokens of a sequence: x (B, T, C) -> (B, T, C).
class SelfAttention : public Module {
 public:
  /// With a cache (inference only): x are the tokens from `start` on, the cache holds those before and receives these.
  virtual Var forward(const Var& x, Cache* cache, std::int64_t start) = 0;
  /// An empty cache, of the layer's own type.
  virtual std::unique_ptr<Cache> make_cache(const CacheContext& context) const = 0;
};
/// `position` belongs to the model and outlives the layer.
Registry<SelfAttention, const LayerContext&, Position&>& attentions();

/// The residual stream between two blocks: `stream` (B, T, C) plus a branch that has not been added yet, so that the
/// addition and the next norm are one pass. `branch` may be undefined.
struct Residual {
  Var stream;
  Var branch;
};

/// One layer of the decoder.
class Block : public Module {
 public:
  /// The cache is as for SelfAttention.
  virtual Residual forward(const Residual& x, Cache* cache, std::int64_t start) = 0;
  virtual std::unique_ptr<Cache> make_cache(const CacheContext& context) const = 0;
};
struct BlockParts {
  Choice attention, mlp, norm;
  Position* position = nullptr;
};
Registry<Block, const LayerContext&, const BlockParts&>& blocks();

}  // namespace monge::nn
