#include "optim/sides.h"

#include <cmath>

#include "core/backend.h"

namespace monge::optim {

void average_covariances(const Sides& sides, const Tensor& gradient, double decay) {
  Backend& backend = gradient.backend();
  const Tensor scaled = Tensor::like(gradient);
  backend.scale(gradient, std::sqrt(1.0 - decay), scaled);
  for (std::size_t k = 0; k < 2; ++k) {
    const Tensor& average = sides[k].average;
    if (!average.defined()) continue;
    backend.scale(average, decay, average);
    backend.matmul(
        {.a = scaled, .transpose_a = k == 1, .b = scaled, .transpose_b = k == 0, .out = average, .accumulate = true});
  }
}

void between(const Factor& left, const Tensor& x, const Factor& right, const Tensor& out) {
  Backend& backend = x.backend();
  if (!left.matrix.defined() && !right.matrix.defined()) return backend.copy(x, out);
  Tensor half = x;
  if (left.matrix.defined()) {
    half = right.matrix.defined() ? Tensor::like(x) : out;
    backend.matmul({.a = left.matrix, .transpose_a = left.transpose, .b = x, .out = half});
  }
  if (right.matrix.defined()) {
    backend.matmul({.a = half, .b = right.matrix, .transpose_b = right.transpose, .out = out});
  }
}

SquareMatrix download(const Tensor& matrix) { return {matrix.size(0), matrix.values()}; }

void upload(const std::vector<double>& values, const Tensor& to) {
  to.backend().copy(Tensor::from(values, to.shape(), to.dtype(), to.device()), to);
}

}  // namespace monge::optim
