#include "optim/device_inverse.h"

#include <cmath>
#include <vector>

#include "core/backend.h"
#include "core/error.h"

namespace monge::optim {
Tensor identities(const Shape& shape, DType dtype, Device device) {
  require(shape.rank() == 3 && shape[1] == shape[2], "[identities] {} are no square matrices", shape);
  const std::int64_t n = shape[1];
  std::vector<double> values(static_cast<std::size_t>(shape.numel()), 0.0);
  for (std::int64_t i = 0; i < shape[0] * n; ++i) values[static_cast<std::size_t>(i * n + i % n)] = 1.0;
  return Tensor::from(values, shape, dtype, device, Pool::optimizer);
}

void damped_inverse_on_device(const Tensor& m, const Tensor& eye, double factor, double relative, const Tensor& out) {
  require(m.rank() == 3 && eye.shape() == m.shape() && out.shape() == m.shape() && relative > 0.0,
          "[damped_inverse] {} into {} with identities {} and shift {}", m.shape(), out.shape(), eye.shape(), relative);
  Backend& backend = m.backend();
  const auto scalar = [&] { return Tensor::empty({1}, m.dtype(), m.device(), Pool::scratch); };
  const double diagonal = static_cast<double>(m.size(0) * m.size(1));
  const Tensor a = Tensor::like(m, Pool::scratch), product = Tensor::like(m, Pool::scratch);

  const Tensor shift = scalar();
  backend.dot(m, eye, shift);
  backend.scale(shift, factor * relative / diagonal, shift);
  backend.mul(eye, shift, a);
  backend.add_scaled(m, factor, a);

  // 1 / |A|_F, as what a gradient of that length would be clipped with.
  constexpr double unit = 1e-18;
  const Tensor control = Tensor::zeros({Control::size}, m.dtype(), m.device(), Pool::scratch);
  backend.clip_factor(a.reshape({a.numel()}), unit, control);
  backend.mul(eye, control.slice(Control::clip, Control::clip + 1), out);
  backend.scale(out, 1.0 / unit, out);

  const auto steps = static_cast<int>(std::ceil(std::log2(diagonal * (1.0 + 1.0 / relative)))) + 5;
  for (int step = 0; step < steps; ++step) {
    backend.matmul({.a = a, .b = out, .out = product});
    backend.scale(product, -1.0, product);
    backend.add_scaled(eye, 2.0, product);
    const Tensor next = Tensor::like(m, Pool::scratch);
    backend.matmul({.a = out, .b = product, .out = next});
    backend.copy(next, out);
  }
}

}  // namespace monge::optim
