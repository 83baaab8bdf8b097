// Attention as a recurrence (Feng et al. 2024, "Attention as an RNN", arXiv:2405.13956): with one query for all tokens,
// softmax attention over the tokens so far is a scan with an associative operation on states (m, u, w), the largest
// score, the denominator and the weighted sum of values. Aaren is a transformer of such attention.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/verify/papers/paper.h"
#include "tools/verify/problems.h"

namespace monge::tools {

struct AarenState {
  double m, u;  // of no tokens: -infinity, 0
  Vector w;
};
/// The state of the tokens of `a` and then those of `b`.
AarenState combine(const AarenState& a, const AarenState& b);

/// One head: a query (d), keys, values and the gradient of the outputs (N, d).
struct AarenHead {
  Vector q;
  Matrix k, v, dout;
  double scale = 1.0;

  Vector scores() const { return scale * (k * q); }
  std::int64_t tokens() const { return k.rows(); }
};
AarenHead draw_aaren_head(RandomSequence& random, std::int64_t tokens, std::int64_t head_dim);

/// What ships, unless a test plants a fault.
struct AarenParts {
  std::function<AarenState(const AarenState&, const AarenState&)> combine = tools::combine;
  std::function<void(const kernel::PrefixAttention&)> forward;
  std::function<void(const kernel::PrefixAttentionBackward&)> backward;

  AarenParts();
};

/// Outputs and gradients of a head by the kernel of a device. With `piece` tokens at a time, or (0) all at once.
struct AarenResult {
  Matrix out, dk, dv;  // (N, d)
  Vector dq;
};
AarenResult run_kernel(const AarenHead& head, Device device, const AarenParts& parts = {}, std::int64_t piece = 0);

/// The weights a_ij (N, N) of each output, by the kernel of the reference backend: outputs for the unit values.
Matrix aaren_weights(const AarenHead& head, const AarenParts& parts = {});

Findings aaren_findings(std::uint64_t seed, const AarenParts& parts = {});
/// The weights of some tokens as the sequence goes on, of one query and of queries that differ.
std::string aaren_svg(std::uint64_t seed);

Examined examine_aaren(std::uint64_t seed);

}  // namespace monge::tools
