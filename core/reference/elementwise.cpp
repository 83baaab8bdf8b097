#include <cmath>

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

void ReferenceBackend::compute(const kernel::Add& args) {
  combine(args.a, args.b, args.out, [](double x, double y) { return x + y; });
}

void ReferenceBackend::compute(const kernel::Mul& args) {
  combine(args.a, args.b, args.out, [](double x, double y) { return x * y; });
}

void ReferenceBackend::compute(const kernel::Scale& args) {
  combine(args.x, args.x, args.out, [&](double value, double) { return args.factor * value; });
}

void ReferenceBackend::compute(const kernel::AddScaled& args) {
  combine(args.y, args.x, args.y, [&](double sum, double value) { return sum + args.factor * value; });
}

void ReferenceBackend::compute(const kernel::Pointwise& args) {
  combine(args.a, args.takes_two() ? args.b : args.a, args.out, [&](double x, double y) {
    switch (args.function) {
      case kernel::Pointwise::divide: return y == 0.0 ? 0.0 : x / y;
      case kernel::Pointwise::minimum: return y < x ? y : x;
      case kernel::Pointwise::maximum: return x < y ? y : x;
      case kernel::Pointwise::root: return std::sqrt(x);
      case kernel::Pointwise::sign: return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0;
      case kernel::Pointwise::positive: return x > 0.0 ? 1.0 : 0.0;
    }
    return 0.0;
  });
}

void ReferenceBackend::compute(const kernel::Activate& args) {
  combine(args.x, args.x, args.y, [&](double value, double) { return monge::activate(args.function, value); });
}

void ReferenceBackend::compute(const kernel::ActivateBackward& args) {
  combine(args.x, args.dy, args.dx,
          [&](double value, double upstream) { return activation_slope(args.function, value) * upstream; });
  if (args.y) compute(kernel::Activate{args.function, args.x, args.y});
}

}  // namespace monge
