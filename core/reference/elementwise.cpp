#include <cmath>

#include "core/check.h"
#include "core/reference/activation.h"
#include "core/reference/reference_backend.h"

namespace monge {
namespace {

/// out_i = f(a_i, b_i) with b repeated over a.
template <class F>
void combine(const Tensor& a, const Tensor& b, const Tensor& out, F f) {
  const double* const x = a.data_as<double>();
  const double* const y = b.data_as<double>();
  double* const z = out.data_as<double>();
  for (std::int64_t i = 0; i < a.numel(); ++i) z[i] = f(x[i], y[i % b.numel()]);
}

}  // namespace

void ReferenceBackend::add(const Tensor& a, const Tensor& b, const Tensor& out) {
  check::add(device(), a, b, out);
  combine(a, b, out, [](double x, double y) { return x + y; });
}

void ReferenceBackend::mul(const Tensor& a, const Tensor& b, const Tensor& out) {
  check::mul(device(), a, b, out);
  combine(a, b, out, [](double x, double y) { return x * y; });
}

void ReferenceBackend::scale(const Tensor& x, double factor, const Tensor& out) {
  check::scale(device(), x, out);
  combine(x, x, out, [&](double value, double) { return factor * value; });
}

void ReferenceBackend::add_scaled(const Tensor& x, double factor, const Tensor& y) {
  check::add_scaled(device(), x, y);
  combine(y, x, y, [&](double sum, double value) { return sum + factor * value; });
}

void ReferenceBackend::pointwise(Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out) {
  check::pointwise(device(), function, a, b, out);
  combine(a, takes_two(function) ? b : a, out, [&](double x, double y) {
    switch (function) {
      case Pointwise::divide: return y == 0.0 ? 0.0 : x / y;
      case Pointwise::minimum: return y < x ? y : x;
      case Pointwise::maximum: return x < y ? y : x;
      case Pointwise::root: return std::sqrt(x);
      case Pointwise::sign: return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0;
      case Pointwise::positive: return x > 0.0 ? 1.0 : 0.0;
    }
    return 0.0;
  });
}

void ReferenceBackend::activation(Activation kind, const Tensor& x, const Tensor& y) {
  check::activation(device(), x, y);
  combine(x, x, y, [&](double value, double) { return activate(kind, value); });
}

void ReferenceBackend::activation_backward(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                                           const Tensor& y) {
  check::activation_backward(device(), x, dy, dx, y);
  combine(x, dy, dx, [&](double value, double upstream) { return activation_slope(kind, value) * upstream; });
  if (y) activation(kind, x, y);
}

}  // namespace monge
