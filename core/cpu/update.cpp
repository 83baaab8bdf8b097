// Gradient norm and the update rules: each is one pass over the flat buffers.
#include <array>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"
#include "core/cpu/reductions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/update.cpp"
#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// The elements that an update rule sees: one vector of them.
struct Element {
  Floats lanes;
  HWY_INLINE Element(Floats x) : lanes(x) {}
  HWY_INLINE explicit Element(double x) : lanes(splat(x)) {}

  friend HWY_INLINE Element operator+(Element a, Element b) { return hn::Add(a.lanes, b.lanes); }
  friend HWY_INLINE Element operator-(Element a, Element b) { return hn::Sub(a.lanes, b.lanes); }
  friend HWY_INLINE Element operator*(Element a, Element b) { return hn::Mul(a.lanes, b.lanes); }
  friend HWY_INLINE Element operator/(Element a, Element b) { return hn::Div(a.lanes, b.lanes); }
  friend HWY_INLINE Element mul_add(Element a, Element b, Element c) { return hn::MulAdd(a.lanes, b.lanes, c.lanes); }
  friend HWY_INLINE Element neg_mul_add(Element a, Element b, Element c) {
    return hn::NegMulAdd(a.lanes, b.lanes, c.lanes);
  }
  friend HWY_INLINE Element sqrt(Element x) { return hn::Sqrt(x.lanes); }
  friend HWY_INLINE Element sign(Element x) {
    const Floats zero = hn::Zero(f32_tag), one = splat(1.0);
    return hn::Sub(hn::IfThenElseZero(hn::Gt(x.lanes, zero), one), hn::IfThenElseZero(hn::Lt(x.lanes, zero), one));
  }
};

// The steps of the rules, compiled for this instruction set.
#include "core/update_rule/steps.h"

/// One step of a rule with the states numbered k.
template <class Rule, std::size_t... k>
void RunRule(const Rule& rule, const kernel::Update& args, std::index_sequence<k...>) {
  const float* control = args.control.data_as<float>();
  const double lr = control[Control::lr] * args.lr_scale;
  const UpdateStep<Rule, Element> shared(rule, {lr, 1.0 - lr * args.weight_decay, control[Control::step]});
  float* param = args.param.data_as<float>();
  const float* grad = args.grad.data_as<float>();
  const std::array<float*, sizeof...(k)> states{args.states[k].template data_as<float>()...};
  bf16* copy = args.copy ? args.copy.data_as<bf16>() : nullptr;
  parallel_elements(args.param.numel(), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const UpdateStep<Rule, Element> step = shared;  // in registers: stores to the tensors cannot change it
    const Floats clip = splat(control[Control::clip]);
    each_vector(begin, end, [&](const auto& read, const auto& write) HWY_ATTR {
      std::array<Element, sizeof...(k)> state{Element(read(states[k]))...};
      const Element p = step(read(param), hn::Mul(clip, read(grad)), state[k]...);
      (write(state[k].lanes, states[k]), ...);
      write(p.lanes, param);
      if (copy) write(p.lanes, copy);
    });
  });
}

void UpdateRange(const kernel::Update& args) {
  visit_update_rule(args.rule, [&](const auto& rule, auto states) HWY_ATTR { RunRule(rule, args, states); });
}

/// What the base rule has done: sum of (param - decay before)^2.
double SquaredChange(const float* param, const float* before, double decay, std::int64_t n) {
  const Floats kept = splat(decay);
  return sum_of(
      n,
      [&](Floats p, Floats b) HWY_ATTR {
        const Floats d = hn::NegMulAdd(kept, b, p);
        return hn::Mul(d, d);
      },
      param, before);
}

/// param = decay before - factor direction.
void Directed(const kernel::DirectedStep::Matrix& m, double decay, double factor) {
  float* param = m.param.data_as<float>();
  const float *before = m.before.data_as<float>(), *direction = m.direction.data_as<float>();
  bf16* copy = m.copy ? m.copy.data_as<bf16>() : nullptr;
  parallel_elements(m.param.numel(), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const Floats kept = splat(decay), rate = splat(factor);
    each_vector(begin, end, [&](const auto& read, const auto& write) HWY_ATTR {
      const Floats new_param = hn::NegMulAdd(rate, read(direction), hn::Mul(kept, read(before)));
      write(new_param, param);
      if (copy) write(new_param, copy);
    });
  });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(UpdateRange);
HWY_EXPORT(SquaredChange);
HWY_EXPORT(Directed);

void CpuBackend::compute(const kernel::ClipFactor& args) {
  const float* g = args.grads.data_as<float>();
  const double norm = std::sqrt(dot_product(g, g, args.grads.numel()));
  float* slots = args.control.data_as<float>();
  slots[Control::grad_norm] = static_cast<float>(norm);
  slots[Control::clip] = args.max_norm > 0.0 && norm > args.max_norm ? static_cast<float>(args.max_norm / norm) : 1.0f;
  slots[Control::finite] = std::isfinite(norm) ? 1.0f : 0.0f;
}

void CpuBackend::compute(const kernel::Update& args) {
  if (args.control.data_as<float>()[Control::finite] == 0.0f) return;
  HWY_DYNAMIC_DISPATCH(UpdateRange)(args);
}

void CpuBackend::compute(const kernel::DirectedStep& args) {
  const float* control = args.control.data_as<float>();
  if (control[Control::finite] == 0.0f) return;
  const auto decay_of = [&](const kernel::DirectedStep::Matrix& m) {
    return 1.0 - control[Control::lr] * m.lr_scale * m.weight_decay;
  };
  std::vector<double> factors;
  double quadratic = 0.0;  // the length of the step in the metric, with <v, gradient> for <v, F v>
  for (const auto& m : args.matrices) {
    const std::int64_t n = m.param.numel();
    const float *param = m.param.data_as<float>(), *before = m.before.data_as<float>();
    const float* direction = m.direction.data_as<float>();
    const double length = std::sqrt(dot_product(direction, direction, n));
    double factor = control[Control::lr] * m.lr_scale;
    if (args.graft > 0.0) {
      std::vector<double> parts(static_cast<std::size_t>(chunk_count(n, elements_per_chunk)));
      parallel_elements(n, [&](std::int64_t begin, std::int64_t end) {
        parts[static_cast<std::size_t>(begin / elements_per_chunk)] =
            HWY_DYNAMIC_DISPATCH(SquaredChange)(param + begin, before + begin, decay_of(m), end - begin);
      });
      const double change = std::accumulate(parts.begin(), parts.end(), 0.0);
      factor = length > 0.0 ? args.graft * std::sqrt(change) / length : 0.0;
    }
    factors.push_back(factor);
    quadratic += factor * factor * dot_product(direction, m.gradient.data_as<float>(), n);
  }
  const double kept = args.kl > 0.0 && quadratic > args.kl ? std::sqrt(args.kl / quadratic) : 1.0;
  for (std::size_t k = 0; k < factors.size(); ++k) {
    const auto& m = args.matrices[k];
    HWY_DYNAMIC_DISPATCH(Directed)(m, decay_of(m), kept * factors[k]);
  }
}

}  // namespace monge::cpu
#endif
