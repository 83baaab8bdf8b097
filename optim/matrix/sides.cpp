#include "optim/matrix/sides.h"

#include "optim/arithmetic.h"

namespace monge::optim {

void update_covariances(const Sides& sides, const Tensor& gradient, double decay, const Step& step) {
  const Tensor &left = sides[0].covariance, &right = sides[1].covariance;
  if (left.defined()) {
    const Tensor square = Tensor::like(left);
    matmul(gradient, transposed(gradient), square);
    step.update_average(left, decay, square);
  }
  if (right.defined()) {
    const Tensor square = Tensor::like(right);
    matmul(transposed(gradient), gradient, square);
    step.update_average(right, decay, square);
  }
}

SquareMatrix download(const Tensor& matrix) { return {matrix.size(0), matrix.values()}; }

Tensor upload(const std::vector<double>& values, const Tensor& like) {
  return Tensor::from(values, like.shape(), like.dtype(), like.device());
}

}  // namespace monge::optim
