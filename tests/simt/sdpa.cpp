// Sdpa of the emulated device.
#include "core/cuda/sdpa.h"

#include <stdexcept>

namespace monge::simt {

struct Sdpa::Implementation {};

Sdpa::Sdpa(Runtime&, MemoryPools&, bool) {}
Sdpa::~Sdpa() = default;

std::string Sdpa::refusal(const Attention&, const AttentionCall&) { return "the emulated device has no cuDNN"; }
std::string Sdpa::refusal(const AttentionBackward& args, const AttentionCall& forward, const AttentionBackwardCall&) {
  return refusal(args.forward, forward);
}
void Sdpa::forward(const Attention&) { throw std::logic_error("[sdpa] a refused call was made"); }
void Sdpa::backward(const AttentionBackward&) { throw std::logic_error("[sdpa] a refused call was made"); }
std::string Sdpa::version() const { return "no cuDNN"; }

}  // namespace monge::simt
