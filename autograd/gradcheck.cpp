#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace monge::autograd {
namespace {

constexpr Device reference{DeviceKind::reference, 0};
using Values = std::vector<double>;

double dot(const Values& a, const Values& b) {
  double total = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}

}  // namespace

GradcheckResult gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options) {
  std::vector<Values> points;
  for (const Tensor& input : inputs) {
    require(input.defined() && input.dtype() == DType::f64 && input.device() == reference,
            "[gradcheck] inputs are f64 tensors on the reference device");
    points.push_back(input.values());
  }
  // Fresh tensors for every call: an op may use the memory of its input.
  const auto leaves = [&] {
    std::vector<Var> vars;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      vars.push_back(Var::leaf(Tensor::from(points[i], inputs[i].shape(), DType::f64, reference)));
    }
    return vars;
  };

  // Random weights make the output a scalar without letting errors of different elements cancel.
  const std::vector<Var> vars = leaves();
  Tape tape;
  Var y;
  {
    Tape::Recording recording(tape);
    y = f(vars);
  }
  const Tensor weights = Tensor::like(y.value());
  weights.backend().normal({.x = weights, .random = {.seed = options.seed, .stream = 0, .step = {}}});
  const Values w = weights.values();
  const auto scalar = [&] {
    Tape::Pause pause;
    return dot(w, f(leaves()).value().values());
  };
  if (y.wants_grad()) tape.backward(y, weights);

  GradcheckResult result{.message = "no input has an element"};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Values& x = points[i];
    const Tensor grad = vars[i].grad();
    const Values analytic = grad.defined() ? grad.values() : Values(x.size(), 0.0);
    Values numeric(x.size());
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double x_j = x[j];
      x[j] = x_j + options.step;
      const double above = scalar();
      x[j] = x_j - options.step;
      const double below = scalar();
      x[j] = x_j;
      numeric[j] = (above - below) / (2.0 * options.step);
    }
    double largest = 1.0;
    for (const double value : numeric) largest = std::max(largest, std::abs(value));
    for (std::size_t j = 0; j < x.size(); ++j) {
      double error = std::abs(analytic[j] - numeric[j]) / largest;
      if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
      if (error < result.worst) continue;
      result.worst = error;
      result.message = fmt::format("input {} {}, element {}: analytic {:.10g}, numeric {:.10g}, relative error {:.3g}",
                                   i, inputs[i].shape(), j, analytic[j], numeric[j], error);
    }
  }
  result.ok = result.worst <= options.tolerance;
  return result;
}

}  // namespace monge::autograd
