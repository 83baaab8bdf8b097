#include "optim/rules/elementwise.h"

#include <algorithm>

#include "core/error.h"
#include "optim/arithmetic.h"

namespace monge::optim {

ElementwiseRule::ElementwiseRule(const UpdateRule& rule, const RuleContext& context, std::string name)
    : Rule(context),
      rule_(rule),
      name_(name.empty() ? name_of(rule) : std::move(name)),
      segments_(segments_of(context)) {
  std::int64_t size = 0;
  for (const Segment& s : segments_) size += s.end - s.begin;
  for (std::size_t k = 0; k < states_of(rule).size(); ++k) states_[k] = make_state({size});
}

void ElementwiseRule::run(const Step& step, const Tensor& control, const Tensor& values, const Tensor& copies,
                          bool decays) {
  std::int64_t first = 0;
  for (const Segment& s : segments_) {
    const Segment own{first, first + s.end - s.begin};
    first = own.end;
    control.backend().update({.rule = rule_,
                              .param = s.view(values),
                              .grad = s.view(step.gradients),
                              .states = {own.view(states_[0]), own.view(states_[1]), own.view(states_[2])},
                              .copy = s.view(copies),
                              .control = control,
                              .lr_scale = decays ? s.lr_scale : 1.0,
                              .weight_decay = decays ? s.weight_decay : 0.0});
  }
}

void ElementwiseRule::update(const Step& step) { run(step, step.control, store().values(), store().copies(), true); }

/// A step of rate -1 from 0.
void ElementwiseRule::directions(const Step& step, const Tensor& u) {
  for (const Segment& s : segments_) fill(s.view(u), 0.0);
  run(step, with_slot(step.control, Control::lr, -1.0), u, {}, false);
}

std::vector<NamedTensor> ElementwiseRule::state() const {
  std::vector<NamedTensor> out;
  const auto names = states_of(rule_);
  for (std::size_t k = 0; k < names.size(); ++k) {
    out.push_back({fmt::format("{}.{}", name_, names[k]), states_[k]});
  }
  return out;
}

void check_betas(const std::vector<double>& betas, const std::vector<double>& example) {
  if (betas.size() != example.size() || std::ranges::any_of(betas, [](double b) { return b < 0.0 || b >= 1.0; })) {
    throw InputError(fmt::format("optimizer.betas must be {} numbers in [0, 1), for example [{}]", example.size(),
                                 fmt::join(example, ", ")));
  }
}

}  // namespace monge::optim
