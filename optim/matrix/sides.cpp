#include "optim/matrix/sides.h"

#include <cmath>

#include "optim/arithmetic.h"

namespace monge::optim {

void update_covariances(const Sides& sides, const Tensor& gradient, double decay) {
  const Tensor &left = sides[0].covariance, &right = sides[1].covariance;
  const Tensor g = scale(gradient, std::sqrt(1.0 - decay));
  if (left.defined()) {
    scale(left, decay, left);
    add_matmul(g, transposed(g), left);
  }
  if (right.defined()) {
    scale(right, decay, right);
    add_matmul(transposed(g), g, right);
  }
}

SquareMatrix download(const Tensor& matrix) { return {matrix.size(0), matrix.values()}; }

void upload(const std::vector<double>& values, const Tensor& to) {
  copy(Tensor::from(values, to.shape(), to.dtype(), to.device()), to);
}

}  // namespace monge::optim
