// Sdpa: softmax attention by cuDNN (sdpa.cpp), in bf16, for the calls that it is known to do right. A build without
// cuDNN (sdpa_none.cpp) refuses everything.
//
// out and row_stat are those of the contract, so that another path can compute the backward of a forward done here, and
// the other way round.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/cuda/cudnn/attention_check.h"
#include "core/cuda/runtime.h"

namespace monge::MONGE_GPU {

class Sdpa {
 public:
  /// A backward keeps a matrix of scores for each head; a batch that needs more bytes for them is done in parts.
  static constexpr std::int64_t usual_score_bytes = std::int64_t{1} << 30;

  Sdpa(Runtime& runtime, MemoryPools& memory, std::int64_t most_score_bytes = usual_score_bytes);
  ~Sdpa();
  Sdpa(const Sdpa&) = delete;
  Sdpa& operator=(const Sdpa&) = delete;

  /// Why this call must take another path; empty: forward() can do it. The first call of its shape is planned and
  /// compared with `reference`, which takes seconds and waits for the device; so while a step is being recorded new
  /// shapes are refused.
  std::string refusal(const kernel::Attention& args, const AttentionCall& reference);
  /// The same for backward(). `forward` fills out and row_stat.
  std::string refusal(const kernel::AttentionBackward& args, const AttentionCall& forward,
                      const AttentionBackwardCall& reference);

  /// Throw std::logic_error for calls that were not asked about or were refused.
  void forward(const kernel::Attention& args);
  void backward(const kernel::AttentionBackward& args);

  /// "cuDNN 9.19.0" or "no cuDNN".
  std::string version() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace monge::MONGE_GPU
