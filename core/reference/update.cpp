#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "core/reference/reference_backend.h"

namespace monge {
namespace {

/// An element as the update rules see it.
struct Element {
  double value;
  Element(double x) : value(x) {}

  friend Element operator+(Element a, Element b) { return a.value + b.value; }
  friend Element operator-(Element a, Element b) { return a.value - b.value; }
  friend Element operator*(Element a, Element b) { return a.value * b.value; }
  friend Element operator/(Element a, Element b) { return a.value / b.value; }
  friend Element mul_add(Element a, Element b, Element c) { return a * b + c; }
  friend Element neg_mul_add(Element a, Element b, Element c) { return c - a * b; }
  friend Element sqrt(Element x) { return std::sqrt(x.value); }
  friend Element sign(Element x) { return (x.value > 0.0) - (x.value < 0.0); }
};

#include "core/update_rule/steps.h"

/// One step of a rule with the states numbered k.
template <class Rule, std::size_t... k>
void run_rule(const Rule& rule, const kernel::Update& args, std::index_sequence<k...>) {
  const double* const control = args.control.data_as<double>();
  const double lr = control[Control::lr] * args.lr_scale;
  const UpdateStep<Rule, Element> step(rule, {lr, 1.0 - lr * args.weight_decay, control[Control::step]});
  for (std::int64_t i = 0; i < args.param.numel(); ++i) {
    double& p = args.param.data_as<double>()[i];
    std::array<Element, sizeof...(k)> state{Element(args.states[k].template data_as<double>()[i])...};
    p = step(p, control[Control::clip] * args.grad.data_as<double>()[i], state[k]...).value;
    ((args.states[k].template data_as<double>()[i] = state[k].value), ...);
  }
}

}  // namespace

void ReferenceBackend::compute(const kernel::ClipFactor& args) {
  double squares = 0.0;
  for (std::int64_t i = 0; i < args.grads.numel(); ++i) {
    const double g = args.grads.data_as<double>()[i];
    squares += g * g;
  }
  const double norm = std::sqrt(squares);
  double* const slots = args.control.data_as<double>();
  slots[Control::grad_norm] = norm;
  slots[Control::clip] = args.max_norm > 0.0 && norm > args.max_norm ? args.max_norm / norm : 1.0;
  slots[Control::finite] = std::isfinite(norm) ? 1.0 : 0.0;
}

void ReferenceBackend::compute(const kernel::Update& args) {
  if (args.control.data_as<double>()[Control::finite] == 0.0) return;
  visit_update_rule(args.rule, [&](const auto& rule, auto states) { run_rule(rule, args, states); });
}

void ReferenceBackend::compute(const kernel::DirectedStep& args) {
  const double* const control = args.control.data_as<double>();
  if (control[Control::finite] == 0.0) return;
  std::vector<double> factors;
  double quadratic = 0.0;  // <f v, f F v>, with <v, gradient> for <v, F v>
  for (const auto& m : args.matrices) {
    const double lr = control[Control::lr] * m.lr_scale;
    double reference = 0.0, length = 0.0, along = 0.0;
    for (std::int64_t i = 0; i < m.param.numel(); ++i) {
      const double v = m.direction.data_as<double>()[i];
      const double done = m.param.data_as<double>()[i] - (1.0 - lr * m.weight_decay) * m.before.data_as<double>()[i];
      reference += done * done;
      length += v * v;
      along += v * m.gradient.data_as<double>()[i];
    }
    const double factor = args.graft > 0.0 ? args.graft * std::sqrt(reference / length) : lr;
    factors.push_back(length > 0.0 ? factor : 0.0);
    quadratic += factors.back() * factors.back() * along;
  }
  const double kept = args.kl > 0.0 && quadratic > args.kl ? std::sqrt(args.kl / quadratic) : 1.0;
  for (std::size_t k = 0; k < factors.size(); ++k) {
    const auto& m = args.matrices[k];
    const double decay = 1.0 - control[Control::lr] * m.lr_scale * m.weight_decay;
    for (std::int64_t i = 0; i < m.param.numel(); ++i) {
      m.param.data_as<double>()[i] =
          decay * m.before.data_as<double>()[i] - kept * factors[k] * m.direction.data_as<double>()[i];
    }
  }
}

}  // namespace monge
