// Transform: an element of `optimizer.chain`, around any rule. In the order of a step, it may change
//
//   gradients    after clipping, before the rule reads them     mars
//   directions   of the rule, before they are applied           cautious, cautious_decay, hyperball
//   parameters   after the step                                 hyperball, qk_clip
//
// and may keep an average of the parameters for evaluation (ema). Transforms run in the order of the list.
#pragma once

#include "optim/rule.h"

namespace monge::optim {

class Transform {
 public:
  explicit Transform(const RuleContext& context) : context_(context) {}
  virtual ~Transform() = default;
  Transform(const Transform&) = delete;
  Transform& operator=(const Transform&) = delete;

  /// All flat. But for after(), `step.gradients` are clipped, and step.control[clip] is 1. State and parameters change
  /// by `step` alone (Guarded); gradients and directions that are not finite are discarded.
  virtual void change_gradients(const Step& step) { (void)step; }
  /// Here `step.gradients` are those before any transform changed them.
  virtual void change_directions(const Step& step, const Tensor& u) {
    (void)step;
    (void)u;
  }
  /// At the end of a step, when W_q and W_k have been updated as well.
  virtual void after(const Step& step) { (void)step; }

  /// Whether it overrides change_gradients().
  virtual bool changes_gradients() const { return false; }
  /// Whether it overrides change_directions(), so that the rule must have directions.
  virtual bool needs_directions() const { return false; }
  /// Whether after() changes parameters, so that the rule must not keep others of its own.
  virtual bool changes_parameters() const { return false; }
  /// Whether it adds weight decay to the directions, or replaces it.
  virtual bool handles_decay() const { return false; }
  /// See Rule.
  virtual bool averages() const { return false; }
  virtual void write_average(const Tensor& values) const { (void)values; }

  virtual std::vector<NamedTensor> state() const { return {}; }
  virtual bool repeats(std::int64_t number) const {
    (void)number;
    return true;
  }

 protected:
  const RuleContext& context() const { return context_; }
  nn::ParameterStore& store() const { return context_.store; }

 private:
  RuleContext context_;
};

/// Registry `optimizer.chain`.
Registry<Transform, const RuleContext&>& transforms();

}  // namespace monge::optim
