// Attention on the device: which way a call takes. cuDNN where it is known to be right, else our fused kernels, else
// products and row kernels, which take everything.
#include <fmt/format.h>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/cudnn/sdpa.h"
#include "core/cuda/fused/attention.h"
#include "core/cuda/products/products.h"
#include "core/cuda/unfused/attention.h"

namespace monge::MONGE_GPU {
namespace {

using Path = GpuSettings::AttentionPath;

}  // namespace

/// Says once for each kind of call which way it takes, and why not a faster one.
void CudaBackend::note_path(const char* pass, const kernel::Attention& args, const char* path,
                            const std::string& reasons) {
  notes_.insert(fmt::format("attention {} of {} {}, {} heads of {}: {}{}", pass, name_of(args.map),
                            name_of(args.q.data.dtype()), args.heads, args.head_dim, path, reasons));
}

void CudaBackend::compute(const kernel::Attention& args) {
  const UnfusedContext context{runtime_, *products_, device()};
  std::string reasons;
  if (settings_.attention != Path::unfused) {
    if (settings_.attention != Path::fused) {
      const auto reference = [&](const kernel::Attention& a) { unfused_attention(context, a); };
      const std::string refusal = sdpa_->refusal(args, reference);
      if (refusal.empty()) {
        note_path("forward", args, "cuDNN", {});
        return sdpa_->forward(args);
      }
      reasons += fmt::format(" (not cuDNN: {})", refusal);
    }
    const std::string refusal = fused_refusal(args);
    if (refusal.empty()) {
      note_path("forward", args, "fused kernels", reasons);
      if (fused_needs_row_stat(args.map)) unfused_row_stat(context, args);
      return fused_attention(runtime_.stream(), args);
    }
    reasons += fmt::format(" (not fused kernels: {})", refusal);
  }
  note_path("forward", args, "products and row kernels", reasons);
  unfused_attention(context, args);
}

void CudaBackend::compute(const kernel::AttentionBackward& args) {
  const UnfusedContext context{runtime_, *products_, device()};
  std::string reasons;
  if (settings_.attention != Path::unfused) {
    if (settings_.attention != Path::fused) {
      const auto forward = [&](const kernel::Attention& a) { unfused_attention(context, a); };
      const auto reference = [&](const kernel::AttentionBackward& a) { unfused_attention_backward(context, a); };
      const std::string refusal = sdpa_->refusal(args, forward, reference);
      if (refusal.empty()) {
        note_path("backward", args.forward, "cuDNN", {});
        return sdpa_->backward(args);
      }
      reasons += fmt::format(" (not cuDNN: {})", refusal);
    }
    const std::string refusal = fused_refusal(args);
    if (refusal.empty()) {
      note_path("backward", args.forward, "fused kernels", reasons);
      return fused_attention_backward(runtime_.stream(), args);
    }
    reasons += fmt::format(" (not fused kernels: {})", refusal);
  }
  note_path("backward", args.forward, "products and row kernels", reasons);
  unfused_attention_backward(context, args);
}

void CudaBackend::compute(const kernel::AttentionMetric& args) {
  unfused_attention_metric({runtime_, *products_, device()}, args);
}

}  // namespace monge::MONGE_GPU
