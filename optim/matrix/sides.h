// Kronecker factors: a matrix (rows, cols) multiplied by a factor (rows, rows) from the left and by one (cols, cols)
// from the right. A side without a factor counts as I.
#pragma once

#include <array>
#include <vector>

#include "core/tensor.h"
#include "optim/matrix/symmetric.h"
#include "optim/rule.h"

namespace monge::optim {

/// The moving average of L = G G^T or R = G^T G of the gradients G, and the factor that a rule derives from it.
struct Side {
  Tensor covariance, factor;  // (n, n), or none
};
using Sides = std::array<Side, 2>;

/// Left and right side of a matrix of this shape, all zero, allocated by `make`; sides longer than `max_dim` have none.
template <class Make>
Sides make_sides(const Shape& shape, std::int64_t max_dim, const Make& make) {
  Sides sides;
  for (std::size_t k = 0; k < 2; ++k) {
    const std::int64_t n = shape[static_cast<int>(k)];
    if (n <= max_dim) sides[k] = {make({n, n}), make({n, n})};
  }
  return sides;
}

/// L = decay L + (1 - decay) G G^T and R = decay R + (1 - decay) G^T G, where the sides have them.
void update_covariances(const Sides& sides, const Tensor& gradient, double decay, const Step& step);

/// A square tensor to the host, which waits for the device, and values back, as a tensor like another.
SquareMatrix download(const Tensor& matrix);
Tensor upload(const std::vector<double>& values, const Tensor& like);

}  // namespace monge::optim
