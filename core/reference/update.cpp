#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/reference/reference_backend.h"

namespace monge {

void ReferenceBackend::clip_factor(const Tensor& grads, double max_norm, const Tensor& control) {
  check::clip_factor(device(), grads, max_norm, control);
  double squares = 0.0;
  for (std::int64_t i = 0; i < grads.numel(); ++i) {
    const double g = grads.data_as<double>()[i];
    squares += g * g;
  }
  const double norm = std::sqrt(squares);
  double* const slots = control.data_as<double>();
  slots[Control::grad_norm] = norm;
  slots[Control::clip] = max_norm > 0.0 && norm > max_norm ? max_norm / norm : 1.0;
  slots[Control::finite] = std::isfinite(norm) ? 1.0 : 0.0;
}

// Loshchilov & Hutter 2019, arXiv:1711.05101, in PyTorch's form: the decay uses the parameter before the step.
void ReferenceBackend::adamw(const AdamW& args) {
  check::adamw(device(), args);
  const double* const control = args.control.data_as<double>();
  if (control[Control::finite] == 0.0) return;
  const double lr = control[Control::lr] * args.lr_scale;
  const double unbias1 = 1.0 - std::pow(args.beta1, control[Control::step]);
  const double unbias2 = 1.0 - std::pow(args.beta2, control[Control::step]);
  for (std::int64_t i = 0; i < args.param.numel(); ++i) {
    const double g = control[Control::clip] * args.grad.data_as<double>()[i];
    double& p = args.param.data_as<double>()[i];
    double& m = args.m.data_as<double>()[i];
    double& v = args.v.data_as<double>()[i];
    m = args.beta1 * m + (1.0 - args.beta1) * g;
    v = args.beta2 * v + (1.0 - args.beta2) * g * g;
    p = (1.0 - lr * args.weight_decay) * p - lr * (m / unbias1) / (std::sqrt(v / unbias2) + args.eps);
  }
}

void ReferenceBackend::sgd(const Sgd& args) {
  check::sgd(device(), args);
  const double* const control = args.control.data_as<double>();
  if (control[Control::finite] == 0.0) return;
  const double lr = control[Control::lr] * args.lr_scale;
  for (std::int64_t i = 0; i < args.param.numel(); ++i) {
    const double g = control[Control::clip] * args.grad.data_as<double>()[i];
    double& p = args.param.data_as<double>()[i];
    double u = g;
    if (args.momentum != 0.0) {
      double& b = args.buffer.data_as<double>()[i];
      b = control[Control::step] == 1.0 ? g : args.momentum * b + g;
      u = args.nesterov ? g + args.momentum * b : b;
    }
    p = (1.0 - lr * args.weight_decay) * p - lr * u;
  }
}

void ReferenceBackend::directed_step(const DirectedStep& args) {
  check::directed_step(device(), args);
  const double* const control = args.control.data_as<double>();
  if (control[Control::finite] == 0.0) return;
  std::vector<double> factors;
  double quadratic = 0.0;  // <f v, f F v>, with <v, gradient> for <v, F v>
  for (const auto& m : args.matrices) {
    const double lr = control[Control::lr] * m.lr_scale;
    double reference = 0.0, length = 0.0, along = 0.0;
    for (std::int64_t i = 0; i < m.param.numel(); ++i) {
      const double v = m.direction.data_as<double>()[i];
      const double done = m.param.data_as<double>()[i] - (1.0 - lr * m.weight_decay) * m.before.data_as<double>()[i];
      reference += done * done;
      length += v * v;
      along += v * m.gradient.data_as<double>()[i];
    }
    const double factor = args.graft > 0.0 ? args.graft * std::sqrt(reference / length) : lr;
    factors.push_back(length > 0.0 ? factor : 0.0);
    quadratic += factors.back() * factors.back() * along;
  }
  const double kept = args.kl > 0.0 && quadratic > args.kl ? std::sqrt(args.kl / quadratic) : 1.0;
  for (std::size_t k = 0; k < factors.size(); ++k) {
    const auto& m = args.matrices[k];
    const double decay = 1.0 - control[Control::lr] * m.lr_scale * m.weight_decay;
    for (std::int64_t i = 0; i < m.param.numel(); ++i) {
      m.param.data_as<double>()[i] =
          decay * m.before.data_as<double>()[i] - kept * factors[k] * m.direction.data_as<double>()[i];
    }
  }
}

}  // namespace monge
