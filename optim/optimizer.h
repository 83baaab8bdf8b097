// Optimizer: gradient -> clip -> rule -> parameters, with a schedule and parameter groups, and transforms around the
// rule.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "optim/attention/attention_update.h"
#include "optim/rule.h"
#include "optim/schedule.h"
#include "optim/transform.h"

namespace monge::optim {

/// Settings for the parameters that a pattern or a role selects. The last group that matches wins.
struct GroupOptions : Options {
  std::string match = "*";     // shell-style pattern on the parameter's name
  std::string role;            // matrix | embedding | head | gain | bias, or empty: any
  double lr_scale = 1.0;       // times the scheduled rate
  double weight_decay = -1.0;  // -1: that of the optimizer for this role
  void fields(Fields& f) override;
};

/// One of the transforms around the rule.
struct TransformOptions : Options {
  Choice transform;
  void fields(Fields& f) override;
};

struct OptimizerOptions : Options {
  Choice rule = rules().choose("adamw");
  double lr = 1e-3;
  double weight_decay = 0.1;  // on matrices, embeddings and the head; gains and biases are not decayed
  double clip_norm = 1.0;     // 0: no clipping
  Choice schedule = schedules().choose("cosine");
  Choice attention = attention_updates().choose("backprop");  // of W_q and W_k
  std::vector<TransformOptions> transforms;                   // YAML: chain
  std::vector<GroupOptions> groups;
  void fields(Fields& f) override;
};

class Optimizer {
 public:
  /// For a run of `steps`. All state is created here; parameters whose group has a rate of 0 have none, and their
  /// gradients count as 0. Throws InputError when a group
  /// matches no parameter, the attention layers of `model` do not allow the update, or a transform does not go with the
  /// rule. Model and store outlive the optimizer.
  Optimizer(const OptimizerOptions& options, nn::Module& model, nn::ParameterStore& store, std::int64_t steps);

  /// Before the forward passes of step `step` (from 1).
  void begin(std::int64_t step) {
    rule_->begin(step);
    attention_->begin(step);
  }

  /// Whether step `step` needs a pass with targets drawn from the model before its gradients; sampled() follows that
  /// pass, with its gradients in the store and `share` (1), 1 / the number of targets drawn.
  bool samples(std::int64_t step) const { return rule_->samples(step); }
  void sampled(std::int64_t step, const Tensor& share);
  /// Forward and backward passes per step, on average over the run.
  double passes_per_step() const;

  /// Updates the parameters with the store's gradients, as step `step` (from 1). Does not wait for the device (but see
  /// fisher_cg): the gradient norm, and whether it is finite, stay in control(). A non-finite gradient changes no
  /// parameter and no state.
  void step(std::int64_t step) {
    prepare(step);
    apply(step);
  }
  /// The two halves of step(): upload of learning rate and step number, and kernel calls
  /// alone. A capture of apply() can stand for every step that repeats().
  void prepare(std::int64_t step);
  void apply(std::int64_t number);
  bool repeats(std::int64_t step) const;

  /// Of the parameters that are not left to a rule beside.
  double lr(std::int64_t step) const { return moves_ ? schedule_->lr(step) : 0.0; }
  /// Device scalars (Control::size), of the last step.
  const Tensor& control() const { return control_; }
  std::vector<NamedTensor> state() const;
  /// What users should know about these settings for this model, a sentence each.
  std::vector<std::string> notes() const;
  std::size_t state_bytes() const;
  /// All parameters with the settings of their groups.
  const std::vector<Target>& targets() const { return targets_; }

 private:
  friend class EvaluationWeights;
  /// The rule's step with the transforms around it, which see other gradients.
  void apply_transforms(const Step& step);
  /// Swaps the average in for the parameters, and back.
  void use_average(bool on);
  bool averages() const;

  nn::ParameterStore& store_;
  std::int64_t steps_;
  double clip_norm_;
  std::vector<Target> targets_;
  std::vector<Segment> frozen_;  // those of groups with a rate of 0
  bool moves_;                   // at a rate above 0
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<Rule> rule_;
  std::vector<std::unique_ptr<Transform>> transforms_;
  std::unique_ptr<AttentionUpdate> attention_;
  Tensor control_;
  Tensor trained_;  // the parameters in training, while the average takes their place; undefined without an average
};

/// While it lives, the model has the parameters at which it should be evaluated, sampled and saved: the average, if the
/// optimizer keeps one. A checkpoint is written and read within one, and then holds both.
class EvaluationWeights {
 public:
  explicit EvaluationWeights(Optimizer& optimizer) : optimizer_(optimizer) { optimizer_.use_average(true); }
  ~EvaluationWeights() { optimizer_.use_average(false); }
  EvaluationWeights(const EvaluationWeights&) = delete;
  EvaluationWeights& operator=(const EvaluationWeights&) = delete;

 private:
  Optimizer& optimizer_;
};

}  // namespace monge::optim
