// AttentionUpdate: how W_q and W_k of the attention layers are updated, beside the rule that updates everything. What
// `optimizer.attention` names:
//
//   backprop    like all other parameters
//   row         their gradients come from the damped natural gradient of each row of scores; a heuristic
//   fisher      natural gradient under the attention-local Fisher, by Kronecker factors
//   fisher_cg   the same under the exact Fisher, by conjugate gradients; for small models
//   scaled      a multiple of the rule's step: the control experiment for these two
//
// The last three replace the step that the base rule, whichever it is, has made of these two matrices.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/options/registry.h"
#include "core/safetensors.h"
#include "nn/attention/attention.h"
#include "nn/parameter_store.h"
#include "optim/rule.h"

namespace monge::optim {

/// W_q or W_k of a layer, and the settings of its parameter group.
struct AttentionMatrix {
  nn::ProjectionRows rows;
  double lr_scale = 1.0;
  double weight_decay = 0.0;

  std::int64_t size() const { return rows.count * rows.parameter->shape()[1]; }
  /// Where it begins in the flat buffers.
  std::int64_t begin(const nn::ParameterStore& store) const {
    return store.entry(*rows.parameter).begin + rows.first * rows.parameter->shape()[1];
  }
};

/// An attention layer of the model.
struct AttentionLayer {
  std::string name;  // "blocks.0.attention"
  nn::RowMapAttention* layer = nullptr;
  AttentionMatrix query, key;
  std::uint32_t index = 0;  // among all of the model
};

/// All attention layers below `model`.
std::vector<AttentionLayer> attention_layers(nn::Module& model);

/// What every update but backprop can be told.
struct AttentionUpdateOptions : Options {
  std::string match = "*";

  void fields(Fields& f) override;
  /// Those of `layers` whose names match; the others are left to the rule. Throws KeyError when there are layers and
  /// none matches.
  std::vector<AttentionLayer> chosen(const std::vector<AttentionLayer>& layers) const;
};

/// Throws KeyError, on behalf of `update`, for a model without attention layers: those that have a W_q.
void require_queries(const std::string& update, const std::vector<AttentionLayer>& layers);

/// The same, and for a map whose Jacobian is not symmetric.
void require_symmetric_maps(const std::string& update, const std::vector<AttentionLayer>& layers);

/// What asks for the attention-local Fisher, which key says so, and what else that key may say.
struct FisherUse {
  std::string key, who, allowed;
};

/// Throws KeyError for that key where a layer, or the model for want of layers, has none: its map must have a symmetric
/// Jacobian, and its queries and keys must not be normalised.
void require_fisher(const FisherUse& use, const std::vector<AttentionLayer>& layers);

class AttentionUpdate {
 public:
  virtual ~AttentionUpdate() = default;

  /// Allocates all state. The store outlives the update.
  virtual void bind(nn::ParameterStore& store) { (void)store; }
  /// Before the forward passes of step `step` (from 1), for observing the layers.
  virtual void begin(std::int64_t step) { (void)step; }
  /// Before and after the base rule of a step, which alone changes state and parameters (Guarded).
  virtual void before_rule() {}
  virtual void after_rule(const Step& step) { (void)step; }
  /// Whether step `step` makes the same kernel calls as every other step for which this holds, so that a capture of
  /// one can stand for all.
  virtual bool repeats(std::int64_t step) const {
    (void)step;
    return true;
  }
  /// State by the names a checkpoint gives it; restoring writes into these tensors.
  virtual std::vector<NamedTensor> state() const { return {}; }
  /// What users should know about it for this model, a sentence each; for `monge info`.
  virtual std::vector<std::string> notes() const { return {}; }
};

/// Registry `optimizer.attention`. A factory throws KeyError when the layers do not allow the update; they
/// outlive it.
Registry<AttentionUpdate, const std::vector<AttentionLayer>&>& attention_updates();

}  // namespace monge::optim
