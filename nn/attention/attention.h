// The attention layer: one class for every row map.
//
// A row map of a user's own program (core/row_map/row_map.h) becomes a kind in YAML, under the name of the map and with
// its settings as keys, by one line there:
//
//   nn::add_row_map<MyMap>(nn::attentions(), "what it is");
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/backend.h"
#include "core/row_map/custom.h"
#include "nn/registries.h"

namespace monge::nn {

/// What every kind of attention can be told.
struct AttentionOptions : Options {
  bool qk_norm = false;
  bool relative_prior = false;
  bool key_prior = false;
  void fields(Fields& f) override;
};

/// A bias that the kinds whose weights do not sum to one can add to the scores of each head.
struct HeadBias {
  std::vector<double> initial;  // one for each head, or one for all; empty: 0
  bool learned = false;
};

/// One forward call of a layer while training.
struct AttentionCall {
  Tensor x;                      // (B, T, C): what the queries are made of
  Tensor source;                 // (B, S, C): what keys and values are made of; x itself but for cross-attention
  kernel::Attention args;        // the call itself, queries and keys rotated where positions are
  Position* position = nullptr;  // which rotates them
};

/// Rows of a parameter that are W_q, W_k or W_v of a layer, and the parameter that holds their biases, if there are
/// any.
struct ProjectionRows {
  const Parameter* parameter = nullptr;
  std::int64_t first = 0, count = 0;
  const Parameter* bias = nullptr;
};

class QueryKeyNorm;

/// Is shown the forward calls of a layer, to gather statistics.
class AttentionObserver {
 public:
  virtual ~AttentionObserver() = default;
  virtual void observe(const AttentionCall& call) = 0;
};

/// Multi-head attention with grouped key/value heads (Vaswani et al. 2017; Ainslie et al. 2023, arXiv:2305.13245). The
/// map turns scores <q, k> / sqrt(D) + prior into weights. Cross-attention knows the positions of queries and keys from
/// what they are made of, and by its learned priors.
class RowMapAttention : public Attention {
 public:
  /// Throws KeyError when `bias` has neither one value nor one for each head.
  RowMapAttention(RowMap map, const AttentionOptions& options, const LayerContext& c, Position& position,
                  const HeadBias& bias = {});
  ~RowMapAttention() override;

  Var forward(const Var& x) override { return forward_with(x, {}); }
  Var forward_with(const Var& x, const Source& source) override;
  std::unique_ptr<Cache> make_cache(const CacheContext& context) const override;
  std::unique_ptr<Cache> make_cache_with(const CacheContext& context, const Source& source) const override;
  Var forward_cached(const Var& x, Cache& cache, std::int64_t start) override;

  /// From now on the gradients of W_q and W_k come from the damped natural gradient of each row; all others stay true.
  /// Throws std::invalid_argument for a map without a symmetric Jacobian.
  void set_row_damping(std::optional<RowDamping> damping);
  /// Shows every recorded forward call to `observer`, from now on, once. It must live until it is removed.
  void add_observer(AttentionObserver& observer);
  void remove_observer(AttentionObserver& observer) { std::erase(observers_, &observer); }

  const RowMap& map() const { return map_; }
  std::int64_t heads() const { return heads_; }
  std::int64_t kv_heads() const { return kv_heads_; }
  std::int64_t head_dim() const { return head_dim_; }
  bool has_qk_norm() const { return query_key_norm_ != nullptr; }
  /// W_q (H D, C), W_k and W_v (G D, C), and W_o (C, H D).
  ProjectionRows query_rows() const;
  ProjectionRows key_rows() const;
  ProjectionRows value_rows() const;
  const Parameter& output_weight() const { return out_.weight(); }
  const Position& position() const { return position_; }

 private:
  /// The packed projection with normalised heads and rotated queries and keys.
  Var place(const Var& qkv, std::int64_t start, bool trains_gain) const;
  Var attend_to_itself(const Var& x, const autograd::AttentionSpec& how);
  Var attend_to_source(const Var& x, const Var& states, const autograd::AttentionSpec& how);
  void show(const Var& x, const Var& source, const kernel::Attention& call);
  autograd::AttentionSpec spec(std::int64_t keys, Device device, const KeySpans& spans) const;
  bool crosses() const { return reads_ == Reads::source; }

  std::int64_t heads_, kv_heads_, head_dim_, context_;
  Reads reads_;
  RowMap map_;
  Position& position_;
  std::unique_ptr<PositionPrior> position_prior_;  // where the position has one
  std::unique_ptr<Linear> qkv_;                    // W_q, W_k and W_v on top of each other: ((H + 2 G) D, C)
  std::unique_ptr<Linear> q_, kv_;                 // or, in cross-attention, W_q alone and the other two
  Linear out_;
  std::unique_ptr<QueryKeyNorm> query_key_norm_;
  Dropout weight_dropout_;
  std::vector<double> head_bias_;        // (H) or empty
  mutable Tensor fixed_bias_;            // the same on the device, made by the first call
  Parameter* head_prior_ = nullptr;      // (H)
  Parameter* distance_prior_ = nullptr;  // (H, context)
  Parameter* key_prior_ = nullptr;       // (H, context)
  std::optional<RowDamping> row_damping_;
  std::vector<AttentionObserver*> observers_;
};

/// What YAML may say of a map: its settings, a bias if it takes one, and what every kind can be told.
template <RowMapStruct Map>
struct RowMapOptions : AttentionOptions {
  Map map;
  HeadBias head_bias;

  void fields(Fields& f) override {
    if constexpr (requires { map.fields(f); }) map.fields(f);
    if constexpr (requires { Map::bias_text; }) {
      f("bias", head_bias.initial, {.doc = Map::bias_text});
      f("learned_bias", head_bias.learned, {.doc = "a learned number for each head is added, 0 at the start"});
    }
    AttentionOptions::fields(f);
  }

  RowMap row_map() const {
    Map chosen = map;
    if constexpr (requires { chosen.take_bias(); }) {
      if (!head_bias.initial.empty()) chosen.take_bias();
    }
    if constexpr (std::is_constructible_v<RowMap, Map>) {
      return chosen;
    } else {
      return custom_row_map(chosen);
    }
  }
};

/// Adds a kind of attention with the name of the map.
template <RowMapStruct Map>
void add_row_map(Registry<Attention, const LayerContext&, Position&>& to, const std::string& doc) {
  using O = RowMapOptions<Map>;
  to.add<O>(Map::name, doc, [](const O& o, const LayerContext& c, Position& position) {
    return std::make_unique<RowMapAttention>(o.row_map(), o, c, position, o.head_bias);
  });
}

}  // namespace monge::nn
