// What a row map does to the rows of a tile: the part of attention that is compiled for every map, in
// rows.cpp, and so once for all storage types. A SIMD header, compiled for each instruction set like
// core/cpu/simd.h, which has to be included before it.
#if defined(MONGE_CORE_CPU_ATTENTION_ROWS_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MONGE_CORE_CPU_ATTENTION_ROWS_H_
#undef MONGE_CORE_CPU_ATTENTION_ROWS_H_
#else
#define MONGE_CORE_CPU_ATTENTION_ROWS_H_
#endif

#include "core/cpu/attention/tile.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// Scores become weights, after dropout, and their row statistics are kept. `mask_space`: mask_size(keys) floats.
void weigh_rows(const Tiling& tiling, const Tile& tile, float* scores, float* mask_space);

/// What the backward of a tile's rows reads and writes, in rows of tiling.stride; the last two are room for a row.
struct RowGradients {
  float* weights;              // scores before, weights after dropout afterwards
  float* dscores;              // u = dO v^T before, dz = H u afterwards
  float* solved;               // (H + lambda I)^-1 H u of the row solve, or null
  const float* weights_dot_u;  // <dO, o> of each row
  float* mask_space;           // mask_size(keys) floats
  float* s_space;              // one float a key
};
void differentiate_rows(const kernel::AttentionBackward& args, const Tiling& tiling, const Tile& tile,
                        const RowGradients& rows);

/// Scores become s / sqrt(c), row by row; s is added to column_sums.
void measure_rows(const Tiling& tiling, const Tile& tile, float* scores, float* column_sums);

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
