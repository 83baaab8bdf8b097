// Shape and reductions: reshape, slice, swap_middle, sum, mean.
#include "autograd/ops.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_reshape("reshape");
const Op op_slice("slice");
const Op op_swap_middle("swap_middle");
const Op op_sum("sum");
const Op op_mean("mean");

Tensor swapped(const Tensor& x) {
  const Tensor y = Tensor::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.dtype(), x.device());
  x.backend().swap_middle({.x = x, .y = y});
  return y;
}

/// A shape read as (outer, n, inner), and what is left when n is summed away.
struct Reduction {
  std::int64_t outer, n, inner;
  Shape left;
};

Reduction over_all(const Shape& shape) { return {1, shape.numel(), 1, {1}}; }

Reduction over(const Shape& shape, int dim) {
  Reduction r{1, shape[dim], 1, shape.without(dim)};
  const int position = dim < 0 ? dim + shape.rank() : dim;
  for (int i = 0; i < position; ++i) r.outer *= shape[i];
  for (int i = position + 1; i < shape.rank(); ++i) r.inner *= shape[i];
  return r;
}

Var reduce(const Op& op, const Var& x, const Reduction& r, double factor) {
  const Tensor y = Tensor::empty(r.left, x.value().dtype(), x.value().device());
  y.backend().sum({.x = x.value(), .outer = r.outer, .n = r.n, .inner = r.inner, .factor = factor, .out = y});
  return Tape::record(op, y, {x}, [r, factor, shape = x.shape()](Gradients& g) {
    const Tensor dx = Tensor::empty(shape, g.out().dtype(), g.out().device());
    dx.backend().repeat({.x = g.out(), .outer = r.outer, .n = r.n, .inner = r.inner, .factor = factor, .out = dx});
    g.add(0, dx);
  });
}

double one_over(std::int64_t n) {
  require(n > 0, "[mean] of no elements");
  return 1.0 / static_cast<double>(n);
}

}  // namespace

Var reshape(const Var& x, const Shape& shape) {
  return Tape::record(op_reshape, x.value().reshape(shape), {x},
                      [before = x.shape()](Gradients& g) { g.add(0, g.out().reshape(before)); });
}

Var slice(const Var& x, std::int64_t begin, std::int64_t end) {
  return Tape::record(op_slice, x.value().slice(begin, end), {x}, [begin, end](Gradients& g) {
    const auto [dx, accumulate] = g.slot(0);
    if (!accumulate) dx.backend().fill({.x = dx});
    dx.backend().add_scaled({.x = g.out(), .y = dx.slice(begin, end)});
  });
}

Var swap_middle(const Var& x) {
  require(x.shape().rank() == 4, "[swap_middle] {} does not have four dimensions", x.shape());
  return Tape::record(op_swap_middle, swapped(x.value()), {x}, [](Gradients& g) { g.add(0, swapped(g.out())); });
}

Var sum(const Var& x) { return reduce(op_sum, x, over_all(x.shape()), 1.0); }
Var mean(const Var& x) { return reduce(op_mean, x, over_all(x.shape()), one_over(x.shape().numel())); }
Var sum(const Var& x, int dim) { return reduce(op_sum, x, over(x.shape(), dim), 1.0); }
Var mean(const Var& x, int dim) { return reduce(op_mean, x, over(x.shape(), dim), one_over(x.size(dim))); }

}  // namespace monge::autograd
