// DirectedUpdate: what the natural updates of W_q and W_k share. Gradient -> momentum -> direction (by the derived
// class) -> a step with the norm of the base rule's, or limited by how much it changes the attention rows.
#pragma once

#include "optim/attention/attention_update.h"

namespace monge::optim {

struct DirectedOptions : AttentionUpdateOptions {
  double damping = 0.1;
  double momentum = 0.9;
  double graft = 1.0;
  double kl_clip = 0.0;
  void fields(Fields& f) override;
  void check() const override;
};

class DirectedUpdate : public AttentionUpdate {
 public:
  /// Throws KeyError for a model without attention layers, maps without a symmetric Jacobian and normalised queries and
  /// keys. `name` appears in messages and names of state.
  DirectedUpdate(std::string name, const DirectedOptions& options, const std::vector<AttentionLayer>& layers);

  void bind(nn::ParameterStore& store) override;
  void before_rule() override;
  void after_rule(const Step& step) override;
  std::vector<NamedTensor> state() const override;
  std::vector<std::string> notes() const override;

 protected:
  /// Sizes of one layer's W_q on top of W_k: ((H + G) D, C).
  struct Target {
    AttentionLayer at;
    std::int64_t H = 0, G = 0, D = 0, C = 0;
    Tensor momentum;  // ((H + G) D, C) or none
    Tensor before;    // the same: W_q and W_k before the base rule, during a step

    Shape shape() const { return {(H + G) * D, C}; }
    /// Its W_q on top of its W_k, ((H + G) D, C), in a tensor of its own.
    Tensor taken_from(const nn::ParameterStore& store, const Tensor& flat) const;
  };

  /// Makes the state of target `i`; its sizes are known.
  virtual void bind_target(std::size_t i) = 0;
  /// Once a step, before the directions.
  virtual void prepare(const Step& step) = 0;
  /// Writes into `v` the natural gradient of `gradient`, ((H + G) D, C) both.
  virtual void direction(std::size_t i, std::int64_t step, const Tensor& gradient, const Tensor& v) = 0;

  const std::vector<Target>& targets() const { return targets_; }
  DType dtype() const { return store_->values().dtype(); }
  Device device() const { return store_->values().device(); }
  /// "fisher.blocks.0.attention.<what>"
  std::string state_name(std::size_t i, const std::string& what) const;

 private:
  std::string name_;
  DirectedOptions options_;
  std::vector<Target> targets_;
  nn::ParameterStore* store_ = nullptr;
};

}  // namespace monge::optim
