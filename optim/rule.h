// Rule: how gradients become a change of parameters. One file per rule, with formula and source at its top or, where
// all elements are treated alike, in core/update_rule.
//
// A rule proposes directions u, and parameters change by
//
//   p = (1 - lr weight_decay) p - lr u
//
// with the rates and decays of the parameters' groups. That is what transforms (transform.h) work on. update() does all
// of it at once where that is faster.
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

/// A parameter that an optimizer updates, and what its groups say of it.
struct Target {
  nn::ParameterStore::Entry entry;
  double lr_scale = 1.0;
  double weight_decay = 0.0;
  /// Its place in a flat tensor.
  Tensor view(const Tensor& flat) const { return flat.flat_view(entry.begin, entry.shape); }
};

/// What a rule is made for. Model and store outlive the rule.
struct RuleContext {
  nn::Module& model;
  nn::ParameterStore& store;
  std::vector<Target> targets;  // in the order of the store
  double lr = 0.0;              // peak rate of the optimizer
  std::int64_t steps = 0;       // of the run
};

/// A step as rules see it. `gradients` and `control` are flat and of Control::size; control[clip] times the gradients
/// is what a rule reads.
struct Step {
  std::int64_t number = 1;  // from 1
  Tensor gradients;
  Tensor control;
};

/// What a pass over the batch of a step has left whose targets were drawn from the model's own predictions: the
/// Fisher matrix is the mean of the squares of such gradients (Martens 2014, arXiv:1412.1193).
struct SampledPass {
  std::int64_t number = 1;  // of the step
  Tensor gradients;         // flat, of the mean loss, not clipped
  Tensor share;             // (1): 1 / targets drawn
};

class Rule {
 public:
  explicit Rule(const RuleContext& context) : context_(context) {}
  virtual ~Rule() = default;
  Rule(const Rule&) = delete;
  Rule& operator=(const Rule&) = delete;

  /// Writes the directions into `u` (flat), at the places of the rule's targets, and updates the state. Under gradients
  /// that are not finite the directions do not count, and state may be lost.
  virtual void directions(const Step& step, const Tensor& u) = 0;
  /// False for a rule whose steps are more than the formula above: update() is all it has.
  virtual bool has_directions() const { return true; }
  /// Whether weight decay is part of the directions, and not to be applied again.
  virtual bool handles_decay() const { return false; }
  /// Updates the parameters, and the bf16 copies where there are.
  virtual void update(const Step& step);

  /// Before the forward passes of step `number`.
  virtual void begin(std::int64_t number) { (void)number; }
  /// Whether a sampled pass comes before the gradients of step `number`. Such a step does not repeat others.
  virtual bool samples(std::int64_t number) const {
    (void)number;
    return false;
  }
  /// After that pass.
  virtual void sampled(const SampledPass& pass) { (void)pass; }
  /// Whether step `number` makes the same kernel calls as every other step for which this holds, so that a recording of
  /// one can stand for all.
  virtual bool repeats(std::int64_t number) const {
    (void)number;
    return true;
  }

  /// Whether the model should be evaluated, sampled and kept at other values than those that it is trained at; and
  /// writes these into `values` (flat), at the places of the rule's targets.
  virtual bool averages() const { return false; }
  virtual void write_average(const Tensor& values) const { (void)values; }

  /// All state by the names a checkpoint gives it, created by the constructor. Restoring writes into these tensors.
  virtual std::vector<NamedTensor> state() const = 0;
  /// What a user should know of these settings for this model, a sentence each.
  virtual std::vector<std::string> notes() const { return {}; }
  const RuleContext& context() const { return context_; }

 protected:
  nn::ParameterStore& store() const { return context_.store; }
  /// A tensor of the optimizer's state, zero.
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
/// Those of them that treat every parameter, whatever its role: what the rules for matrices leave the others to.
Registry<Rule, const RuleContext&>& base_rules();

}  // namespace monge::optim
