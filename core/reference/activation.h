// The pointwise functions and their derivatives, as written in the papers.
#pragma once

#include <cmath>
#include <numbers>

#include "core/backend.h"

namespace monge {

inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double normal_density(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi); }
/// Phi(x), in the form that keeps its relative accuracy far to the left.
inline double normal_distribution(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

// gelu_tanh(x) = x / 2 (1 + tanh(inner(x))), inner(x) = sqrt(2 / pi) (x + 0.044715 x^3).
inline constexpr double gelu_cubic = 0.044715;
inline double gelu_inner(double x) { return std::sqrt(2.0 / std::numbers::pi) * (x + gelu_cubic * x * x * x); }
inline double gelu_inner_slope(double x) {
  return std::sqrt(2.0 / std::numbers::pi) * (1.0 + 3.0 * gelu_cubic * x * x);
}

inline double activate(Activation kind, double x) {
  switch (kind) {
    case Activation::none: return x;
    case Activation::gelu: return x * normal_distribution(x);
    case Activation::gelu_tanh: return 0.5 * x * (1.0 + std::tanh(gelu_inner(x)));
    case Activation::silu: return x * sigmoid(x);
    case Activation::relu: return x < 0.0 ? 0.0 : x;
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: return std::tanh(x);
    case Activation::exp: return std::exp(x);
    case Activation::log: return std::log(x);
    case Activation::sqrt: return std::sqrt(x);
    case Activation::abs: return std::abs(x);
    case Activation::reciprocal: return 1.0 / x;
  }
  throw std::invalid_argument("unknown activation");
}

inline double activation_slope(Activation kind, double x) {
  switch (kind) {
    case Activation::none: return 1.0;
    case Activation::gelu: return normal_distribution(x) + x * normal_density(x);
    case Activation::gelu_tanh: {
      const double t = std::tanh(gelu_inner(x));
      return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * gelu_inner_slope(x);
    }
    case Activation::silu: return sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)));
    case Activation::relu: return x > 0.0 ? 1.0 : 0.0;
    case Activation::sigmoid: return sigmoid(x) * sigmoid(-x);
    case Activation::tanh: return 1.0 / (std::cosh(x) * std::cosh(x));
    case Activation::exp: return std::exp(x);
    case Activation::log: return 1.0 / x;
    case Activation::sqrt: return 0.5 / std::sqrt(x);
    case Activation::abs: return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0;
    case Activation::reciprocal: return -1.0 / (x * x);
  }
  throw std::invalid_argument("unknown activation");
}

}  // namespace monge
