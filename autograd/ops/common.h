// What several op files share.
#pragma once

#include "autograd/tape.h"

namespace monge::autograd {

/// x (..., C) read as a matrix (R, C).
inline Tensor as_rows(const Tensor& x) { return x.reshape({x.shape().rows(), x.shape().last()}); }

/// The dtype of statistics kept for backward: f32, or f64 on the reference device.
inline DType stat_dtype(const Tensor& x) { return x.dtype() == DType::f64 ? DType::f64 : DType::f32; }

}  // namespace monge::autograd
