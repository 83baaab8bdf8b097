#include "optim/optimizer.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "core/backend.h"
#include "core/error.h"
#include "optim/arithmetic.h"

namespace monge::optim {
namespace {

bool decays(nn::Role role) { return role != nn::Role::gain && role != nn::Role::bias; }

bool matches(const GroupOptions& group, const nn::ParameterStore::Entry& entry) {
  return (group.role.empty() || group.role == nn::name_of(entry.role)) &&
         fnmatch(group.match.c_str(), entry.name.c_str(), 0) == 0;
}

std::vector<Target> make_targets(const OptimizerOptions& options, const nn::ParameterStore& store) {
  std::vector<bool> used(options.groups.size(), false);
  std::vector<Target> out;
  for (const auto& entry : store.entries()) {
    Target target{entry, 1.0, decays(entry.role) ? options.weight_decay : 0.0};
    for (std::size_t g = 0; g < options.groups.size(); ++g) {
      const GroupOptions& group = options.groups[g];
      if (!matches(group, entry)) continue;
      used[g] = true;
      target.lr_scale = group.lr_scale;
      if (group.weight_decay >= 0.0) target.weight_decay = group.weight_decay;
    }
    out.push_back(std::move(target));
  }
  for (std::size_t g = 0; g < used.size(); ++g) {
    if (!used[g]) {
      throw InputError(fmt::format("optimizer.groups.{}: no parameter matches '{}'{}; `monge info` lists the names", g,
                                   options.groups[g].match,
                                   options.groups[g].role.empty() ? "" : " with role " + options.groups[g].role));
    }
  }
  return out;
}

}  // namespace

void GroupOptions::fields(Fields& f) {
  f("match", match, {.doc = "pattern on the parameter's name, with * and ?"});
  f("role", role,
    {.doc = "only parameters of this role; empty: any",
     .choices = {"", "matrix", "embedding", "head", "gain", "bias"}});
  f("lr_scale", lr_scale,
    {.doc = "learning rate of the group; 0: it stays as it is, and costs no state", .unit = "x lr", .min = 0.0});
  f("weight_decay", weight_decay, {.doc = "decay of the group; -1: that of the optimizer", .min = -1.0});
}

void TransformOptions::fields(Fields& f) { f(transform, transforms(), {.doc = "transform", .required = true}, "kind"); }

void OptimizerOptions::fields(Fields& f) {
  f(rule, rules(), {.doc = "update rule"}, "name");
  f("lr", lr, {.doc = "peak learning rate", .min = 0.0});
  f("weight_decay", weight_decay, {.doc = "decoupled decay of matrices, embeddings and the head", .min = 0.0});
  f("clip_norm", clip_norm, {.doc = "largest global gradient norm; 0: no clipping", .min = 0.0});
  f("schedule", schedule, schedules(), {.doc = "learning rate over the run"});
  f("attention", attention, attention_updates(), {.doc = "how W_q and W_k of the attention layers are updated"},
    "update");
  f("chain", transforms, {.doc = "transforms around the rule, in this order"});
  f("groups", groups, {.doc = "settings for some parameters; the last group that matches wins"});
}

Optimizer::Optimizer(const OptimizerOptions& options, nn::Module& model, nn::ParameterStore& store, std::int64_t steps)
    : store_(store),
      steps_(steps),
      clip_norm_(options.clip_norm),
      targets_(make_targets(options, store)),
      moves_(options.lr > 0.0),
      control_(Tensor::zeros({Control::size}, store.values().dtype(), store.values().device(), Pool::optimizer)) {
  RuleContext frozen{model, store, targets_, options.lr, steps}, context = frozen;
  std::erase_if(frozen.targets, [](const Target& target) { return target.lr_scale > 0.0; });
  std::erase_if(context.targets, [](const Target& target) { return target.lr_scale == 0.0; });
  if (context.targets.empty()) {
    throw InputError("optimizer.groups: every parameter has an lr_scale of 0, and nothing is left to train");
  }
  frozen_ = segments_of(frozen);
  rule_ = rules().make(options.rule, context);
  schedule_ = schedules().make(options.schedule, {.lr = moves_ ? options.lr : rule_->base_lr(), .steps = steps});
  bool needs_directions = false;
  auto averaging = static_cast<int>(rule_->averages());
  for (const TransformOptions& chosen : options.transforms) {
    transforms_.push_back(transforms().make(chosen.transform, context));
    if (transforms_.back()->handles_decay() && rule_->handles_decay()) {
      throw InputError(
          fmt::format("optimizer.chain: {} decides on weight decay, and so does optimizer.name: {}; use "
                      "one of them",
                      chosen.transform.kind, options.rule.kind));
    }
    needs_directions |= transforms_.back()->needs_directions() || transforms_.back()->changes_parameters();
    averaging += static_cast<int>(transforms_.back()->averages());
  }
  if (needs_directions && !rule_->has_directions()) {
    throw InputError(
        fmt::format("optimizer.chain: the steps of optimizer.name: {} are not along directions that a "
                    "transform could change; allowed with it: mars",
                    options.rule.kind));
  }
  if (averaging > 1) {
    throw InputError("optimizer.chain: the model can be evaluated at one average only; remove ema");
  }
  if (averaging > 0) trained_ = Tensor::like(store.values(), Pool::optimizer);

  std::vector<AttentionLayer> layers = attention_layers(model);
  for (AttentionLayer& layer : layers) {
    for (AttentionMatrix* matrix : {&layer.query, &layer.key}) {
      const auto target = std::ranges::find(targets_, matrix->rows.parameter,
                                            [](const Target& candidate) { return candidate.entry.parameter; });
      matrix->lr_scale = moves_ ? target->lr_scale : 0.0;
      matrix->weight_decay = target->weight_decay;
    }
  }
  attention_ = attention_updates().make(options.attention, layers);
  attention_->bind(store);
}

bool Optimizer::repeats(std::int64_t step) const {
  return rule_->repeats(step) && !rule_->samples(step) && attention_->repeats(step) &&
         std::ranges::all_of(transforms_, [step](const auto& transform) { return transform->repeats(step); });
}

double Optimizer::passes_per_step() const {
  std::int64_t extra = 0;
  for (std::int64_t step = 1; step <= steps_; ++step) extra += samples(step) ? 1 : 0;
  return 1.0 + static_cast<double>(extra) / static_cast<double>(std::max<std::int64_t>(1, steps_));
}

void Optimizer::prepare(std::int64_t step) {
  Backend& backend = control_.backend();
  const Tensor given = control_.slice(Control::lr, Control::step + 1);
  if (control_.dtype() == DType::f64) {
    const std::array<double, 2> host{schedule_->lr(step), static_cast<double>(step)};
    backend.copy_from_host({.from = host.data(), .to = given});
  } else {
    const std::array<float, 2> host{static_cast<float>(schedule_->lr(step)), static_cast<float>(step)};
    backend.copy_from_host({.from = host.data(), .to = given});
  }
}

void Optimizer::apply(std::int64_t number) {
  for (const Segment& s : frozen_) fill(s.view(store_.grads()), 0.0);
  control_.backend().clip_factor({.grads = store_.grads(), .max_norm = clip_norm_, .control = control_});
  const Step step(number, store_.grads(), control_);
  attention_->before_rule();
  if (transforms_.empty()) {
    rule_->update(step);
  } else {
    apply_transforms(step);
  }
  attention_->after_rule(step);
  for (const auto& transform : transforms_) transform->after(step);
}

void Optimizer::sampled(std::int64_t step, const Tensor& share) {
  const Tensor control = Tensor::like(control_);
  control.backend().clip_factor({.grads = store_.grads(), .max_norm = 0.0, .control = control});
  rule_->sampled({step, store_.grads(), control, share});
}

void Optimizer::apply_transforms(const Step& step) {
  const Tensor gradients = mul(step.gradients, slot(control_, Control::clip));
  const Step clipped(step.number, gradients, with_slot(control_, Control::clip, 1.0));
  const auto any = [this](bool (Transform::*has)() const) {
    return std::ranges::any_of(transforms_, [has](const auto& transform) { return ((*transform).*has)(); });
  };
  const bool directs = any(&Transform::needs_directions);
  Step raw = clipped;
  if (directs && any(&Transform::changes_gradients)) raw.gradients = gradients.clone();
  for (const auto& transform : transforms_) transform->change_gradients(clipped);
  if (!directs) {
    rule_->update(clipped);
  } else {
    const Tensor u = Tensor::zeros(gradients.shape(), gradients.dtype(), gradients.device());
    rule_->directions(clipped, u);
    bool decays = !rule_->handles_decay();
    for (const auto& transform : transforms_) {
      transform->change_directions(raw, u);
      decays = decays && !transform->handles_decay();
    }
    rule_->apply(clipped, u, decays);
  }
}

bool Optimizer::averages() const { return trained_.defined(); }

void Optimizer::use_average(bool on) {
  if (!averages()) return;
  if (on) {
    copy(store_.values(), trained_);
    const Tensor average = trained_.clone();
    rule_->write_average(average);
    for (const auto& transform : transforms_) transform->write_average(average);
    copy(average, store_.values());
  } else {
    copy(trained_, store_.values());
  }
  store_.refresh_copies();
}

std::vector<std::string> Optimizer::notes() const {
  std::vector<std::string> out = rule_->notes();
  std::ranges::move(schedule_->notes(), std::back_inserter(out));
  std::ranges::move(attention_->notes(), std::back_inserter(out));
  if (averages()) {
    out.push_back("the validation loss, samples and saved models are those of an average of the parameters");
  }
  if (const double passes = passes_per_step(); passes > 1.0) {
    out.push_back(fmt::format("the optimizer measures curvature: {:.2f} forward and backward passes per step", passes));
  }
  return out;
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> out = rule_->state();
  for (const auto& transform : transforms_) std::ranges::move(transform->state(), std::back_inserter(out));
  if (averages()) out.push_back({"trained", trained_});
  std::ranges::move(attention_->state(), std::back_inserter(out));
  return out;
}

std::size_t Optimizer::state_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : state()) bytes += tensor.bytes();
  return bytes;
}

}  // namespace monge::optim
