#include "optim/polar.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/backend.h"

namespace monge::optim {
namespace {

struct Quintic {
  double a, b, c;
};

/// s = b A + c A A.
void even_terms(const Quintic& q, const Tensor& gram, const Tensor& s) {
  Backend& backend = gram.backend();
  backend.matmul({.a = gram, .b = gram, .out = s});
  backend.scale(s, q.c, s);
  backend.add_scaled(gram, q.b, s);
}

/// The Gram matrix of the shorter side: X X^T, or X^T X where X is tall.
void gram_of(const Tensor& x, bool tall, const Tensor& gram) {
  x.backend().matmul({.a = x, .transpose_a = tall, .b = x, .transpose_b = !tall, .out = gram});
}

/// out = (a I + S) X, or X (a I + S) from the right.
void apply(double a, const Tensor& s, const Tensor& x, bool right, const Tensor& out) {
  x.backend().matmul({.a = right ? x : s, .b = right ? s : x, .out = out});
  x.backend().add_scaled(x, a, out);
}

Tensor gram_like(const Tensor& x) {
  const std::int64_t n = std::min(x.size(0), x.size(1));
  return Tensor::empty({n, n}, x.dtype(), x.device());
}

/// The iterations one by one.
Tensor iterate(const Quintic& q, std::int64_t count, Tensor x, bool tall) {
  const Tensor gram = gram_like(x), s = Tensor::like(gram);
  Tensor next = Tensor::like(x);
  for (std::int64_t k = 0; k < count; ++k) {
    gram_of(x, tall, gram);
    even_terms(q, gram, s);
    apply(q.a, s, x, tall, next);
    std::swap(x, next);
  }
  return x;
}

/// All iterations on the Gram matrix alone, and X once at the end: with Q = a I + S, A becomes Q A Q, and X the product
/// of all Q with X. That product is kept as scale I + rest. For long X this is less work. It wants digits: rounding can
/// make small eigenvalues of A negative, and every iteration makes them up to a^2 times as large.
Tensor iterate_on_gram(const Quintic& q, std::int64_t count, Tensor x, bool tall) {
  Backend& backend = x.backend();
  const Tensor gram = gram_like(x), s = Tensor::like(gram), half = Tensor::like(gram);
  Tensor rest = Tensor::like(gram), next = Tensor::like(gram);
  gram_of(x, tall, gram);
  even_terms(q, gram, s);
  backend.copy(s, rest);
  double scale = q.a;
  for (std::int64_t k = 1; k < count; ++k) {
    apply(q.a, s, gram, false, half);
    apply(q.a, s, half, true, gram);
    even_terms(q, gram, s);
    apply(q.a, s, rest, false, next);
    backend.add_scaled(s, scale, next);
    std::swap(rest, next);
    scale *= q.a;
  }
  Tensor out = Tensor::like(x);
  apply(scale, rest, x, tall, out);
  return out;
}

}  // namespace

void polar(const Tensor& m, std::int64_t iterations, DType precision, const Tensor& out) {
  Backend& backend = m.backend();
  const std::int64_t rows = m.size(0), cols = m.size(1), small = std::min(rows, cols), large = std::max(rows, cols);

  // A root mean square of 1 is a Frobenius norm of sqrt(rows cols).
  const Tensor row = m.reshape({1, m.numel()}), normalised = Tensor::like(row);
  Tensor rstd = Tensor::empty({1}, m.dtype(), m.device());
  backend.norm({.kind = NormKind::rms, .eps = 1e-30, .x = row, .y = normalised, .rstd = rstd});
  backend.scale(normalised, 1.0 / std::sqrt(static_cast<double>(m.numel())), normalised);

  const Tensor x = Tensor::empty(m.shape(), precision, m.device());
  backend.copy(normalised, x);
  const bool tall = rows > cols;
  if (iterations == 0) {
    backend.copy(iterate({15.0 / 8.0, -10.0 / 8.0, 3.0 / 8.0}, 20, x, tall), out);
  } else {
    // In products of (small)^3: (2 r + 1) an iteration one by one, with r = large / small; 4 on the Gram matrix, less
    // 3 for the first, and 2 r at the ends.
    const Quintic jordan{3.4445, -4.7750, 2.0315};
    const bool on_gram =
        precision != DType::bf16 && (4 * iterations - 3) * small + 2 * large < iterations * (2 * large + small);
    backend.copy((on_gram ? iterate_on_gram : iterate)(jordan, iterations, x, tall), out);
  }
}

}  // namespace monge::optim
