// Attention alone, timed: on a processor every row map over a range of lengths, on a GPU also every way that it may
// take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/json.h"

namespace monge::tools {

/// One call: causal, random values, as many key/value heads as query heads.
struct AttentionCase {
  std::int64_t batch = 0, heads = 0, tokens = 0, head_dim = 0;  // B, H, T, D
  RowMap map;
  DType dtype = DType::f32;
  GpuSettings::AttentionPath path = GpuSettings::AttentionPath::fastest;  // on a GPU: what is tried first
};

struct AttentionTiming {
  AttentionCase of;
  double forward = 0.0;       // seconds, the best of several calls
  double backward = 0.0;      // seconds
  double row_backward = 0.0;  // seconds, with the damped row solve beside the gradient; 0: not for this kind and path
  std::size_t scratch = 0;    // bytes of work space at the peak of the backward, the row solve included if timed
  std::vector<std::string> notes;  // of the backend: the way the calls took; or why there are no times

  /// FLOP per second: half of the T x T products count, two of them forward and five backward.
  double forward_rate() const;
  double backward_rate() const;
};

/// On a processor 4096 tokens in sequences of 64 to 4096, 6 heads of 64, f32, all kinds. On a GPU in bf16 16 x 12 heads
/// of 1024 x 64 and 8 x 16 heads of 4096 x 128: softmax by cuDNN, by the fused kernels and unfused, all other kinds
/// fused.
std::vector<AttentionCase> attention_cases(Device device);

/// Every call is repeated for `seconds`. A RunError (out of memory) ends in the notes.
AttentionTiming time_attention(Device device, const AttentionCase& of, double seconds = 0.3);

void print_attention_text(Device device, const std::vector<AttentionTiming>& timings);
Json attention_json(const std::vector<AttentionTiming>& timings);

}  // namespace monge::tools
