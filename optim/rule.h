// Rule: how gradients become a change of parameters. One file per rule, with formula and source at its top or, where
// all elements are treated alike, in core/update_rule.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/options/registry.h"
#include "core/safetensors.h"
#include "nn/parameter_store.h"

namespace monge::optim {

/// A contiguous range of the flat buffers that is updated with the same settings.
struct Segment {
  std::int64_t begin = 0, end = 0;  // elements
  double lr_scale = 1.0;
  double weight_decay = 0.0;
};

class Rule {
 public:
  virtual ~Rule() = default;
  /// Updates the parameters of the store from its gradients. `control`: see core Control.
  virtual void update(const Tensor& control) = 0;
  /// All state by the names a checkpoint gives it, created by the constructor. Restoring writes into these tensors.
  virtual std::vector<NamedTensor> state() const = 0;
};

/// Registry `optimizer.name`. The store outlives the rule.
Registry<Rule, nn::ParameterStore&, const std::vector<Segment>&>& rules();

}  // namespace monge::optim
