// Parameter updates: every elementwise rule of core/update_rule in one launch for each range, and directed steps.
#include <cmath>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/cuda/sums.h"

namespace monge::MONGE_GPU {
namespace {

/// An element as the update rules see it.
struct Element {
  float value;
  __device__ Element(double x) : value(static_cast<float>(x)) {}
  __device__ explicit Element(float x) : value(x) {}

  __device__ friend Element operator+(Element a, Element b) { return Element(a.value + b.value); }
  __device__ friend Element operator*(Element a, Element b) { return Element(a.value * b.value); }
  __device__ friend Element operator/(Element a, Element b) { return Element(a.value / b.value); }
  __device__ friend Element mul_add(Element a, Element b, Element c) {
    return Element(fmaf(a.value, b.value, c.value));
  }
  __device__ friend Element neg_mul_add(Element a, Element b, Element c) {
    return Element(fmaf(-a.value, b.value, c.value));
  }
  __device__ friend Element sqrt(Element x) { return Element(sqrtf(x.value)); }
  __device__ friend Element sign(Element x) { return Element(x.value > 0.0f ? 1.0f : x.value < 0.0f ? -1.0f : 0.0f); }
};

#include "core/update_rule/steps.h"

struct UpdateArguments {
  float* param;
  const float* grad;
  float* states[max_update_states];
  bf16* copy;  // or null
  const float* control;
  std::int64_t n;
  double lr_scale, weight_decay;
};

template <int W, class Rule, std::size_t... k>
__global__ void update_kernel(Rule rule, UpdateArguments a, std::index_sequence<k...>) {
  if (a.control[Control::finite] == 0.0f) return;
  const double lr = static_cast<double>(a.control[Control::lr]) * a.lr_scale;
  const UpdateStep<Rule, Element> step(rule, {lr, 1.0 - lr * a.weight_decay, a.control[Control::step]});
  const float clip = a.control[Control::clip];
  for_each_pack<W>(a.n, [&](std::int64_t i, int count) {
    Pack<W> param = load<W>(a.param + i, count);
    const Pack<W> grad = load<W>(a.grad + i, count);
    Pack<W> states[max_update_states] = {};
    ((states[k] = load<W>(a.states[k] + i, count)), ...);
#pragma unroll
    for (int j = 0; j < W; ++j) {
      Element state[max_update_states] = {Element(states[0].at[j]), Element(states[1].at[j]), Element(states[2].at[j])};
      param.at[j] = step(Element(param.at[j]), Element(clip * grad.at[j]), state[k]...).value;
      ((states[k].at[j] = state[k].value), ...);
    }
    store<W>(a.param + i, count, param);
    (store<W>(a.states[k] + i, count, states[k]), ...);
    if (a.copy != nullptr) store<W>(a.copy + i, count, param);
  });
}

struct DirectedMatrix {
  float* param;
  const float *before, *direction, *gradient;
  bf16* copy;  // or null
  std::int64_t n;
  float lr_scale, weight_decay;

