#include "optim/optimizer.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "core/backend.h"
#include "core/error.h"

namespace monge::optim {
namespace {

bool decays(nn::Role role) { return role != nn::Role::gain && role != nn::Role::bias; }

bool matches(const GroupOptions& group, const nn::ParameterStore::Entry& entry) {
  return (group.role.empty() || group.role == nn::name_of(entry.role)) &&
         fnmatch(group.match.c_str(), entry.name.c_str(), 0) == 0;
}

std::vector<GroupedParameter> group_parameters(const OptimizerOptions& options, const nn::ParameterStore& store) {
  std::vector<bool> used(options.groups.size(), false);
  std::vector<GroupedParameter> out;
  for (const auto& entry : store.entries()) {
    GroupedParameter p{entry.name, 1.0, decays(entry.role) ? options.weight_decay : 0.0};
    for (std::size_t g = 0; g < options.groups.size(); ++g) {
      const GroupOptions& group = options.groups[g];
      if (!matches(group, entry)) continue;
      used[g] = true;
      p.lr_scale = group.lr_scale;
      if (group.weight_decay >= 0.0) p.weight_decay = group.weight_decay;
    }
    out.push_back(std::move(p));
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

/// Neighbours with equal settings become one segment.
std::vector<Segment> segments_of(const std::vector<GroupedParameter>& grouped, const nn::ParameterStore& store) {
  std::vector<Segment> out;
  const auto& entries = store.entries();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    // The padding after a parameter belongs to it: its gradient is zero, so it stays zero.
    const std::int64_t end = i + 1 < entries.size() ? entries[i + 1].begin : store.flat_size();
    const bool same = !out.empty() && out.back().lr_scale == grouped[i].lr_scale &&
                      out.back().weight_decay == grouped[i].weight_decay;
    if (same) {
      out.back().end = end;
    } else {
      out.push_back({entries[i].begin, end, grouped[i].lr_scale, grouped[i].weight_decay});
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
  f("lr_scale", lr_scale, {.doc = "learning rate of the group", .unit = "x lr", .min = 0.0});
  f("weight_decay", weight_decay, {.doc = "decay of the group; -1: that of the optimizer", .min = -1.0});
}

void OptimizerOptions::fields(Fields& f) {
  f(rule, rules(), {.doc = "update rule"}, "name");
  f("lr", lr, {.doc = "peak learning rate", .min = 0.0});
  f("weight_decay", weight_decay, {.doc = "decoupled decay of matrices, embeddings and the head", .min = 0.0});
  f("clip_norm", clip_norm, {.doc = "largest global gradient norm; 0: no clipping", .min = 0.0});
  f("schedule", schedule, schedules(), {.doc = "learning rate over the run"});
  f("attention", attention, attention_updates(), {.doc = "how W_q and W_k of the attention layers are updated"},
    "update");
  f("groups", groups, {.doc = "settings for some parameters; the last group that matches wins"});
}

Optimizer::Optimizer(const OptimizerOptions& options, nn::Module& model, nn::ParameterStore& store, std::int64_t steps)
    : store_(store),
      clip_norm_(options.clip_norm),
      grouped_(group_parameters(options, store)),
      schedule_(schedules().make(options.schedule, {.lr = options.lr, .steps = steps})),
      rule_(rules().make(options.rule, store, segments_of(grouped_, store))),
      control_(Tensor::zeros({Control::size}, store.values().dtype(), store.values().device(), Pool::optimizer)) {
  std::vector<AttentionLayer> layers = attention_layers(model);
  for (AttentionLayer& layer : layers) {
    const auto projection = std::ranges::find(grouped_, layer.name + ".qkv.weight", &GroupedParameter::name);
    layer.lr_scale = projection->lr_scale;
    layer.weight_decay = projection->weight_decay;
  }
  attention_ = attention_updates().make(options.attention, layers);
  attention_->bind(store);
}

void Optimizer::prepare(std::int64_t step) {
  Backend& backend = control_.backend();
  const Tensor given = control_.slice(Control::lr, Control::step + 1);
  if (control_.dtype() == DType::f64) {
    const std::array<double, 2> host{lr(step), static_cast<double>(step)};
    backend.copy_from_host(host.data(), given);
  } else {
    const std::array<float, 2> host{static_cast<float>(lr(step)), static_cast<float>(step)};
    backend.copy_from_host(host.data(), given);
  }
}

void Optimizer::apply(std::int64_t step) {
  Backend& backend = control_.backend();
  backend.clip_factor(store_.grads(), clip_norm_, control_);
  attention_->before_rule();
  rule_->update(control_);
  attention_->after_rule(step, control_);
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> out = rule_->state();
  std::ranges::move(attention_->state(), std::back_inserter(out));
  return out;
}

std::size_t Optimizer::state_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : state()) bytes += tensor.bytes();
  return bytes;
}

}  // namespace monge::optim
