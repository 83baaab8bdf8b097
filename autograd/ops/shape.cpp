// Shape and reductions: reshape, slice, concat, transpose, sum, mean.
#include "autograd/ops.h"
#include "core/backend.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_reshape("reshape");
const Op op_slice("slice");
const Op op_concat("concat");
const Op op_transpose("transpose");
const Op op_sum("sum");
const Op op_mean("mean");

void copy(const StridedView& from, const StridedView& to, bool accumulate = false) {
  to.tensor().backend().strided_copy({.from = from, .to = to, .accumulate = accumulate});
}

Tensor copy_of(const StridedView& view) {
  Tensor out = Tensor::empty(view.shape(), view.tensor().dtype(), view.tensor().device());
  copy(view, out);
  return out;
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

Var slice(const Var& x, int dim, std::int64_t begin, std::int64_t end) {
  const Tensor y = copy_of(StridedView(x.value()).slice(dim, begin, end));
  return Tape::record(op_slice, y, {x}, [=](Gradients& g) {
    const auto [dx, accumulate] = g.slot(0);
    if (!accumulate) dx.backend().fill({.x = dx});
    copy(g.out(), StridedView(dx).slice(dim, begin, end), true);
  });
}

Var concat(const std::vector<Var>& parts, int dim) {
  require(!parts.empty(), "[concat] of nothing");
  const Shape& first = parts.front().shape();
  std::vector<std::int64_t> ends{0};
  for (const Var& part : parts) {
    require(part.shape().rank() == first.rank() && part.shape().with(dim, 0) == first.with(dim, 0),
            "[concat] {} and {} differ in more than dimension {}", first, part.shape(), dim);
    ends.push_back(ends.back() + part.size(dim));
  }
  const Tensor y =
      Tensor::empty(first.with(dim, ends.back()), parts.front().value().dtype(), parts.front().value().device());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    copy(parts[i].value(), StridedView(y).slice(dim, ends[i], ends[i + 1]));
  }
  return Tape::record(op_concat, y, parts, [=](Gradients& g) {
    for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
      if (!g.wants(i)) continue;
      const auto [dx, accumulate] = g.slot(i);
      copy(StridedView(g.out()).slice(dim, ends[i], ends[i + 1]), dx, accumulate);
    }
  });
}

Var transpose(const Var& x, int a, int b) {
  const Tensor y = copy_of(StridedView(x.value()).transpose(a, b));
  return Tape::record(op_transpose, y, {x}, [=](Gradients& g) {
    const auto [dx, accumulate] = g.slot(0);
    copy(StridedView(g.out()).transpose(a, b), dx, accumulate);
  });
}

Var sum(const Var& x) { return reduce(op_sum, x, over_all(x.shape()), 1.0); }
Var mean(const Var& x) { return reduce(op_mean, x, over_all(x.shape()), one_over(x.shape().numel())); }
Var sum(const Var& x, int dim) { return reduce(op_sum, x, over(x.shape(), dim), 1.0); }
Var mean(const Var& x, int dim) { return reduce(op_mean, x, over(x.shape(), dim), one_over(x.size(dim))); }

}  // namespace monge::autograd
