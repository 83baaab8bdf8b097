// The row kernels of unfused attention: scores (units, group T, S) f32, one warp for each row.
#pragma once

#include "core/backend.h"
#include "core/cuda/draw.h"
#include "core/cuda/runtime.h"

namespace monge::MONGE_GPU {

struct PriorTable {
  const float* data = nullptr;  // (H, width), or null
  std::int64_t width = 0;
};

struct PriorTables {
  PriorTable head, distance, key, slopes;
};

/// Where the rows of a buffer of scores stand in their call: row r is query r % T of head first_head + r / T % heads of
/// sequence first + r / (T heads).
struct RowsPlan {
  std::int64_t first;      // sequence
  std::int64_t all_heads;  // H of the call
  std::int64_t first_head, heads;
  std::int64_t queries, keys;
  kernel::SpanReader spans;
  float scale;
  PriorTables prior;
  bool drops;
  Dropout dropout;
  std::int64_t rows;
};

/// scores -> weights, dropout included, 0 where a key is not seen; f32 in the place of the scores when `weights` is
/// that tensor. row_stat (B, H, T) of the call receives the map's statistic. Without `weights` only that.
void attention_rows(Runtime& runtime, const RowMap& map, const RowsPlan& plan, const Tensor& scores,
                    const Tensor& weights, const Tensor& row_stat);

/// All (units, group T, S).
struct RowGradients {
  Tensor scores;     // f32: overwritten with dL/dz, 0 where a key is not seen
  Tensor gradients;  // f32: <dout_i, v_j>; overwritten
  Tensor dz;         // receives dL/dz; may be `scores`
  Tensor weights;    // receives the weights, dropout included; may be `gradients`
  Tensor row_dz;     // none, or receives what stands for dL/dz in the row solve
  Tensor row_stat;   // (B, H, T) of the call
};
void attention_rows_backward(Runtime& runtime, const RowMap& map, const RowsPlan& plan, const RowGradients& rows,
                             const RowDamping& damping);

/// scores -> s_ij / sqrt(c_i), and s_ij into `curvature`.
void attention_rows_metric(Runtime& runtime, const RowMap& map, const RowsPlan& plan, const Tensor& scores,
                           const Tensor& curvature);

/// Adds the sums of dz, f32, to the tables that are there.
void add_prior_gradients(Runtime& runtime, const RowsPlan& plan, const Tensor& dz, const LogPrior& dprior);

}  // namespace monge::MONGE_GPU
