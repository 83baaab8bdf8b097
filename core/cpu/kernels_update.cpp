// Gradient norm and the update rules: each is one pass over the flat buffers.
#include <cmath>
#include <numeric>
#include <vector>

#include "core/check.h"
#include "core/cpu/kernels.h"
#include "core/cpu/parallel.h"
#include "core/cpu/reduce.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/kernels_update.cpp"
#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// What an update reads from the control tensor and its arguments.
struct Step {
  double clip, lr, decay;  // decay: what is left of a parameter after weight decay
};

HWY_INLINE Step step_of(const float* control, double lr_scale, double weight_decay) {
  const double lr = control[Control::lr] * lr_scale;
  return {control[Control::clip], lr, 1.0 - lr * weight_decay};
}

/// f(read, write) for each vector of the range, and once for the rest of it: `read(p)` and `write(v, p)` load and store
/// the elements of the buffer that starts at p.
template <class F>
HWY_INLINE void each_vector(std::int64_t begin, std::int64_t end, const F& f) {
  std::int64_t i = begin;
  for (; i + lanes() <= end; i += lanes()) {
    f([&](const float* p) HWY_ATTR { return load(p + i); }, [&](Floats v, auto* p) HWY_ATTR { store(v, p + i); });
  }
  if (i < end) {
    f([&](const float* p) HWY_ATTR { return load_n(p + i, end - i); },
      [&](Floats v, auto* p) HWY_ATTR { store_n(v, p + i, end - i); });
  }
}

void AdamWStep(const AdamW& args) {
  const float* control = args.control.data_as<float>();
  const Step step = step_of(control, args.lr_scale, args.weight_decay);
  const double unbias1 = 1.0 - std::pow(args.beta1, control[Control::step]);
  const double unbias2 = 1.0 - std::pow(args.beta2, control[Control::step]);
  float *param = args.param.data_as<float>(), *m = args.m.data_as<float>(), *v = args.v.data_as<float>();
  const float* grad = args.grad.data_as<float>();
  bf16* copy = args.copy ? args.copy.data_as<bf16>() : nullptr;
  parallel_elements(args.param.numel(), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const Floats clip = splat(step.clip), decay = splat(step.decay), rate = splat(step.lr / unbias1);
    const Floats beta1 = splat(args.beta1), rest1 = splat(1.0 - args.beta1);
    const Floats beta2 = splat(args.beta2), rest2 = splat(1.0 - args.beta2);
    const Floats v_scale = splat(1.0 / unbias2), eps = splat(args.eps);
    each_vector(begin, end, [&](const auto& read, const auto& write) HWY_ATTR {
      const Floats g = hn::Mul(clip, read(grad));
      const Floats new_m = hn::MulAdd(beta1, read(m), hn::Mul(rest1, g));
      const Floats new_v = hn::MulAdd(beta2, read(v), hn::Mul(rest2, hn::Mul(g, g)));
      const Floats size = hn::Add(hn::Sqrt(hn::Mul(new_v, v_scale)), eps);
      const Floats new_param = hn::NegMulAdd(rate, hn::Div(new_m, size), hn::Mul(decay, read(param)));
      write(new_m, m);
      write(new_v, v);
      write(new_param, param);
      if (copy) write(new_param, copy);
    });
  });
}

void SgdStep(const Sgd& args) {
  const float* control = args.control.data_as<float>();
  const Step step = step_of(control, args.lr_scale, args.weight_decay);
  const double kept = control[Control::step] == 1.0f ? 0.0 : args.momentum;
  float* param = args.param.data_as<float>();
  float* buffer = args.momentum != 0.0 ? args.buffer.data_as<float>() : nullptr;
  const float* grad = args.grad.data_as<float>();
  bf16* copy = args.copy ? args.copy.data_as<bf16>() : nullptr;
  parallel_elements(args.param.numel(), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const Floats clip = splat(step.clip), decay = splat(step.decay), rate = splat(step.lr);
    const Floats momentum = splat(args.momentum), old = splat(kept);
    each_vector(begin, end, [&](const auto& read, const auto& write) HWY_ATTR {
      const Floats g = hn::Mul(clip, read(grad));
      Floats u = g;
      if (buffer) {
        const Floats b = kept == 0.0 ? g : hn::MulAdd(old, read(buffer), g);
        u = args.nesterov ? hn::MulAdd(momentum, b, g) : b;
        write(b, buffer);
      }
      const Floats new_param = hn::NegMulAdd(rate, u, hn::Mul(decay, read(param)));
      write(new_param, param);
      if (copy) write(new_param, copy);
    });
  });
}

/// What the base rule has done: sum of (param - decay before)^2.
double SquaredChange(const float* param, const float* before, double decay, std::int64_t n) {
  const Floats kept = splat(decay);
  return sum_of(
      n, [&](Floats p, Floats b) HWY_ATTR {
        const Floats d = hn::NegMulAdd(kept, b, p);
        return hn::Mul(d, d);
      },
      param, before);
}

/// param = decay before - factor direction.
void Directed(const DirectedStep::Matrix& m, double decay, double factor) {
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

HWY_EXPORT(AdamWStep);
HWY_EXPORT(SgdStep);
HWY_EXPORT(SquaredChange);
HWY_EXPORT(Directed);

void clip_factor(const Tensor& grads, double max_norm, const Tensor& control) {
  check::clip_factor(here, grads, max_norm, control);
  const float* g = grads.data_as<float>();
  const double norm = std::sqrt(dot_product(g, g, grads.numel()));
  float* slots = control.data_as<float>();
  slots[Control::grad_norm] = static_cast<float>(norm);
  slots[Control::clip] = max_norm > 0.0 && norm > max_norm ? static_cast<float>(max_norm / norm) : 1.0f;
  slots[Control::finite] = std::isfinite(norm) ? 1.0f : 0.0f;
}

void adamw(const AdamW& args) {
  check::adamw(here, args);
  if (args.control.data_as<float>()[Control::finite] == 0.0f) return;
  HWY_DYNAMIC_DISPATCH(AdamWStep)(args);
}

void sgd(const Sgd& args) {
  check::sgd(here, args);
  if (args.control.data_as<float>()[Control::finite] == 0.0f) return;
  HWY_DYNAMIC_DISPATCH(SgdStep)(args);
}

void directed_step(const DirectedStep& args) {
  check::directed_step(here, args);
  const float* control = args.control.data_as<float>();
  if (control[Control::finite] == 0.0f) return;
  const auto decay_of = [&](const DirectedStep::Matrix& m) {
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
