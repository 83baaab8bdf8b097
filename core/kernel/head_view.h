// HeadView: a tensor read as heads.
#pragma once

#include "core/kernel/call.h"

namespace monge {

/// Head h of token t of sequence b is the D elements from offset + b * batch_stride + t * token_stride + h * D. Lets
/// attention read a packed (B, T, (H + 2 G) D) projection.
struct HeadView {
  Tensor data;
  std::int64_t offset = 0;
  std::int64_t token_stride = 0;
  std::int64_t batch_stride = 0;

  /// Address of head h of token t of sequence b, heads of width D.
  template <class T>
  T* head(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t D) const {
    return data.data_as<T>() + offset + b * batch_stride + t * token_stride + h * D;
  }
};

}  // namespace monge

namespace monge::kernel {

/// Throws unless the view stays inside its tensor, and neither its heads nor its tokens run into each other.
void check_view(const Call& call, const char* name, const HeadView& view, std::int64_t batch, std::int64_t tokens,
                std::int64_t heads, std::int64_t head_dim);

/// The part of a packed tensor that a head view is: (B, T, H, D).
profile::Operand operand_of(const char* name, const HeadView& view, std::int64_t batch, std::int64_t tokens,
                            std::int64_t heads, std::int64_t head_dim);

}  // namespace monge::kernel
