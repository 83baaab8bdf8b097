// What matrix rules take from AdamW: its direction in another basis, or the norm of its step (grafting, Agarwal et al.
// 2020, arXiv:2002.11803).
#pragma once

#include "core/backend.h"
#include "optim/arithmetic.h"
#include "optim/rule.h"

namespace monge::optim {

/// AdamW's direction of a clipped `gradient` (rows, cols) in step control[step]; updates the moments m and v.
inline Tensor adamw_direction(const Tensor& gradient, const std::vector<double>& betas, double eps, const Tensor& m,
                              const Tensor& v, const Tensor& control) {
  const auto flat = [](const Tensor& x) { return x.reshape({x.numel()}); };
  Tensor u = Tensor::zeros(gradient.shape(), gradient.dtype(), gradient.device());
  // A step of rate -1 from 0.
  u.backend().update({.rule = AdamWRule{betas[0], betas[1], eps},
                      .param = flat(u),
                      .grad = flat(gradient),
                      .states = {flat(m), flat(v)},
                      .control = with_slot(with_slot(control, Control::lr, -1.0), Control::clip, 1.0)});
  return u;
}

/// Gives u the norm of `other`; 0 stays 0.
inline void graft(const Tensor& u, const Tensor& other) { mul(u, div(norm(other), norm(u)), u); }

}  // namespace monge::optim
