// Attention alone, timed for every row map over a range of sequence lengths.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/backend.h"

namespace monge::tools {

/// One kind at one length: B T = 4096 tokens, 6 heads of 64, causal, random values.
struct AttentionTiming {
  std::string kind;
  std::int64_t tokens = 0;    // T
  double forward = 0.0;       // seconds, the best of several calls
  double backward = 0.0;      // seconds
  double row_backward = 0.0;  // seconds, with the damped row solve beside the gradient; 0: the kind has none
  std::size_t scratch = 0;    // bytes of work space at the peak of the backward with the row solve, where there is one
};

struct AttentionShape {
  std::int64_t rows = 4096, heads = 6, head_dim = 64;
};

std::vector<AttentionTiming> bench_attention(Device device, DType dtype, const AttentionShape& shape = {});

}  // namespace monge::tools
