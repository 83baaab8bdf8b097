// Sdpa of a build without cuDNN.
#if !defined(MONGE_CUDNN)
#include "core/cuda/cudnn/sdpa.h"

#include <stdexcept>

namespace monge::MONGE_GPU {

struct Sdpa::Implementation {};

Sdpa::Sdpa(Runtime&, MemoryPools&, std::int64_t) {}
Sdpa::~Sdpa() = default;

std::string Sdpa::refusal(const kernel::Attention&, const AttentionCall&) {
  return "this build has no cuDNN (install it and configure with -DMONGE_CUDNN=ON)";
}
std::string Sdpa::refusal(const kernel::AttentionBackward& args, const AttentionCall& forward,
                          const AttentionBackwardCall&) {
  return refusal(args.forward, forward);
}
void Sdpa::forward(const kernel::Attention&) { throw std::logic_error("[sdpa] a refused call was made"); }
void Sdpa::backward(const kernel::AttentionBackward&) { throw std::logic_error("[sdpa] a refused call was made"); }
std::string Sdpa::version() const { return "no cuDNN"; }

}  // namespace monge::MONGE_GPU
#endif
