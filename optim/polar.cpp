#include "optim/polar.h"

#include <cmath>

#include "core/backend.h"

namespace monge::optim {

void polar(const Tensor& m, std::int64_t iterations, const Tensor& out) {
  Backend& backend = m.backend();
  const std::int64_t rows = m.size(0), cols = m.size(1), small = std::min(rows, cols);
  const bool tall = rows > cols;
  const bool converges = iterations == 0;
  const double a = converges ? 15.0 / 8.0 : 3.4445, b = converges ? -10.0 / 8.0 : -4.7750,
               c = converges ? 3.0 / 8.0 : 2.0315;

  // A root mean square of 1 is a Frobenius norm of sqrt(rows cols).
  const Tensor row = m.reshape({1, m.numel()}), normalised = Tensor::like(row);
  Tensor rstd = Tensor::empty({1}, m.dtype(), m.device());
  backend.norm({.kind = NormKind::rms, .eps = 1e-30, .x = row, .y = normalised, .rstd = rstd});
  backend.scale(normalised, 1.0 / std::sqrt(static_cast<double>(m.numel())), normalised);

  Tensor x = normalised.reshape(m.shape());
  Tensor next = Tensor::like(x);
  const Tensor gram = Tensor::empty({small, small}, m.dtype(), m.device()), polynomial = Tensor::like(gram);
  const std::int64_t count = converges ? 20 : iterations;
  for (std::int64_t k = 0; k < count; ++k) {
    // The Gram matrix of the shorter side: X X^T, or X^T X where X is tall.
    backend.matmul({.a = x, .transpose_a = tall, .b = x, .transpose_b = !tall, .out = gram});
    backend.matmul({.a = gram, .b = gram, .out = polynomial});
    backend.scale(polynomial, c, polynomial);
    backend.add_scaled(gram, b, polynomial);
    if (tall) {
      backend.matmul({.a = x, .b = polynomial, .out = next});
    } else {
      backend.matmul({.a = polynomial, .b = x, .out = next});
    }
    backend.add_scaled(x, a, next);
    std::swap(x, next);
  }
  backend.copy(x, out);
}

}  // namespace monge::optim
