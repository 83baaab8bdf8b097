#include "core/cuda/fused_launch.cuh"

namespace monge::MONGE_GPU {
MONGE_FUSED_KERNELS(Entmax15Map);
}  // namespace monge::MONGE_GPU
