// How much arithmetic a kernel call is, in FLOP: a multiplication and an addition count two. What passes over memory
// beside the products is not counted.
#pragma once

#include "core/backend.h"

namespace monge::profile {

/// 2 M N K for each matrix of the batch.
double flops_of(const Matmul& args);
/// Two products of T x S x D per head; of these the part that the causal mask leaves, T (S - T / 2).
double flops_of(const Attention& args);
/// Five such products, and two more with a row solve.
double flops_of(const AttentionBackward& args);
/// One such product, and one with the width of y.
double flops_of(const AttentionMetric& args);

}  // namespace monge::profile