  __device__ float keep(const float* control) const { return 1.0f - control[Control::lr] * lr_scale * weight_decay; }
};

constexpr int directed_sums = 4;  // |what the rule did|^2, |v|^2, <v, gradient>, and lr_scale for the next kernel
constexpr unsigned directed_blocks = 64;

/// partial (4, blocks) of one matrix.
__global__ void directed_sums_kernel(DirectedMatrix m, const float* control, float* partial) {
  const float keep = m.keep(control);
  float sums[directed_sums] = {};
  for_each_pack<1>(m.n, [&](std::int64_t i, int) {
    const float v = m.direction[i], done = m.param[i] - keep * m.before[i];
    sums[0] += done * done;
    sums[1] += v * v;
    sums[2] += v * m.gradient[i];
  });
  if (blockIdx.x == 0 && threadIdx.x == 0) sums[3] = m.lr_scale;
  for (int s = 0; s < directed_sums; ++s) {
    const float total = block_sum(sums[s], shared_memory<float>());
    if (threadIdx.x == 0) partial[s * gridDim.x + blockIdx.x] = total;
  }
}

/// factors (matrices) from sums (matrices, 4); one warp.
__global__ void directed_factors_kernel(const float* sums, int matrices, float graft, float kl, const float* control,
                                        float* factors) {
  float quadratic = 0.0f;
  for (int m = static_cast<int>(threadIdx.x); m < matrices; m += warp_width) {
    const float* const sum = sums + m * directed_sums;
    const float factor = graft > 0.0f ? graft * sqrtf(sum[0] / sum[1]) : control[Control::lr] * sum[3];
    factors[m] = sum[1] > 0.0f ? factor : 0.0f;
    quadratic += factors[m] * factors[m] * sum[2];
  }
  quadratic = warp_sum(quadratic);
  const float kept = kl > 0.0f && quadratic > kl ? sqrtf(kl / quadratic) : 1.0f;
  for (int m = static_cast<int>(threadIdx.x); m < matrices; m += warp_width) factors[m] *= kept;
}

__global__ void directed_step_kernel(DirectedMatrix m, const float* control, const float* factor) {
  if (control[Control::finite] == 0.0f) return;
  const float keep = m.keep(control), length = *factor;
  for_each_pack<1>(m.n, [&](std::int64_t i, int) {
    const float p = keep * m.before[i] - length * m.direction[i];
    m.param[i] = p;
    if (m.copy != nullptr) m.copy[i] = static_cast<bf16>(p);
  });
}

bf16* copy_of(const Tensor& copy) { return copy.defined() ? copy.data_as<bf16>() : nullptr; }

}  // namespace

void CudaBackend::compute(const kernel::Update& args) {
  UpdateArguments a{args.param.data_as<float>(),
                    args.grad.data_as<float>(),
                    {},
                    copy_of(args.copy),
                    args.control.data_as<float>(),
                    args.param.numel(),
                    args.lr_scale,
                    args.weight_decay};
  for (std::size_t s = 0; s < states_of(args.rule).size(); ++s) a.states[s] = args.states[s].data_as<float>();
  const bool aligned =
      aligned_to({&args.param, &args.grad, &args.states[0], &args.states[1], &args.states[2], &args.copy}, 4);
  visit_update_rule(args.rule, [&](const auto& rule, auto states) {
    using Rule = std::remove_cvref_t<decltype(rule)>;
    visit_width<float>(aligned, [&](auto width) {
      [&]<std::size_t... k>(std::index_sequence<k...>) {
        launch(update_kernel<width, Rule, k...>, elementwise_grid(a.n, width), elementwise_block, 0, runtime_.stream(),
               rule, a, states);
      }
      (states);
    });
  });
}

void CudaBackend::compute(const kernel::DirectedStep& args) {
  const auto count = static_cast<std::int64_t>(args.matrices.size());
  if (count == 0) return;
  const auto* const control = args.control.data_as<float>();
  const Tensor partial = scratch({count * directed_sums, directed_blocks}), sums = scratch({count, directed_sums});
  const Tensor factors = scratch({count});
  const auto matrix = [&](std::size_t k) {
    const auto& m = args.matrices[k];
    return DirectedMatrix{m.param.data_as<float>(),
                          m.before.data_as<float>(),
                          m.direction.data_as<float>(),
                          m.gradient.data_as<float>(),
                          copy_of(m.copy),
                          m.param.numel(),
                          static_cast<float>(m.lr_scale),
                          static_cast<float>(m.weight_decay)};
  };
  for (std::size_t k = 0; k < args.matrices.size(); ++k) {
    launch(directed_sums_kernel, directed_blocks, elementwise_block, reduce_bytes, runtime_.stream(), matrix(k),
           control, partial.data_as<float>() + k * directed_sums * directed_blocks);
  }
  sum_over(runtime_, partial, count * directed_sums, directed_blocks, 1, 1.0f, sums, false);
  launch(directed_factors_kernel, 1, warp_width, 0, runtime_.stream(), sums.data_as<float>(), static_cast<int>(count),
         static_cast<float>(args.graft), static_cast<float>(args.kl), control, factors.data_as<float>());
  for (std::size_t k = 0; k < args.matrices.size(); ++k) {
    launch(directed_step_kernel, elementwise_grid(args.matrices[k].param.numel(), 1), elementwise_block, 0,
           runtime_.stream(), matrix(k), control, factors.data_as<float>() + k);
  }
}

}  // namespace monge::MONGE_GPU
