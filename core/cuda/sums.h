// Sums over one dimension, in a fixed order.
#pragma once

#include "core/cuda/runtime.h"
#include "core/tensor.h"

namespace monge::MONGE_GPU {

/// out (outer, inner) = [out +] factor * sum over n of x (outer, n, inner). Shapes are the caller's business; the
/// dtypes of both are f32 or bf16.
void sum_over(Runtime& runtime, const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, float factor,
              const Tensor& out, bool accumulate);

}  // namespace monge::MONGE_GPU
