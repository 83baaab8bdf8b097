// Gradient norm and the update rules: each is one pass over the flat buffers.
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/cpu/kernels.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/kernels_update.cpp"
#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// Sum of squares, in double: a float square overflows from 2e19 on.
double SquaredNorm(const float* x, std::int64_t n) {
  const hn::ScalableTag<double> f64_tag;
  const hn::Rebind<float, decltype(f64_tag)> half_tag;
  const auto step = static_cast<std::int64_t>(hn::Lanes(f64_tag));
  auto a = hn::Zero(f64_tag), b = a, c = a, d = a;
  const auto square = [&](std::int64_t i, auto acc) HWY_ATTR {
    const auto v = hn::PromoteTo(f64_tag, hn::LoadU(half_tag, x + i));
    return hn::MulAdd(v, v, acc);
  };
  std::int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    a = square(i, a);
    b = square(i + step, b);
    c = square(i + 2 * step, c);
    d = square(i + 3 * step, d);
  }
  double total = hn::GetLane(hn::SumOfLanes(f64_tag, hn::Add(hn::Add(a, b), hn::Add(c, d))));
  for (; i < n; ++i) total += static_cast<double>(x[i]) * x[i];
  return total;
}

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

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(SquaredNorm);
HWY_EXPORT(AdamWStep);
HWY_EXPORT(SgdStep);

void clip_factor(const Tensor& grads, double max_norm, const Tensor& control) {
  check::clip_factor(here, grads, max_norm, control);
  const float* g = grads.data_as<float>();
  std::vector<double> parts(static_cast<std::size_t>(chunk_count(grads.numel(), elements_per_chunk)));
  parallel_elements(grads.numel(), [&](std::int64_t begin, std::int64_t end) {
    parts[static_cast<std::size_t>(begin / elements_per_chunk)] =
        HWY_DYNAMIC_DISPATCH(SquaredNorm)(g + begin, end - begin);
  });
  double squares = 0.0;
  for (const double part : parts) squares += part;
  const double norm = std::sqrt(squares);
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

}  // namespace monge::cpu
#endif
