#include "core/cuda/fused/launch.cuh"

namespace monge::MONGE_GPU {
MONGE_FUSED_SHARD(4);
}  // namespace monge::MONGE_GPU
