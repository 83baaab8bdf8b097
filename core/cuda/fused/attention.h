// Fused attention: scores and weights stay in registers and shared memory, so memory grows with the number of rows, not
// with its square. bf16, head_dim 64 and 128, every map, with or without the row solve, ALiBi slopes, dropout, grouped
// heads. Bitwise reproducible.
//
//   forward     exponential and separable maps from scratch; all others from a known row_stat
//   statistics  the means of the rows, where they take a pass of their own
//   keys        dk, dv, row_dk
//   queries     dq, row_dq
#pragma once

#include <string>

#include "core/backend.h"
#include "core/cuda/gpu.h"

namespace monge::MONGE_GPU {

/// Why the fused kernels cannot run a call, for people; empty when they can.
std::string fused_refusal(const kernel::Attention& args);
std::string fused_refusal(const kernel::AttentionBackward& args);

/// Whether `fused_attention` reads args.row_stat, which has to be right before the call, instead of writing it.
bool fused_needs_row_stat(const RowMap& map);

void fused_attention(Stream stream, const kernel::Attention& args);
/// Its scratch memory is 12 bytes for each row at most.
void fused_attention_backward(Stream stream, const kernel::AttentionBackward& args);

}  // namespace monge::MONGE_GPU
