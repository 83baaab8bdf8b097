// What several op files share.
#pragma once

#include "autograd/tape.h"
#include "core/backend.h"

namespace monge::autograd {

/// x (..., C) read as a matrix (R, C).
inline Tensor as_rows(const Tensor& x) { return x.reshape({x.shape().rows(), x.shape().last()}); }

/// The dtype of statistics kept for backward: f32, or f64 on the reference device.
inline DType stat_dtype(const Tensor& x) { return x.dtype() == DType::f64 ? DType::f64 : DType::f32; }

/// A contribution in the dtype that the input wants: f32 for a bf16 parameter, bf16 for what an op has made of bf16.
inline void add_converted(Gradients& g, std::size_t input, const Tensor& gradient) {
  if (!g.wants(input)) return;
  const auto [to, accumulate] = g.slot(input);
  if (accumulate) {
    const Tensor same = gradient.dtype() == to.dtype() ? gradient : gradient.to(to.dtype(), to.device());
    to.backend().add_scaled({.x = same, .y = to});
  } else {
    to.backend().copy({.from = gradient, .to = to});
  }
}

}  // namespace monge::autograd
