#pragma once

#include "core/kernel/elementwise.h"

namespace monge::kernel {

/// out = [out +] activation(op(a) op(b) + bias).
/// Two dimensions, or three with a shared leading batch.
struct Matmul {
  Tensor a;  // ([N,] M, K), or ([N,] K, M) when transpose_a
  bool transpose_a = false;
  Tensor b;  // ([N,] K, N), or ([N,] N, K) when transpose_b
  bool transpose_b = false;
  Tensor out;               // ([N,] M, N); may be f32 when a and b are bf16
  bool accumulate = false;  // add to `out`; not together with bias or activation
  Tensor bias;              // (N) or none
  Activation activation = Activation::none;
  Tensor pre_activation;  // shape of out, or none: receives the value before the activation
};

Call check(const Matmul& args, Device device);
/// 2 M N K for each matrix of the batch. A multiplication and an addition count two; what passes over memory beside
/// the products is not counted.
double flops_of(const Matmul& args);
profile::KernelCall describe(const Call& call, const Matmul& args);

}  // namespace monge::kernel
