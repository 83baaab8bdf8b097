// The second half of a parallel sum: chunks are summed on their own, then their results are added in chunk order.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace monge::cpu {

/// out (N) = [out +] factor * sum over the rows of parts (P, N) f32, in order; out is f32 or bf16.
void add_parts(const Tensor& parts, double factor, const Tensor& out, bool accumulate);

}  // namespace monge::cpu
