// Attention by plain products and row kernels: every map, prior, dtype and shape. Scores of some sequences and heads at
// a time lie in scratch memory as f32. The oracle of the fused paths, and what is used where they cannot be.
#pragma once

#include "core/backend.h"
#include "core/cuda/products/products.h"
#include "core/cuda/runtime.h"

namespace monge::MONGE_GPU {

/// What a call needs to work on its device.
struct UnfusedContext {
  Runtime& runtime;
  Products& products;
  Device device;
  std::size_t score_bytes = std::size_t{256} << 20;  // of one buffer of scores

  Tensor scratch(const Shape& shape, DType dtype = DType::f32) const {
    return Tensor::empty(shape, dtype, device, Pool::scratch);
  }
};

/// Throws InputError for a custom map.
void unfused_attention(const UnfusedContext& context, const kernel::Attention& args);
void unfused_attention_backward(const UnfusedContext& context, const kernel::AttentionBackward& args);
void unfused_attention_metric(const UnfusedContext& context, const kernel::AttentionMetric& args);
/// row_stat alone, for maps whose statistic takes several passes over a row.
void unfused_row_stat(const UnfusedContext& context, const kernel::Attention& args);

}  // namespace monge::MONGE_GPU
