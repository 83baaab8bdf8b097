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

struct Relu {
  __device__ float operator()(float x) const { return x < 0.0f ? 0.0f : x; }
  __device__ float slope(float x) const { return x > 0.0f ? 1.0f : 0.0f; }
};

struct Sigmoid {
  __device__ float operator()(float x) const { return sigmoid(x); }
  __device__ float slope(float x) const { return sigmoid(x) * sigmoid(-x); }
};

struct Tanh {
  __device__ float operator()(float x) const { return tanhf(x); }
  __device__ float slope(float x) const { return 4.0f * sigmoid(2.0f * x) * sigmoid(-2.0f * x); }
};

struct Exp {
  __device__ float operator()(float x) const { return expf(x); }
  __device__ float slope(float x) const { return expf(x); }
};

struct Log {
  __device__ float operator()(float x) const { return logf(x); }
  __device__ float slope(float x) const { return 1.0f / x; }
};

struct Sqrt {
  __device__ float operator()(float x) const { return sqrtf(x); }
  __device__ float slope(float x) const { return 0.5f / sqrtf(x); }
};

struct Abs {
  __device__ float operator()(float x) const { return fabsf(x); }
  __device__ float slope(float x) const { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }
};

struct Reciprocal {
  __device__ float operator()(float x) const { return 1.0f / x; }
  __device__ float slope(float x) const { return -1.0f / (x * x); }
};

/// The functions that are compiled into products as well: those of the built-in layers.
inline bool is_epilogue(Activation kind) { return kind <= Activation::silu; }

/// f(function) with the struct of a kind that is_epilogue.
template <class F>
void visit_epilogue(Activation kind, F&& f) {
  switch (kind) {
    case Activation::none: return f(None());
    case Activation::gelu: return f(Gelu());
    case Activation::gelu_tanh: return f(GeluTanh());
    case Activation::silu: return f(Silu());
    default: throw std::invalid_argument("unknown activation");
  }
}

/// f(function) with the struct of any kind.
template <class F>
void visit_activation(Activation kind, F&& f) {
  switch (kind) {
    default: return visit_epilogue(kind, f);
    case Activation::relu: return f(Relu());
    case Activation::sigmoid: return f(Sigmoid());
    case Activation::tanh: return f(Tanh());
    case Activation::exp: return f(Exp());
    case Activation::log: return f(Log());
    case Activation::sqrt: return f(Sqrt());
    case Activation::abs: return f(Abs());
    case Activation::reciprocal: return f(Reciprocal());
  }
}

}  // namespace monge::MONGE_GPU
