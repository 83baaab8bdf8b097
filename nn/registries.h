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

/// What the tokens of an attention layer attend to.
enum class Reads : std::uint8_t {
  earlier,  // themselves and those before them
  all,      // all tokens of their sequence
  source,   // the tokens of another sequence: cross-attention
};

/// What a layer needs to know of the model it is made for.
struct LayerContext {
  std::int64_t width = 0;                // C
  std::int64_t heads = 0, kv_heads = 0;  // H, G
  std::int64_t layers = 0;               // L
  std::int64_t context = 0;              // largest T
  Reads reads = Reads::earlier;
  std::int64_t source = 0;  // largest S of Reads::source
  bool bias = false;
  DropoutState* dropout = nullptr;  // shared by the model
  double residual_stddev = 0.0;     // initial weights of projections onto the residual stream: 0.02 / sqrt(branches)

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

/// The log-prior of an attention layer that a position brings along (core LogPrior), with parameters of the layer's
/// own.
class PositionPrior : public Module {
 public:
  /// Of the distances 0 .. n - 1 between query and key, and of the keys 0 .. n - 1: (H, n), f32 (reference: f64).
  virtual Var of_distance(std::int64_t n, Device device) const = 0;
  virtual Var of_key(std::int64_t n, Device device) const = 0;
};

/// Where tokens (B, T) stand: at start .. start + T - 1, or each where it says.
struct Places {
  std::int64_t start = 0;
  Tensor each = {};  // (B, T) i32, or none
};

/// How a model knows the positions of tokens. What acts on the embeddings is the model's business; rotations, slopes
/// and priors an attention layer has to apply, and a model notices one that does not.
class Position : public Module {
 public:
  /// Added to the token embeddings x (B, T, C), which stand at `places`.
  virtual Var embed(const Var& x, const Places& places) {
    (void)places;
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
  /// The log-prior of one causal attention layer, to be added to its scores, or null. The layer owns it.
  std::unique_ptr<PositionPrior> make_prior() {
    prior_made_ = true;
    return has_prior() ? prior_of_layer() : nullptr;
  }
  virtual bool rotates() const { return false; }
  virtual bool has_slopes() const { return false; }
  virtual bool has_prior() const { return false; }
  /// Whether only the positions of a training sequence have one, so that no cache can go beyond them.
  virtual bool is_bounded() const { return true; }
  /// Whether attention has asked for all that it must apply.
  bool applied() const {
    return (rotated_ || !rotates()) && (sloped_ || !has_slopes()) && (prior_made_ || !has_prior());
  }

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
  /// Called only if has_prior().
  virtual std::unique_ptr<PositionPrior> prior_of_layer() { return nullptr; }

 private:
  bool rotated_ = false, sloped_ = false, prior_made_ = false;
};
Registry<Position, const LayerContext&>& positions();

/// What an encoder hands to a decoder, and which tokens see which. Segments are those of core/kernel/segments.h.
struct Source {
  Var states = {};          // (B, S, C); undefined in an encoder, which reads its own tokens alone
  Tensor segments = {};     // (B, S) i32: of the states
  KeySpans of_states = {};  // the states that each token sees
  KeySpans of_tokens = {};  // the tokens that each token sees; none: all that LayerContext::reads allows
};

/// Attention of the tokens of a sequence, x (B, T, C) -> (B, T, C), to what its LayerContext says it reads. `forward`
/// is enough for a layer of decoders, to train, evaluate and sample. A layer with a cache samples faster, and has two
/// functions more (nn/cache_check.h tests them).
class Attention : public Module {
 public:
  /// Whole sequences, from position 0 on, each token reading the earlier ones.
  virtual Var forward(const Var& x) = 0;
  /// The same for Reads::all and Reads::source, and where tokens see a span of the earlier ones. By default throws
  /// InputError: the kind is one for decoders.
  virtual Var forward_with(const Var& x, const Source& source);
  /// Whether a state of constant size stands for the tokens before: its cache takes any number of them.
  virtual bool is_recurrent() const { return false; }
  /// An empty cache of the layer's own type. Null: it keeps none, and every token of a sample runs the window again.
  virtual std::unique_ptr<Cache> make_cache(const CacheContext& context) const;
  /// The same of a layer that reads a source, which is known from the start.
  virtual std::unique_ptr<Cache> make_cache_with(const CacheContext& context, const Source& source) const;
  /// For inference: x are the tokens from `start` on; the cache holds those before and receives these.
  virtual Var forward_cached(const Var& x, Cache& cache, std::int64_t start);
};
/// `position` belongs to the model and outlives the layer.
Registry<Attention, const LayerContext&, Position&>& attentions();

/// The residual stream between two blocks: `stream` (B, T, C) plus a branch that has not been added yet, so that the
/// addition and the next norm are one pass. `branch` may be undefined.
struct Residual {
  Var stream;
  Var branch;
};

/// One layer of a transformer.
class Block : public Module {
 public:
  virtual Residual forward(const Residual& x) = 0;
  /// As for Attention. A block that has cross-attention reads the source with it; its tokens read the earlier ones.
  virtual Residual forward_with(const Residual& x, const Source& source);
  virtual bool is_recurrent() const { return false; }
  virtual std::unique_ptr<Cache> make_cache(const CacheContext& context) const;
  virtual std::unique_ptr<Cache> make_cache_with(const CacheContext& context, const Source& source) const;
  virtual Residual forward_cached(const Residual& x, Cache& cache, std::int64_t start);
};
struct BlockParts {
  Choice attention, mlp, norm;
  Position* position = nullptr;
  bool cross = false;  // with cross-attention to a source of the LayerContext's size
};
Registry<Block, const LayerContext&, const BlockParts&>& blocks();

}  // namespace monge::nn
