// Small arithmetic on tensors of a device, by kernel calls alone. Numbers are tensors of one element.
#pragma once

#include "core/backend.h"

namespace monge::optim {

/// m = decay m + (1 - decay) x.
inline void average_into(const Tensor& m, double decay, const Tensor& x) {
  m.backend().scale(m, decay, m);
  m.backend().add_scaled(x, 1.0 - decay, m);
}

/// A number in new memory.
inline Tensor number(double value, const Tensor& like) {
  Tensor out = Tensor::empty({1}, like.dtype(), like.device());
  out.backend().fill(out, value);
  return out;
}

/// f(a, b) in new memory, b repeated over a.
inline Tensor calculate(Pointwise f, const Tensor& a, const Tensor& b = {}) {
  Tensor out = Tensor::like(a);
  out.backend().pointwise(f, a, b, out);
  return out;
}

inline Tensor product(const Tensor& a, const Tensor& b) {
  Tensor out = Tensor::like(a);
  out.backend().mul(a, b, out);
  return out;
}

/// |x|, the root of the sum of squares.
inline Tensor norm_of(const Tensor& x) {
  Tensor out = Tensor::empty({1}, x.dtype(), x.device());
  out.backend().dot(x, x, out);
  out.backend().pointwise(Pointwise::root, out, {}, out);
  return out;
}

/// The mean of the elements of x.
inline Tensor mean_of(const Tensor& x) {
  Tensor out = Tensor::empty({1}, x.dtype(), x.device());
  out.backend().sum(x, 1, x.numel(), 1, 1.0 / static_cast<double>(x.numel()), out, false);
  return out;
}

/// min(1, most / size): the factor that limits something of this size, a number of at least 0.
inline Tensor limit(double most, const Tensor& size) {
  return calculate(Pointwise::minimum, calculate(Pointwise::divide, number(most, size), size), number(1.0, size));
}

}  // namespace monge::optim
