// MatrixRule: the base class of rules that treat a matrix as a whole. They update the parameters of role `matrix` and
// leave the others (embedding, head, gains, biases) to a base rule with its own learning rate.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "optim/rule.h"

namespace monge::optim {

/// The rule for parameters that are not matrices.
struct BaseOptions : Options {
  Choice rule = base_rules().choose("adamw");
  double lr = 1e-3;
  void fields(Fields& f) override;
};

struct MatrixRuleOptions : Options {
  BaseOptions base;
  bool per_head = false;
  void fields(Fields& f) override;
};

/// A matrix (rows, cols) in the flat buffers: a parameter or part of one.
struct Matrix {
  std::string name;  // "blocks.0.attention.qkv.weight.q", with ".<head>" per head
  std::int64_t begin = 0, rows = 0, cols = 0;
  double lr_scale = 1.0;
  double weight_decay = 0.0;
  Shape shape() const { return {rows, cols}; }
  /// Its place in a flat tensor.
  Tensor view(const Tensor& flat) const { return flat.flat_view(begin, {rows, cols}); }
};

/// The matrices of these targets: each part of a stacked parameter is one, or each head of it.
std::vector<Matrix> matrices_of(const std::vector<Target>& targets, bool per_head);

class MatrixRule : public Rule {
 public:
  /// `name` is the prefix of the names of its state. Throws KeyError for a model without matrices.
  MatrixRule(std::string name, const MatrixRuleOptions& options, const RuleContext& context);

  void directions(const Step& step, const Tensor& u) final;
  void update(const Step& step) override;
  void apply(const Step& step, const Tensor& u, bool decays) const override;
  bool has_directions() const override { return base_->has_directions(); }
  double base_lr() const override { return base_lr_; }
  void begin(std::int64_t number) override { base_->begin(number); }
  bool samples(std::int64_t number) const override { return base_->samples(number); }
  void sampled(const SampledPass& pass) override {
    if (base_->samples(pass.number)) base_->sampled(pass);
  }
  bool averages() const override { return base_->averages(); }
  void write_average(const Tensor& values) const override { base_->write_average(values); }
  std::vector<NamedTensor> state() const override { return base_->state(); }
  /// Which parameters are whose, and at what rates.
  std::vector<std::string> notes() const override;

 protected:
  const std::vector<Matrix>& matrices() const { return matrices_; }
  /// The parameters that hold them.
  const std::vector<Target>& matrix_targets() const { return matrix_context_.targets; }
  const std::string& name() const { return name_; }
  /// Appends the state of matrix `i` to `out`, as "muon.blocks.0.mlp.up.weight.<name>"; undefined tensors are left out.
  void add_state(std::size_t i, std::initializer_list<std::pair<const char*, Tensor>> named,
                 std::vector<NamedTensor>& out) const;

  /// False for a step that only measures: then the matrices stay as they are, without decay too.
  virtual bool moves(std::int64_t number) const {
    (void)number;
    return true;
  }
  /// The gradient of matrix `i` (rows, cols), clipped, in new memory.
  Tensor clipped_gradient(std::size_t i, const Step& step) const;
  /// Once per step, before the directions, for work on all matrices together.
  virtual void prepare(const Step& step) { (void)step; }
  /// Writes the direction of matrix `i` into `u` (rows, cols), from its clipped gradient of the same shape, which it
  /// may overwrite.
  virtual void direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) = 0;
  /// Once per step, after the directions, which it may change in `u` (flat).
  virtual void finish(const Step& step, const Tensor& u) {
    (void)step;
    (void)u;
  }

 private:
  /// Those of the matrices.
  void matrix_directions(const Step& step, const Tensor& u);

  std::string name_, base_name_;
  double base_lr_;
  RuleContext matrix_context_;  // the targets that are matrices
  std::vector<Matrix> matrices_;
  std::unique_ptr<Rule> base_;
};

}  // namespace monge::optim
