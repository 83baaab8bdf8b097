// MemoryPlan: what a training step will need, known before the first one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nn/model.h"
#include "optim/optimizer.h"

namespace monge::train {

/// Bytes.
struct MemoryPlan {
  std::size_t parameters = 0;  // master values, and bf16 copies in bfloat16
  std::size_t gradients = 0;
  std::size_t optimizer = 0;
  std::size_t activations = 0;  // at the peak of a step, scratch memory included

  std::size_t total() const { return parameters + gradients + optimizer + activations; }
};

/// Parameters, gradients and state are counted. Activations are proportional to the rows of a batch, whatever the
/// layers do: forward and backward run twice, the second time with one row more, and the line through both peaks is
/// read at `batch` rows. Parameters do not change; gradients are forgotten.
MemoryPlan plan_memory(nn::Model& model, nn::ParameterStore& store, const optim::Optimizer& optimizer,
                       std::int64_t batch);

}  // namespace monge::train
