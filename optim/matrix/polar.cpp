#include "optim/matrix/polar.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/backend.h"
#include "optim/arithmetic.h"

namespace monge::optim {
namespace {

/// The coefficients of X <- a X + S X, S = b A + c A A, A = X X^T. For a tall X all of this is on its other side:
/// A = X^T X, and X S in the place of S X.
struct Quintic {
  double a, b, c;
};

Tensor gram_like(const Tensor& x) {
  const std::int64_t n = std::min(x.size(0), x.size(1));
  return Tensor::empty({n, n}, x.dtype(), x.device());
}

/// A = X X^T
void gram(const Tensor& x, bool tall, const Tensor& a) {
  tall ? matmul(transposed(x), x, a) : matmul(x, transposed(x), a);
}

/// S = b A + c A A
void even_terms(const Quintic& q, const Tensor& a, const Tensor& s) {
  matmul(a, a, s);
  axpby(q.b, a, q.c, s);
}

/// out = a X + S X
void apply(double a, const Tensor& s, const Tensor& x, bool tall, const Tensor& out) {
  tall ? matmul(x, s, out) : matmul(s, x, out);
  axpy(a, x, out);
}

Tensor iterate(const Quintic& q, std::int64_t count, Tensor x, bool tall) {
  const Tensor a = gram_like(x), s = Tensor::like(a);
  Tensor next = Tensor::like(x);
  for (std::int64_t k = 0; k < count; ++k) {
    gram(x, tall, a);
    even_terms(q, a, s);
    apply(q.a, s, x, tall, next);
    std::swap(x, next);
  }
  return x;
}

/// All iterations on A alone, and X once at the end: with Q = a I + S, A becomes Q A Q, and X is multiplied by the
/// product of all Q, which is kept as scale I + rest. This is less work for long X, but needs precision: rounding can
/// make small eigenvalues of A negative, and every iteration makes them up to a^2 times as large.
Tensor iterate_on_gram(const Quintic& q, std::int64_t count, Tensor x, bool tall) {
  const Tensor a = gram_like(x), s = Tensor::like(a), half = Tensor::like(a);
  Tensor rest = Tensor::like(a), next = Tensor::like(a), out = Tensor::like(x);
  gram(x, tall, a);
  even_terms(q, a, s);
  copy(s, rest);
  double scale = q.a;
  for (std::int64_t k = 1; k < count; ++k) {
    apply(q.a, s, a, false, half);  // A = Q A Q
    apply(q.a, s, half, true, a);
    even_terms(q, a, s);
    apply(q.a, s, rest, false, next);  // scale I + rest = Q (scale I + rest)
    axpy(scale, s, next);
    std::swap(rest, next);
    scale *= q.a;
  }
  apply(scale, rest, x, tall, out);
  return out;
}

}  // namespace

void polar(const Tensor& m, std::int64_t iterations, DType precision, const Tensor& out) {
  const std::int64_t rows = m.size(0), cols = m.size(1), small = std::min(rows, cols), large = std::max(rows, cols);

  // m / |m|: a root mean square of 1 is a Frobenius norm of sqrt(rows cols).
  const Tensor row = m.reshape({1, m.numel()}), normalised = Tensor::like(row);
  const Tensor rstd = Tensor::empty({1}, m.dtype(), m.device());
  m.backend().norm({.kind = NormKind::rms, .eps = 1e-30, .x = row, .y = normalised, .rstd = rstd});
  scale(normalised, 1.0 / std::sqrt(static_cast<double>(m.numel())), normalised);

  const Tensor x = Tensor::empty(m.shape(), precision, m.device());
  copy(normalised, x);
  const bool tall = rows > cols;
  if (iterations == 0) {
    const Quintic convergent{15.0 / 8.0, -10.0 / 8.0, 3.0 / 8.0};
    copy(iterate(convergent, 20, x, tall), out);
  } else {
    // Cost in products of (small)^3, with r = large / small: one by one, 2 r + 1 for each iteration; on the Gram matrix
    // 4 for each but the first, which takes 1, and 2 r for the first and last product.
    const Quintic jordan{3.4445, -4.7750, 2.0315};
    const bool on_gram =
        precision != DType::bf16 && (4 * iterations - 3) * small + 2 * large < iterations * (2 * large + small);
    copy((on_gram ? iterate_on_gram : iterate)(jordan, iterations, x, tall), out);
  }
}

}  // namespace monge::optim
