#include "optim/arithmetic.h"

#include <utility>

#include "core/backend.h"
#include "core/error.h"

namespace monge::optim {
namespace {

Tensor empty_scalar(const Tensor& like) { return Tensor::empty({1}, like.dtype(), like.device()); }

Tensor or_like(Tensor out, const Tensor& x) { return out.defined() ? out : Tensor::like(x); }

Tensor of_one(kernel::Pointwise::Function function, const Tensor& a, Tensor out = {}) {
  out = or_like(std::move(out), a);
  out.backend().pointwise({.function = function, .a = a, .out = out});
  return out;
}

Tensor of_two(kernel::Pointwise::Function function, const Tensor& a, const Operand& b, Tensor out) {
  out = or_like(std::move(out), a);
  out.backend().pointwise({.function = function, .a = a, .b = b.beside(a), .out = out});
  return out;
}

/// out = factor * the sum of x (outer, n, inner) over n.
Tensor sum(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor) {
  Tensor out = Tensor::empty({outer * inner}, x.dtype(), x.device());
  out.backend().sum({.x = x, .outer = outer, .n = n, .inner = inner, .factor = factor, .out = out});
  return out;
}

double one_over(std::int64_t n) { return 1.0 / static_cast<double>(n); }

void multiply(const Factor& a, const Factor& b, const Tensor& out, bool accumulate) {
  out.backend().matmul({.a = a.matrix,
                        .transpose_a = a.transposed,
                        .b = b.matrix,
                        .transpose_b = b.transposed,
                        .out = out,
                        .accumulate = accumulate});
}

}  // namespace

Tensor Operand::beside(const Tensor& a) const { return constant_ ? scalar(*constant_, a) : tensor_; }

Tensor add(const Tensor& a, const Operand& b, Tensor out) {
  out = or_like(std::move(out), a);
  out.backend().add({.a = a, .b = b.beside(a), .out = out});
  return out;
}
Tensor mul(const Tensor& a, const Operand& b, Tensor out) {
  out = or_like(std::move(out), a);
  out.backend().mul({.a = a, .b = b.beside(a), .out = out});
  return out;
}
Tensor square(const Tensor& a) { return mul(a, a); }
Tensor div(const Tensor& a, const Operand& b, Tensor out) {
  return of_two(kernel::Pointwise::divide, a, b, std::move(out));
}
Tensor min(const Tensor& a, const Operand& b, Tensor out) {
  return of_two(kernel::Pointwise::minimum, a, b, std::move(out));
}
Tensor max(const Tensor& a, const Operand& b, Tensor out) {
  return of_two(kernel::Pointwise::maximum, a, b, std::move(out));
}
Tensor sqrt(const Tensor& a, Tensor out) { return of_one(kernel::Pointwise::root, a, std::move(out)); }
Tensor sign(const Tensor& a) { return of_one(kernel::Pointwise::sign, a); }
Tensor is_positive(const Tensor& a) { return of_one(kernel::Pointwise::positive, a); }
Tensor positive_or(const Tensor& a, double otherwise) {
  const Tensor positive = is_positive(a), rest = scale(positive, -otherwise);
  add(rest, otherwise, rest);
  return add(mul(a, positive), rest);
}

void copy(const Tensor& x, const Tensor& out) { out.backend().copy({.from = x, .to = out}); }
void fill(const Tensor& out, double value) { out.backend().fill({.x = out, .value = value}); }

Tensor scalar(double value, const Tensor& like) {
  Tensor out = empty_scalar(like);
  fill(out, value);
  return out;
}

Tensor scale(const Tensor& x, double a, Tensor out) {
  out = or_like(std::move(out), x);
  out.backend().scale({.x = x, .factor = a, .out = out});
  return out;
}
void axpy(double a, const Tensor& x, const Tensor& y) { y.backend().add_scaled({.x = x, .factor = a, .y = y}); }

void axpby(double a, const Tensor& x, double b, const Tensor& y) {
  scale(y, b, y);
  axpy(a, x, y);
}

void update_average(const Tensor& m, double decay, const Tensor& x) { axpby(1.0 - decay, x, decay, m); }

Tensor dot(const Tensor& a, const Tensor& b) {
  Tensor out = empty_scalar(a);
  out.backend().dot({.a = a, .b = b, .out = out});
  return out;
}

Tensor norm(const Tensor& x) {
  const Tensor out = dot(x, x);
  return sqrt(out, out);
}

Tensor mean(const Tensor& x) { return sum(x, 1, x.numel(), 1, one_over(x.numel())); }
Tensor rms(const Tensor& x) { return sqrt(mean(square(x))); }
Tensor clip_factor(double most, const Tensor& size) { return min(div(scalar(most, size), size), 1.0); }

Tensor row_means(const Tensor& x) { return sum(x, x.size(0), x.size(1), 1, one_over(x.size(1))); }
Tensor column_means(const Tensor& x) { return sum(x, 1, x.size(0), x.size(1), one_over(x.size(0))); }
Tensor column_sums(const Tensor& x) { return sum(x, 1, x.size(0), x.size(1), 1.0); }

Tensor repeat_columns(const Tensor& x, std::int64_t columns) {
  Tensor out = Tensor::empty({x.numel(), columns}, x.dtype(), x.device());
  out.backend().repeat({.x = x, .outer = x.numel(), .n = columns, .out = out});
  return out;
}

void matmul(const Factor& a, const Factor& b, const Tensor& out) { multiply(a, b, out, false); }
void add_matmul(const Factor& a, const Factor& b, const Tensor& out) { multiply(a, b, out, true); }

void matmul(const Factor& left, const Tensor& x, const Factor& right, const Tensor& out) {
  const bool has_left = left.matrix.defined(), has_right = right.matrix.defined();
  if (has_left && has_right) {
    const Tensor half = Tensor::like(x);
    matmul(left, x, half);
    matmul(half, right, out);
  } else if (has_left) {
    matmul(left, x, out);
  } else if (has_right) {
    matmul(x, right, out);
  } else {
    copy(x, out);
  }
}

Tensor transpose(const Tensor& x, Tensor out) {
  if (!out.defined()) out = Tensor::empty({x.size(1), x.size(0)}, x.dtype(), x.device());
  out.backend().strided_copy({.from = StridedView(x).transpose(0, 1), .to = out});
  return out;
}

Tensor slice_columns(const Tensor& x, std::int64_t begin, std::int64_t end) {
  if (begin == 0 && end == x.size(1)) return x;
  Tensor out = Tensor::empty({x.size(0), end - begin}, x.dtype(), x.device());
  out.backend().strided_copy({.from = StridedView(x).slice(1, begin, end), .to = out});
  return out;
}

Tensor gather_rows(const Tensor& x, const std::vector<std::int32_t>& order) {
  Tensor out = Tensor::like(x);
  out.backend().embedding({.ids = Tensor::from(order, {x.size(0)}, x.device()), .table = x, .out = out});
  return out;
}

Tensor identity(const Shape& shape, DType dtype, Device device) {
  const std::int64_t n = shape.last();
  require((shape.rank() == 2 || shape.rank() == 3) && shape[-2] == n, "[identity] {} is no shape of square matrices",
          shape);
  std::vector<double> values(static_cast<std::size_t>(shape.numel()), 0.0);
  for (std::int64_t i = 0; i < shape.rows(); ++i) values[static_cast<std::size_t>(i * n + i % n)] = 1.0;
  return Tensor::from(values, shape, dtype, device, Pool::optimizer);
}

}  // namespace monge::optim
