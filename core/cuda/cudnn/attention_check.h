// Attention by a library compared with our own, on made-up data, before the library is trusted with a run: kernels have
// been seen to give NaN or gradients off by factors for some shapes while the loss looked right.
#pragma once

#include <functional>
#include <string>

#include "core/backend.h"
#include "core/cuda/gpu.h"

namespace monge::MONGE_GPU {

using AttentionCall = std::function<void(const kernel::Attention&)>;
using AttentionBackwardCall = std::function<void(const kernel::AttentionBackward&)>;

/// Calls both with the shapes, strides and options of `like`, on memory of their own, the reference for the first
/// sequence only: standard normal q, k and v in which the last query of the first head meets scores of about -100.
/// Returns what differs by more than bf16 rounding explains, empty if nothing does. Waits for the device.
std::string disagreement(const kernel::Attention& like, const AttentionCall& candidate, const AttentionCall& reference);
/// The same for the backward; `forward` gives the out and row_stat that both start from.
std::string disagreement(const kernel::AttentionBackward& like, const AttentionCall& forward,
                         const AttentionBackwardCall& candidate, const AttentionBackwardCall& reference);

}  // namespace monge::MONGE_GPU
