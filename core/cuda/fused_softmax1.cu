#include "core/cuda/fused_launch.cuh"

namespace monge::MONGE_GPU {
MONGE_FUSED_KERNELS(Softmax1Map);
}  // namespace monge::MONGE_GPU
