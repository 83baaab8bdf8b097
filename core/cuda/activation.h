// The pointwise functions of core/backend.h and their slopes, on floats.
#pragma once

#include "core/backend.h"
#include "core/cuda/gpu.h"

namespace monge::MONGE_GPU {

/// Below x = -87 the fast division gives 0 for what would be denormal.
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
__device__ __forceinline__ float normal_distribution(float x) { return 0.5f * erfcf(-0.70710678f * x); }
__device__ __forceinline__ float normal_density(float x) { return 0.39894228f * __expf(-0.5f * x * x); }

struct None {
  __device__ float operator()(float x) const { return x; }
  __device__ float slope(float) const { return 1.0f; }
};

struct Gelu {
  __device__ float operator()(float x) const { return x * normal_distribution(x); }
  __device__ float slope(float x) const { return normal_distribution(x) + x * normal_density(x); }
};

/// x / 2 (1 + tanh(inner)), inner = sqrt(2 / pi) (x + 0.044715 x^3), as x sigmoid(2 inner), which keeps its digits far
/// to the left.
struct GeluTanh {
  static constexpr float root = 0.79788456f, cubic = 0.044715f;
  __device__ float operator()(float x) const { return x * sigmoid(twice_inner(x)); }
  __device__ float slope(float x) const {
    const float y = twice_inner(x), s = sigmoid(y);
    return s + x * s * sigmoid(-y) * 2.0f * root * (1.0f + 3.0f * cubic * x * x);
  }
  __device__ static float twice_inner(float x) { return 2.0f * root * (x + cubic * x * x * x); }
};

struct Silu {
  __device__ float operator()(float x) const { return x * sigmoid(x); }
  __device__ float slope(float x) const {
    const float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
  }
};

/// f(function) with the struct of the kind.
template <class F>
void visit_activation(Activation kind, F&& f) {
  switch (kind) {
    case Activation::none: return f(None());
    case Activation::gelu: return f(Gelu());
    case Activation::gelu_tanh: return f(GeluTanh());
    case Activation::silu: return f(Silu());
  }
  throw std::invalid_argument("unknown activation");
}

}  // namespace monge::MONGE_GPU
