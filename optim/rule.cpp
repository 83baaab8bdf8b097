#include "optim/rule.h"

#include <algorithm>

#include "optim/arithmetic.h"
#include "optim/rules.h"

namespace monge::optim {
namespace {

void add_base_rules(RuleRegistry& registry) {
  add_adafactor(registry);
  add_adamw(registry);
  add_ademamix(registry);
  add_lamb(registry);
  add_lion(registry);
  add_nadamw(registry);
  add_schedule_free(registry);
  add_sgd(registry);
  add_signum(registry);
  add_sophia(registry);
}

}  // namespace

void Guarded::update_average(const Tensor& m, double decay, const Tensor& x) const { mix(m, decay, x); }
void Guarded::set(const Tensor& to, const Tensor& x) const { mix(to, 0.0, x); }

/// The step of a rule that knows of gradients that are not finite: to = (1 - lr decay) to - lr x.
void Guarded::mix(const Tensor& to, double keep, const Tensor& x) const {
  if (!guard_.defined()) {
    guard_ = with_slot(control_, Control::clip, 1.0);
    fill(slot(guard_, Control::lr), 1.0);
  }
  to.backend().update({.rule = SgdRule{},
                       .param = to.reshape({to.numel()}),
                       .grad = x.reshape({x.numel()}),
                       .control = guard_,
                       .lr_scale = keep - 1.0,
                       .weight_decay = -1.0});
}

void Rule::update(const Step& step) {
  const Tensor u = Tensor::zeros(store().values().shape(), store().values().dtype(), store().values().device());
  directions(step, u);
  apply(step, u, !handles_decay());
}

void Rule::apply(const Step& step, const Tensor& u, bool decays) const { apply_directions(context_, step, u, decays); }

Tensor Rule::make_state(const Shape& shape) const {
  return Tensor::zeros(shape, store().values().dtype(), store().values().device(), Pool::optimizer);
}

void apply_directions(const RuleContext& context, const Step& step, const Tensor& u, bool decays) {
  const Tensor unclipped = with_slot(step.control, Control::clip, 1.0);
  for (const Segment& s : segments_of(context)) {
    unclipped.backend().update({.rule = SgdRule{},
                                .param = s.view(context.store.values()),
                                .grad = s.view(u),
                                .copy = s.view(context.store.copies()),
                                .control = unclipped,
                                .lr_scale = s.lr_scale,
                                .weight_decay = decays ? s.weight_decay : 0.0});
  }
}

std::vector<Segment> segments_of(const RuleContext& context) {
  std::vector<Segment> out;
  const auto& entries = context.store.entries();
  for (const Target& target : context.targets) {
    // The padding after a parameter belongs to it: its gradient is zero, so it stays zero.
    const auto next = std::ranges::upper_bound(entries, target.entry.begin, {}, &nn::ParameterStore::Entry::begin);
    const std::int64_t end = next != entries.end() ? next->begin : context.store.flat_size();
    const bool same = !out.empty() && out.back().end == target.entry.begin && out.back().lr_scale == target.lr_scale &&
                      out.back().weight_decay == target.weight_decay;
    if (same) {
      out.back().end = end;
    } else {
      out.push_back({target.entry.begin, end, target.lr_scale, target.weight_decay});
    }
  }
  return out;
}

Tensor slot(const Tensor& control, Control::Slot which) { return control.slice(which, which + 1); }

Tensor with_slot(const Tensor& control, Control::Slot which, double value) {
  Tensor changed = control.clone();
  fill(slot(changed, which), value);
  return changed;
}

RuleRegistry& base_rules() {
  static auto& registry = *built_in([] {
    auto* r = new RuleRegistry("optimizer");
    add_base_rules(*r);
    return r;
  }());
  return registry;
}

RuleRegistry& rules() {
  static auto& registry = *built_in([] {
    auto* r = new RuleRegistry("optimizer");
    add_base_rules(*r);
    add_compositional_muon(*r);
    add_natural_muon(*r);
    add_ekfac(*r);
    add_kfac(*r);
    add_muon(*r);
    add_newton_muon(*r);
    add_normuon(*r);
    add_psgd_kron(*r);
    add_shampoo(*r);
    add_soap(*r);
    add_soap_muon(*r);
    return r;
  }());
  return registry;
}

}  // namespace monge::optim
