// Rule: how gradients change the parameters; what `optimizer.name` names. One file per rule, with its formula and
// source at the top or, for elementwise rules, in core/update_rule.
//
// A rule proposes directions u, and parameters change by
//
//   p = (1 - lr weight_decay) p - lr u
//
// with the rates and decays of the parameters' groups. Transforms (transform.h) work on the directions. update() does
// all of it in one pass where that is faster.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/options/registry.h"
#include "core/safetensors.h"
#include "nn/parameter_store.h"

namespace monge::optim {

/// A parameter that an optimizer updates, and the settings of its group.
struct Target {
  nn::ParameterStore::Entry entry;
  double lr_scale = 1.0;
  double weight_decay = 0.0;
  /// Its place in a flat tensor.
  Tensor view(const Tensor& flat) const { return flat.flat_view(entry.begin, entry.shape); }
};

/// What a rule is constructed for. Model and store outlive the rule.
struct RuleContext {
  nn::Module& model;
  nn::ParameterStore& store;
  std::vector<Target> targets;  // in the order of the store
  double lr = 0.0;              // peak rate of the optimizer; where it is 0, steps have the rate of base_lr()
  std::int64_t steps = 0;       // of the run
};

/// Gradients, and the only way to change state and parameters by them: when they are not finite, nothing changes.
class Guarded {
 public:
  /// `control` (Control::size) knows whether they are finite.
  Guarded(const Tensor& g, const Tensor& control) : gradients(g), control_(control) {}

  /// m = decay m + (1 - decay) x.
  void update_average(const Tensor& m, double decay, const Tensor& x) const;
  /// to = x.
  void set(const Tensor& to, const Tensor& x) const;

  Tensor gradients;  // flat

 private:
  /// to = keep to + (1 - keep) x.
  void mix(const Tensor& to, double keep, const Tensor& x) const;

  Tensor control_;
  mutable Tensor guard_;  // control with a rate of 1 and no clipping, made when it is needed
};

/// A step as rules see it. The gradients are to be multiplied by control[clip].
struct Step : Guarded {
  Step(std::int64_t n, const Tensor& g, const Tensor& c) : Guarded(g, c), number(n), control(c) {}
  std::int64_t number;  // from 1
  Tensor control;       // (Control::size)
};

/// The result of an extra pass over the batch of a step, with targets drawn from the model's own predictions: the
/// Fisher matrix is the mean of the outer products of such gradients (Martens 2014, arXiv:1412.1193).
/// The gradients are those of the mean loss, not clipped.
struct SampledPass : Guarded {
  SampledPass(std::int64_t n, const Tensor& g, const Tensor& control, const Tensor& one_over)
      : Guarded(g, control), number(n), share(one_over) {}
  std::int64_t number;  // of the step
  Tensor share;         // (1): 1 / number of targets drawn
};

class Rule {
 public:
  explicit Rule(const RuleContext& context) : context_(context) {}
  virtual ~Rule() = default;
  Rule(const Rule&) = delete;
  Rule& operator=(const Rule&) = delete;

  /// Writes the directions of the rule's targets into `u` (flat) and updates the state, by `step` alone, so that it
  /// stays as it is when the gradients are not finite. The directions are discarded then.
  virtual void directions(const Step& step, const Tensor& u) = 0;
  /// False for a rule whose steps are not of the form above and that only has update().
  virtual bool has_directions() const { return true; }
  /// Whether weight decay is part of the directions.
  virtual bool handles_decay() const { return false; }
  /// Updates the parameters, and their bf16 copies if there are any.
  virtual void update(const Step& step);
  /// The second half of it: along the directions `u`, without decay where `decays` is false.
  virtual void apply(const Step& step, const Tensor& u, bool decays) const;
  /// Peak rate of the parameters that the rule leaves to another one; 0: there are none.
  virtual double base_lr() const { return 0.0; }

  /// Before the forward passes of step `number`.
  virtual void begin(std::int64_t number) { (void)number; }
  /// Whether step `number` needs a sampled pass before its gradients. Such a step does not repeat others.
  virtual bool samples(std::int64_t number) const {
    (void)number;
    return false;
  }
  /// After that pass.
  virtual void sampled(const SampledPass& pass) { (void)pass; }
  /// Whether step `number` makes the same kernel calls as every other step for which this holds, so that a capture of
  /// one can stand for all.
  virtual bool repeats(std::int64_t number) const {
    (void)number;
    return true;
  }

  /// Whether the model should be evaluated, sampled and saved at an average of its parameters, which write_average()
  /// writes into `values` (flat) for the rule's targets.
  virtual bool averages() const { return false; }
  virtual void write_average(const Tensor& values) const { (void)values; }

  /// All state by the names a checkpoint gives it, created by the constructor. Restoring writes into these tensors.
  virtual std::vector<NamedTensor> state() const = 0;
  /// What users should know about these settings for this model, a sentence each.
  virtual std::vector<std::string> notes() const { return {}; }
  const RuleContext& context() const { return context_; }

 protected:
  nn::ParameterStore& store() const { return context_.store; }
  /// A zero tensor in the optimizer's memory.
  Tensor make_state(const Shape& shape) const;

 private:
  RuleContext context_;
};

/// Changes the parameters of the targets by the formula above with u (flat), without decay where `decays` is false.
void apply_directions(const RuleContext& context, const Step& step, const Tensor& u, bool decays);

/// A contiguous range of the flat buffers that is updated with the same settings.
struct Segment {
  std::int64_t begin = 0, end = 0;  // elements
  double lr_scale = 1.0;
  double weight_decay = 0.0;
  /// Its place in a flat tensor; undefined stays undefined.
  Tensor view(const Tensor& flat) const { return flat.defined() ? flat.flat_view(begin, {end - begin}) : Tensor(); }
};
/// Neighbours with equal settings become one segment, the padding between them included.
std::vector<Segment> segments_of(const RuleContext& context);

/// One of the device scalars `control`, (1), and a copy of all of them with one changed.
Tensor slot(const Tensor& control, Control::Slot which);
Tensor with_slot(const Tensor& control, Control::Slot which, double value);

/// Registry `optimizer.name`.
Registry<Rule, const RuleContext&>& rules();
/// Those of them that can update any parameter, whatever its role; the base rules of matrix rules.
Registry<Rule, const RuleContext&>& base_rules();

}  // namespace monge::optim
