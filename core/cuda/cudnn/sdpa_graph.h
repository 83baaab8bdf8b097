// The operation graphs of softmax attention that cuDNN recognises and fuses into one kernel: what an attention call
// looks like to cuDNN, and the two graphs, forward and backward.
//
// cuDNN fuses by pattern: each operation, its order and what is virtual is part of the pattern.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "core/backend.h"
#include "core/cuda/cudnn/cudnn_graph.h"

namespace monge::MONGE_GPU {

/// Strides of a HeadView, in elements.
struct SdpaLayout {
  std::int64_t token_stride = 0, batch_stride = 0;
  auto operator<=>(const SdpaLayout&) const = default;
};
inline SdpaLayout layout_of(const HeadView& x) { return {x.token_stride, x.batch_stride}; }

/// All of an attention call that its plan depends on. Queries and keys are the same T tokens; q, k, v are bf16.
struct SdpaForward {
  std::int64_t batch = 0, heads = 0, kv_heads = 0, tokens = 0, head_dim = 0;
  bool causal = true;
  bool slopes = false;  // ALiBi
  double scale = 1.0;
  SdpaLayout q, k, v, out;
  auto operator<=>(const SdpaForward&) const = default;
};
SdpaForward sdpa_forward(const kernel::Attention& args);

struct SdpaBackward {
  SdpaForward forward;
  SdpaLayout dout, dq, dk, dv;
  auto operator<=>(const SdpaBackward&) const = default;
};
SdpaBackward sdpa_backward(const kernel::AttentionBackward& args);

/// The uids under which a plan is given its memory. `row_sum` (B,H,T) is f32 scratch of the backward, dense.
namespace sdpa_uid {
enum : std::int64_t { q = 1, k, v, out, row_stat, slopes, dout, dq, dk, dv, row_sum };
}

/// Why cuDNN of this version (as CUDNN_VERSION) is not asked to do a call; empty if it may be. Beside what cuDNN does
/// not know, this keeps away from shapes for which released versions are known to give wrong numbers.
std::string sdpa_limit(const kernel::Attention& args, std::size_t version);
std::string sdpa_limit(const kernel::AttentionBackward& args, std::size_t version, int architecture);

/// out and row_stat (log-sum-exp) from q, k, v and slopes.
CudnnGraph sdpa_graph(const SdpaForward& call);
/// dq, dk, dv from q, k, v, slopes, out, row_stat and dout. dq is summed in a fixed order, for 2 B H T^2 bytes of
/// workspace.
CudnnGraph sdpa_graph(const SdpaBackward& call);

}  // namespace monge::MONGE_GPU
