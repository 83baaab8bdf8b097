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
/// product of all Q, which is kept as scale I + rest. This is less work for long X, but needs precision, and allows few
/// iterations: see most_on_gram.
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

/// Rounding leaves the small eigenvalues of A with errors of the unit roundoff, some of them below zero, and every
/// iteration makes these up to a^2 = 11.9 times as large: 1e-3 of the largest eigenvalue after five in f32, but more
/// than that eigenvalue after nine, from where they grow without bound.
constexpr std::int64_t most_on_gram = 5;

/// `count` iterations, the first of them on the Gram matrix where that is less work. On X itself rounding does not add
/// up: every iteration makes A anew.
Tensor iterate_fast(const Quintic& q, std::int64_t count, const Tensor& x, bool tall) {
  const std::int64_t first = std::min(count, most_on_gram);
  const std::int64_t small = std::min(x.size(0), x.size(1)), large = std::max(x.size(0), x.size(1));
  // Cost in products of (small)^3, with r = large / small: one by one, 2 r + 1 for each iteration; on the Gram matrix 4
  // for each but the first, which takes 1, and 2 r for the first and last product.
  const bool on_gram = x.dtype() != DType::bf16 && (4 * first - 3) * small + 2 * large < first * (2 * large + small);
  return on_gram ? iterate(q, count - first, iterate_on_gram(q, first, x, tall), tall) : iterate(q, count, x, tall);
}

}  // namespace

void polar(const Tensor& m, std::int64_t iterations, DType precision, const Tensor& out) {
  // m / |m|: a root mean square of 1 is a Frobenius norm of sqrt(rows cols).
  const Tensor row = m.reshape({1, m.numel()}), normalised = Tensor::like(row);
  const Tensor rstd = Tensor::empty({1}, m.dtype(), m.device());
  m.backend().norm({.kind = NormKind::rms, .eps = 1e-30, .x = row, .y = normalised, .rstd = rstd});
  scale(normalised, 1.0 / std::sqrt(static_cast<double>(m.numel())), normalised);

  const Tensor x = Tensor::empty(m.shape(), precision, m.device());
  copy(normalised, x);
  const bool tall = m.size(0) > m.size(1);
  if (iterations == 0) {
    const Quintic convergent{15.0 / 8.0, -10.0 / 8.0, 3.0 / 8.0};
    copy(iterate(convergent, 20, x, tall), out);
  } else {
    const Quintic jordan{3.4445, -4.7750, 2.0315};
    copy(iterate_fast(jordan, iterations, x, tall), out);
  }
}

}  // namespace monge::optim
