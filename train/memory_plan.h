// MemoryPlan: what a training step will need, known before anything is computed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace monge::train {

struct Config;

/// Bytes.
struct MemoryPlan {
  std::size_t parameters = 0;  // master values, and bf16 copies in bfloat16
  std::size_t gradients = 0;
  std::size_t optimizer = 0;
  std::size_t activations = 0;  // at the peak of a step, without the scratch memory of single kernels

  std::size_t total() const { return parameters + gradients + optimizer + activations; }
};

/// Parameters, gradients and state are counted. Activations are proportional to the rows of a batch, whatever the
/// layers do: forward and backward are run dry (core/dry_run.h) twice, the second time with one row more, and the line
/// through both peaks is read at the batch. Throws what the model throws; OutOfMemory for one that has no addresses.
MemoryPlan plan_memory(const Config& config, std::int64_t vocab);

}  // namespace monge::train
