#include "core/kernel/head_view.h"

#include "core/kernel/need.h"

namespace monge::kernel {

void check_view(const Call& call, const char* name, const HeadView& view, std::int64_t batch, std::int64_t tokens,
                std::int64_t heads, std::int64_t head_dim) {
  const auto row = heads * head_dim;
  need(call, view.offset >= 0 && view.token_stride >= row && (batch <= 1 || view.batch_stride >= row),
       "{} has offset {}, token stride {} and batch stride {}; a row of heads has {} elements", name, view.offset,
       view.token_stride, view.batch_stride, row);
  if (batch == 0 || tokens == 0) return;
  const auto end = view.offset + (batch - 1) * view.batch_stride + (tokens - 1) * view.token_stride + row;
  need(call, end <= view.data.numel(), "{} reads up to element {} of {} ({} sequences, {} tokens, {} heads of {})",
       name, end, view.data.numel(), batch, tokens, heads, head_dim);
}

profile::Operand operand_of(const char* name, const HeadView& view, std::int64_t batch, std::int64_t tokens,
                            std::int64_t heads, std::int64_t head_dim) {
  return {name, {batch, tokens, heads, head_dim}, view.data.dtype()};
}

}  // namespace monge::kernel
