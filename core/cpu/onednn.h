// oneDNN, behind one function: a matrix product with its epilogue. No oneDNN type leaves onednn.cpp, which also holds
// everything that differs between oneDNN 2.x and 3.x.
#pragma once

#include <cstdint>
#include <string>

#include "core/backend.h"

namespace monge::cpu {

/// out (batch, m, n) = [out +] op(a) op(b) + bias, all dense and row-major.
struct Product {
  std::int64_t batch = 1, m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;  // a is stored (batch, k, m), b is stored (batch, n, k)
  bool accumulate = false;
  bool has_bias = false;  // of n elements
  DType in = DType::f32, out = DType::f32, bias = DType::f32;

  bool operator==(const Product&) const = default;
};

/// Computes the product; a primitive is made on the first use of a Product and kept. `bias` may be null without
/// has_bias. Returns false, with nothing done, when oneDNN has no kernel for it on this processor (bf16 without
/// AVX-512). One thread at a time.
bool run_product(const Product& product, const void* a, const void* b, const void* bias, void* out);

/// "oneDNN 2.6.3"
std::string onednn_version();

}  // namespace monge::cpu
