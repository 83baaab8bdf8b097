// Optimizer: gradient -> clip -> rule -> parameters, with a schedule and parameter groups.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "optim/attention_update.h"
#include "optim/rule.h"
#include "optim/schedule.h"

namespace monge::optim {

/// Settings for the parameters that a pattern or a role selects. The last group that matches wins.
struct GroupOptions : Options {
  std::string match = "*";     // shell-style pattern on the parameter's name
  std::string role;            // matrix | embedding | head | gain | bias, or empty: any
  double lr_scale = 1.0;       // times the scheduled rate
  double weight_decay = -1.0;  // -1: that of the optimizer for this role
  void fields(Fields& f) override;
};

struct OptimizerOptions : Options {
  Choice rule = rules().choose("adamw");
  double lr = 1e-3;
  double weight_decay = 0.1;  // on matrices, embeddings and the head; gains and biases are not decayed
  double clip_norm = 1.0;     // 0: no clipping
  Choice schedule = schedules().choose("cosine");
  Choice attention = attention_updates().choose("backprop");  // of W_q and W_k
  std::vector<GroupOptions> groups;
  void fields(Fields& f) override;
};

/// What the groups made of one parameter, for the start banner and `monge info`.
struct GroupedParameter {
  std::string name;
  double lr_scale;
  double weight_decay;
};

class Optimizer {
 public:
  /// All state is created here. Throws InputError when a group matches no parameter or the attention layers of `model`
  /// cannot be updated as asked. Model and store outlive the optimizer.
  Optimizer(const OptimizerOptions& options, nn::Module& model, nn::ParameterStore& store, std::int64_t steps);

  /// Before the forward passes of step `step` (from 1).
  void begin(std::int64_t step) { attention_->begin(step); }

  /// Updates the parameters with the store's gradients, as step `step` (from 1). Waits for nothing (but see
  /// fisher_cg): the norm and the verdict on its finiteness stay in control(). A non-finite gradient changes
  /// no parameter and no state of the rule.
  void step(std::int64_t step) {
    prepare(step);
    apply(step);
  }
  /// The two halves of step(): what the host tells the device, the rate and the number of the step, and kernel calls
  /// alone. A recording of apply() can stand for every step that repeats().
  void prepare(std::int64_t step);
  void apply(std::int64_t step);
  bool repeats(std::int64_t step) const { return attention_->repeats(step); }

  double lr(std::int64_t step) const { return schedule_->lr(step); }
  /// Device scalars (Control::size), of the last step.
  const Tensor& control() const { return control_; }
  std::vector<NamedTensor> state() const;
  /// What a user should know of these settings for this model, a sentence each.
  std::vector<std::string> notes() const { return attention_->notes(); }
  std::size_t state_bytes() const;
  const std::vector<GroupedParameter>& grouped() const { return grouped_; }

 private:
  nn::ParameterStore& store_;
  double clip_norm_;
  std::vector<GroupedParameter> grouped_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<Rule> rule_;
  std::unique_ptr<AttentionUpdate> attention_;
  Tensor control_;
};

}  // namespace monge::optim
