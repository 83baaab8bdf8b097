#include "core/check.h"
#include "core/reference/reference_backend.h"

namespace monge {

void ReferenceBackend::swap_middle(const Tensor& x, const Tensor& y) {
  check::swap_middle(device(), x, y);
  const auto P = x.size(0), Q = x.size(1), R = x.size(2), S = x.size(3);
  const double* const in = x.data_as<double>();
  double* const out = y.data_as<double>();
  for (std::int64_t p = 0; p < P; ++p) {
    for (std::int64_t q = 0; q < Q; ++q) {
      for (std::int64_t r = 0; r < R; ++r) {
        for (std::int64_t s = 0; s < S; ++s) out[((p * R + r) * Q + q) * S + s] = in[((p * Q + q) * R + r) * S + s];
      }
    }
  }
}

void ReferenceBackend::sum(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor,
                           const Tensor& out, bool accumulate) {
  check::sum(device(), x, outer, n, inner, out);
  const double* const in = x.data_as<double>();
  double* const result = out.data_as<double>();
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < inner; ++i) {
      double total = 0.0;
      for (std::int64_t k = 0; k < n; ++k) total += in[(o * n + k) * inner + i];
      double& target = result[o * inner + i];
      target = (accumulate ? target : 0.0) + factor * total;
    }
  }
}

void ReferenceBackend::repeat(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor,
                              const Tensor& out) {
  check::repeat(device(), x, outer, n, inner, out);
  const double* const in = x.data_as<double>();
  double* const result = out.data_as<double>();
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t k = 0; k < n; ++k) {
      for (std::int64_t i = 0; i < inner; ++i) result[(o * n + k) * inner + i] = factor * in[o * inner + i];
    }
  }
}

void ReferenceBackend::dot(const Tensor& a, const Tensor& b, const Tensor& out) {
  check::dot(device(), a, b, out);
  double total = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i) total += a.data_as<double>()[i] * b.data_as<double>()[i];
  *out.data_as<double>() = total;
}

}  // namespace monge
