// Clipping and updates of parameters.
#pragma once

#include <array>
#include <vector>

#include "core/kernel/call.h"
#include "core/update_rule/update_rule.h"

namespace monge {

/// Slots of the f32 (reference: f64) device tensor that steers an update. `lr` and `step` are written by the host
/// before the step; `clip` and `finite` by `clip_factor`.
struct Control {
  enum Slot : std::int64_t { lr, step, clip, finite, grad_norm, size };
};

}  // namespace monge

namespace monge::kernel {

/// control[grad_norm] = |grads|; control[clip] = min(1, max_norm / norm) (1 when max_norm = 0);
/// control[finite] = whether the norm is finite.
struct ClipFactor {
  Tensor grads;
  double max_norm = 0.0;
  Tensor control;  // (Control::size)
};

/// One step of an elementwise rule (core/update_rule) on a contiguous range of the flat parameter buffer, with
/// gradients times control[clip]. When control[finite] is 0 nothing changes. All f32 (reference: f64) but `copy`.
struct Update {
  UpdateRule rule;
  Tensor param, grad;                            // (n)
  std::array<Tensor, max_update_states> states;  // (n) each, in the order of states_of(rule); the rest none
  Tensor copy;                                   // (n) bf16 or none: receives the new parameters
  Tensor control;                                // (Control::size)
  double lr_scale = 1.0, weight_decay = 0.0;
};

/// Replaces the update that a rule has made of some matrices by steps along given directions v:
///   ref = param - (1 - lr lr_scale weight_decay) before        what the rule did, its decay apart
///   f   = graft |ref| / |v| with graft > 0, else lr lr_scale   for each matrix
///   f   = f min(1, sqrt(kl / sum f^2 <v, gradient>))           with kl > 0; the sum is over the matrices
///   param = (1 - lr lr_scale weight_decay) before - f v
/// A matrix whose v is 0 only decays. When control[finite] is 0 nothing changes. All f32 (reference: f64) but `copy`.
struct DirectedStep {
  struct Matrix {
    Tensor param, before, direction, gradient;  // (n)
    Tensor copy;                                // (n) bf16 or none: receives the new parameters
    double lr_scale = 1.0, weight_decay = 0.0;
  };
  std::vector<Matrix> matrices;
  double graft = 0.0, kl = 0.0;
  Tensor control;  // (Control::size)
};

Call check(const ClipFactor& args, Device device);
Call check(const Update& args, Device device);
Call check(const DirectedStep& args, Device device);

profile::KernelCall describe(const Call& call, const Update& args);
profile::KernelCall describe(const Call& call, const DirectedStep& args);

}  // namespace monge::kernel
