// Sdpa: softmax attention by cuDNN (sdpa.cpp), in bf16, for the calls that it is known to do right. A build without
// cuDNN (sdpa_none.cpp) and the emulated device (tests/simt/sdpa.cpp) refuse everything.
//
// out and row_stat are those of the contract, so that another path can compute the backward of a forward done here, and
// the other way round.
#pragma once

#include <memory>
#include <string>

#include "core/cuda/attention_check.h"
#include "core/cuda/runtime.h"

namespace monge::MONGE_GPU {

class Sdpa {
 public:
  /// `deterministic`: the same bits in every run; else a faster backward whose sums depend on the order of its blocks.
  Sdpa(Runtime& runtime, MemoryPools& memory, bool deterministic = true);
  ~Sdpa();
  Sdpa(const Sdpa&) = delete;
  Sdpa& operator=(const Sdpa&) = delete;

  /// Why this call must take another path; empty: forward() can do it. The first call of its shape is planned and
  /// compared with `reference`, which takes seconds and waits for the device; so while a step is being recorded new
  /// shapes are refused.
  std::string refusal(const Attention& args, const AttentionCall& reference);
  /// The same for backward(). `forward` fills out and row_stat.
  std::string refusal(const AttentionBackward& args, const AttentionCall& forward,
                      const AttentionBackwardCall& reference);

  /// Throw std::logic_error for calls that were not asked about or were refused.
  void forward(const Attention& args);
  void backward(const AttentionBackward& args);

  /// "cuDNN 9.19.0" or "no cuDNN".
  std::string version() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace monge::MONGE_GPU
