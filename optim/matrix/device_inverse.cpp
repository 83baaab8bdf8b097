#include "optim/matrix/device_inverse.h"

#include <cmath>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "optim/arithmetic.h"

namespace monge::optim {

void damped_inverse_on_device(const Tensor& m, const Tensor& eye, double factor, double relative, const Tensor& out) {
  require(m.rank() == 3 && eye.shape() == m.shape() && out.shape() == m.shape() && relative > 0.0,
          "[damped_inverse] {} into {} with identities {} and shift {}", m.shape(), out.shape(), eye.shape(), relative);
  const double diagonal = static_cast<double>(m.size(0) * m.size(1));
  const Tensor a = Tensor::like(m, Pool::scratch), product = Tensor::like(m, Pool::scratch);
  const Tensor next = Tensor::like(m, Pool::scratch);

  const Tensor trace = dot(m, eye);
  mul(eye, scale(trace, factor * relative / diagonal), a);
  axpy(factor, m, a);

  // X = I / |A|_F, by the kernel that clips a gradient of that norm.
  constexpr double unit = 1e-18;
  const Tensor control = Tensor::zeros({Control::size}, m.dtype(), m.device(), Pool::scratch);
  m.backend().clip_factor({.grads = a.reshape({a.numel()}), .max_norm = unit, .control = control});
  mul(eye, control.slice(Control::clip, Control::clip + 1), out);
  scale(out, 1.0 / unit, out);

  const auto steps = static_cast<int>(std::ceil(std::log2(diagonal * (1.0 + 1.0 / relative)))) + 5;
  for (int step = 0; step < steps; ++step) {
    matmul(a, out, product);  // X (2 I - A X)
    axpby(2.0, eye, -1.0, product);
    matmul(out, product, next);
    copy(next, out);
  }
}

}  // namespace monge::optim
