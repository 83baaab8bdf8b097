#include "optim/elementwise.h"

#include <algorithm>

#include "core/error.h"

namespace monge::optim {

ElementwiseRule::ElementwiseRule(const UpdateRule& rule, nn::ParameterStore& store,
                                 const std::vector<Segment>& segments)
    : rule_(rule), store_(store), segments_(segments) {
  const Tensor& values = store.values();
  for (std::size_t k = 0; k < states_of(rule).size(); ++k) {
    states_[k] = Tensor::zeros(values.shape(), values.dtype(), values.device(), Pool::optimizer);
  }
}

void ElementwiseRule::update(const Tensor& control) {
  for (const Segment& s : segments_) {
    control.backend().update({.rule = rule_,
                              .param = piece(store_.values(), s),
                              .grad = piece(store_.grads(), s),
                              .states = {piece(states_[0], s), piece(states_[1], s), piece(states_[2], s)},
                              .copy = piece(store_.copies(), s),
                              .control = control,
                              .lr_scale = s.lr_scale,
                              .weight_decay = s.weight_decay});
  }
}

std::vector<NamedTensor> ElementwiseRule::state() const {
  std::vector<NamedTensor> out;
  const auto names = states_of(rule_);
  for (std::size_t k = 0; k < names.size(); ++k) {
    out.push_back({fmt::format("{}.{}", name_of(rule_), names[k]), states_[k]});
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
