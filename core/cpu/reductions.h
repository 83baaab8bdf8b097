// Sums that several kernels share. In a parallel sum chunks are summed on their own, then their results are added in
// chunk order.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace monge::cpu {

/// out (N) = [out +] factor * sum over the rows of parts (P, N) f32, in order; out is f32 or bf16.
void add_parts(const Tensor& parts, double factor, const Tensor& out, bool accumulate);

/// <a, b> over n elements, in double: a square of a float overflows from 2e19 on.
double dot_product(const float* a, const float* b, std::int64_t n);

}  // namespace monge::cpu
