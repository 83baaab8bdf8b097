// Kernels that work on rows: a tensor is read as (shape.rows(), last()) = (R, C).
#pragma once

#include "core/kernel/call.h"

namespace monge {

enum class NormKind : std::uint8_t { layer, rms };

}  // namespace monge

namespace monge::kernel {

struct Softmax {
  Tensor x, y;
};

/// dx = y * (dy - sum(y dy)).
struct SoftmaxBackward {
  Tensor y, dy, dx;
};

/// y = (x - mean) * rstd * gain + bias over the last dimension; rms: mean = 0, rstd = 1 / sqrt(mean(x^2) + eps).
/// With `residual`, x + residual is normalised and written to `sum`.
struct Norm {
  NormKind kind = NormKind::layer;
  double eps = 1e-5;
  Tensor x;         // (R, C)
  Tensor residual;  // (R, C) or none
  Tensor gain;      // (C) or none
  Tensor bias;      // (C) or none
  Tensor sum;       // (R, C), with residual only
  Tensor y;         // (R, C)
  Tensor mean;      // (R) f32 (reference: f64); none for rms
  Tensor rstd;      // (R) f32 (reference: f64)
};

struct NormBackward {
  NormKind kind = NormKind::layer;
  Tensor x;      // (R, C): what was normalised (x, or sum)
  Tensor gain;   // (C) or none
  Tensor mean;   // (R) or none
  Tensor rstd;   // (R)
  Tensor dy;     // (R, C)
  Tensor dsum;   // (R, C) or none: gradient that reaches `sum` directly; added to dx
  Tensor dx;     // (R, C), overwritten; may be dsum (in place)
  Tensor dgain;  // (C) or none; may be f32 when x is bf16
  Tensor dbias;  // (C) or none; like dgain
  bool accumulate_gain = false;
  bool accumulate_bias = false;
};

/// Rotates the pairs (x[i], x[i + D/2]) of the first `heads` heads of each token by angle position * base^(-2i/D)
/// (Su et al. 2021, arXiv:2104.09864, in the half-split layout); the rest of the row is copied. `inverse` rotates back.
struct Rope {
  Tensor x;  // (B, T, W), W >= heads * head_dim
  Tensor y;  // (B, T, W); may be x (in place)
  std::int64_t heads = 0, head_dim = 0;
  std::int64_t start = 0;  // position of the first token
  double base = 10000.0;
  bool inverse = false;
};

Call check(const Softmax& args, Device device);
Call check(const SoftmaxBackward& args, Device device);
Call check(const Norm& args, Device device);
Call check(const NormBackward& args, Device device);
Call check(const Rope& args, Device device);

}  // namespace monge::kernel
