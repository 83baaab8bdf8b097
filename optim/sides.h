// The two sides of a matrix (rows, cols), for the rules that treat them apart: its rows by a factor (rows, rows), its
// columns by one (cols, cols). A side may have none, which then counts as I.
#pragma once

#include <array>
#include <vector>

#include "core/tensor.h"
#include "optim/symmetric.h"

namespace monge::optim {

/// The averaged L = G G^T or R = G^T G of gradients G, and what a rule makes of it.
struct Side {
  Tensor average, factor;  // (n, n), or none
};
using Sides = std::array<Side, 2>;

/// Those of a matrix of this shape, all zero, by `make`; longer sides than `max_dim` have none.
template <class Make>
Sides make_sides(const Shape& shape, std::int64_t max_dim, const Make& make) {
  Sides sides;
  for (std::size_t k = 0; k < 2; ++k) {
    const std::int64_t n = shape[static_cast<int>(k)];
    if (n <= max_dim) sides[k] = {make({n, n}), make({n, n})};
  }
  return sides;
}

/// L = decay L + (1 - decay) G G^T and R = decay R + (1 - decay) G^T G, of the sides that have them.
void update_covariances(const Sides& sides, const Tensor& gradient, double decay);

/// Square tensors on the host, which waits for the device, and back.
SquareMatrix download(const Tensor& matrix);
void upload(const std::vector<double>& values, const Tensor& to);

}  // namespace monge::optim
