// FusedCall: an attention call as the fused kernels take it, by value.
#pragma once

#include "core/backend.h"
#include "core/cuda/draw.h"
#include "core/cuda/gpu.h"

namespace monge::MONGE_GPU {

inline constexpr int fused_threads = 128;
inline constexpr int fused_warps = 4;
inline constexpr int staged = 64;  // keys (or queries) that are in shared memory at once, twice

/// A HeadView: where the heads of a token are.
struct Heads {
  bf16* data = nullptr;  // of the first sequence and token
  std::int64_t token_stride = 0, batch_stride = 0;

  template <int D>
  __device__ __forceinline__ bf16* at(int b, int t, int h) const {
    return data + b * batch_stride + t * token_stride + h * D;
  }
};

struct FusedCall {
  int batch, queries, keys, heads, kv_heads;
  bool causal;
  float scale;
  const float* slopes;  // (H) or null
  Dropout dropout;      // least = 0: none
  Heads q, k, v, out;
  float* row_stat;  // (B, H, T)

  // Backward only.
  Heads dout, dq, dk, dv, row_dq, row_dk, row_dv;
  float* baseline;      // (B, H, T): <s, u> / c; for softpick <a, u>; null where it is 0
  float* row_baseline;  // (B, H, T): the mean that the row solve takes off; null where it is 0
  float* row_lambda;    // (B, H, T): with RowDamping::Scale::trace
  float damping;
  RowDamping::Scale damping_scale;

  __device__ __forceinline__ int group() const { return heads / kv_heads; }
  /// How many keys query i sees.
  __device__ __forceinline__ int visible(int i) const { return causal ? min(keys, i + 1) : keys; }
  /// Index of a query among the rows of all heads.
  __device__ __forceinline__ std::int64_t row(int b, int h, int i) const {
    return (static_cast<std::int64_t>(b) * heads + h) * queries + i;
  }
};

/// The kernels are compiled in fused_shard_<shard>.cu, side by side: each of these takes the maps whose index in the
/// list is `shard` modulo fused_shards.
inline constexpr std::size_t fused_shards = 5;

/// head_dim is 64 or 128.
template <std::size_t shard>
void fused_forward(const RowMap& map, const FusedCall& c, std::int64_t head_dim, Stream stream);
template <std::size_t shard>
void fused_backward(const RowMap& map, const FusedCall& c, std::int64_t head_dim, bool solves, Stream stream);

}  // namespace monge::MONGE_GPU
