#include "optim/matrix/matrix_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "optim/arithmetic.h"

namespace monge::optim {
namespace {

bool is_matrix(const Target& target) { return target.entry.role == nn::Role::matrix && target.entry.shape.rank() == 2; }

RuleContext part_of(const RuleContext& context, bool matrices) {
  RuleContext part = context;
  std::erase_if(part.targets, [&](const Target& target) { return is_matrix(target) != matrices; });
  return part;
}

/// A step has one rate, that of the matrices, or that of the others where the matrices stay as they are.
RuleContext matrix_context(const RuleContext& context) {
  RuleContext matrices = part_of(context, true);
  if (context.lr == 0.0) {
    for (Target& target : matrices.targets) target.lr_scale = 0.0;
  }
  return matrices;
}

RuleContext base_context(const RuleContext& context, const BaseOptions& options) {
  RuleContext base = part_of(context, false);
  base.lr = options.lr;
  if (context.lr > 0.0) {
    for (Target& target : base.targets) target.lr_scale *= options.lr / context.lr;
  }
  return base;
}

}  // namespace

void BaseOptions::fields(Fields& f) {
  f(rule, base_rules(), {.doc = "rule of the parameters that are not matrices: embeddings, head, gains, biases"},
    "name");
  f("lr", lr, {.doc = "its peak learning rate, to be tuned as well", .min = 0.0});
}

void MatrixRuleOptions::fields(Fields& f) {
  f("base", base, {.doc = "updates the parameters that are not matrices"});
  f("per_head", per_head, {.doc = "treat each head of W_q, W_k and W_v as a matrix of its own"});
}

std::vector<Matrix> matrices_of(const std::vector<Target>& targets, bool per_head) {
  std::vector<Matrix> out;
  for (const Target& target : targets) {
    const nn::ParameterStore::Entry& entry = target.entry;
    const std::int64_t cols = entry.shape[1];
    std::int64_t begin = entry.begin;
    const auto add = [&](std::string name, std::int64_t rows) {
      out.push_back({std::move(name), begin, rows, cols, target.lr_scale, target.weight_decay});
      begin += rows * cols;
    };
    if (entry.parts.empty()) add(entry.name, entry.shape[0]);
    for (const nn::Part& part : entry.parts) {
      const std::string name = fmt::format("{}.{}", entry.name, part.name);
      if (!per_head || part.heads == 1) {
        add(name, part.rows);
      } else {
        for (std::int64_t h = 0; h < part.heads; ++h) add(fmt::format("{}.{}", name, h), part.rows / part.heads);
      }
    }
  }
  return out;
}

MatrixRule::MatrixRule(std::string name, const MatrixRuleOptions& options, const RuleContext& context)
    : Rule(context),
      name_(std::move(name)),
      base_name_(options.base.rule.kind),
      base_lr_(options.base.lr),
      matrix_context_(matrix_context(context)),
      matrices_(matrices_of(matrix_context_.targets, options.per_head)),
      base_(base_rules().make(options.base.rule, base_context(context, options.base))) {
  if (matrices_.empty()) {
    throw KeyError("optimizer.name", fmt::format("{} is for matrices, and this model has none", name_));
  }
}

std::vector<std::string> MatrixRule::notes() const {
  const std::size_t tensors = matrix_targets().size();
  std::vector<std::string> out{
      fmt::format("{} updates the {} matrix tensors, at optimizer.lr = {}; {} the other {}, at optimizer.base.lr = {}",
                  name_, tensors, matrix_context_.lr, base_name_, context().targets.size() - tensors, base_lr_)};
  std::ranges::move(base_->notes(), std::back_inserter(out));
  return out;
}

void MatrixRule::add_state(std::size_t i, std::initializer_list<std::pair<const char*, Tensor>> named,
                           std::vector<NamedTensor>& out) const {
  for (const auto& [name, tensor] : named) {
    if (tensor.defined()) out.push_back({fmt::format("{}.{}.{}", name_, matrices_[i].name, name), tensor});
  }
}

Tensor MatrixRule::clipped_gradient(std::size_t i, const Step& step) const {
  return mul(matrices_[i].view(step.gradients), slot(step.control, Control::clip));
}

void MatrixRule::matrix_directions(const Step& step, const Tensor& u) {
  prepare(step);
  for (std::size_t i = 0; i < matrices_.size(); ++i)
    direction(i, step, clipped_gradient(i, step), matrices_[i].view(u));
  finish(step, u);
}

void MatrixRule::directions(const Step& step, const Tensor& u) {
  matrix_directions(step, u);
  base_->directions(step, u);
}

void MatrixRule::update(const Step& step) {
  const Tensor u = Tensor::zeros(store().values().shape(), store().values().dtype(), store().values().device());
  matrix_directions(step, u);
  if (moves(step.number)) apply_directions(matrix_context_, step, u, true);
  base_->update(step);
}

void MatrixRule::apply(const Step& step, const Tensor& u, bool decays) const {
  if (moves(step.number)) apply_directions(matrix_context_, step, u, decays);
  base_->apply(step, u, decays && !base_->handles_decay());
}

}  // namespace monge::optim
