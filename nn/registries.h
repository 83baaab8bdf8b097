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

/// How a model knows the positions of tokens. What acts on the embeddings is the model's business; rotations and slopes
/// an attention layer has to apply, and a model notices one that does not.
class Position : public Module {
 public:
  /// Added to the token embeddings x (B, T, C) of positions start .. start + T.
  virtual Var embed(const Var& x, std::int64_t start) {
    (void)start;
    return x;
  }
  /// Applied to the packed projection qkv (B, T, (H + 2 G) D) before attention.
  Var rotate(const Var& qkv, std::int64_t start) {
    rotated_ = true;
    return rotates() ? rotation_of(qkv, start) : qkv;
  }
  /// ALiBi slopes (H) on the given device, or none.
  Tensor slopes(Device device) {
    sloped_ = true;
    return has_slopes() ? slopes_on(device) : Tensor();
  }
  virtual bool rotates() const { return false; }
  virtual bool has_slopes() const { return false; }
  /// Whether only the positions of a training sequence have one, so that no cache can go beyond them.
  virtual bool is_bounded() const { return true; }
  /// Whether attention has asked for all that it must apply.
  bool applied() const { return (rotated_ || !rotates()) && (sloped_ || !has_slopes()); }

 protected:
  /// Linear in qkv. Called only if rotates().
  virtual Var rotation_of(const Var& qkv, std::int64_t start) {
    (void)start;
    return qkv;
  }
  /// Called only if has_slopes().
  virtual Tensor slopes_on(Device device) {
    (void)device;
    return {};
  }

 private:
  bool rotated_ = false, sloped_ = false;
};
Registry<Position, const LayerContext&>& positions();

/// Self-attention over the tokens of a sequence: x (B, T, C) -> (B, T, C). `forward` is enough to train, evaluate and
/// sample. A layer with a cache samples faster, and has the other two functions as well (nn/cache_check.h tests them).
class SelfAttention : public Module {
 public:
  /// Whole sequences, from position 0 on.
  virtual Var forward(const Var& x) = 0;
  /// Whether a state of constant size stands for the tokens before: its cache takes any number of them.
  virtual bool is_recurrent() const { return false; }
  /// An empty cache of the layer's own type. Null: it keeps none, and every token of a sample runs the window again.
  virtual std::unique_ptr<Cache> make_cache(const CacheContext& context) const;
  /// For inference: x are the tokens from `start` on; the cache holds those before and receives these.
  virtual Var forward_cached(const Var& x, Cache& cache, std::int64_t start);
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
  virtual Residual forward(const Residual& x) = 0;
  /// As for SelfAttention.
  virtual bool is_recurrent() const { return false; }
  virtual std::unique_ptr<Cache> make_cache(const CacheContext& context) const;
  virtual Residual forward_cached(const Residual& x, Cache& cache, std::int64_t start);
};
struct BlockParts {
  Choice attention, mlp, norm;
  Position* position = nullptr;
};
Registry<Block, const LayerContext&, const BlockParts&>& blocks();

}  // namespace monge::nn
