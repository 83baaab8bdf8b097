#include "optim/matrix/inverse_root.h"

#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/sides.h"
#include "optim/matrix/symmetric.h"

namespace monge::optim {
namespace {

/// ln(1e7) / ln(2.25) = 20, and what squares the rest down to rounding.
constexpr int iterations = 25;

void on_device(const Tensor& m, const Tensor& eye, const Tensor& out) {
  const Tensor size = norm(m), t = Tensor::like(m, Pool::scratch);
  Tensor y = Tensor::like(m, Pool::scratch), next_y = Tensor::like(m, Pool::scratch);
  Tensor z = Tensor::like(m, Pool::scratch), next_z = Tensor::like(m, Pool::scratch);
  div(m, size, y);
  copy(eye, z);
  for (int k = 0; k < iterations; ++k) {
    matmul(z, y, t);
    axpby(1.5, eye, -0.5, t);
    matmul(y, t, next_y);
    matmul(t, z, next_z);
    std::swap(y, next_y);
    std::swap(z, next_z);
  }
  div(z, sqrt(size), out);
}

void on_host(const Tensor& m, const Tensor& eye, const Tensor& out) {
  const std::int64_t n = m.size(1);
  const std::vector<double> values = m.values();
  std::vector<SquareMatrix> matrices;
  for (auto at = values.begin(); at != values.end(); at += n * n) matrices.push_back({n, {at, at + n * n}});
  if (!all_finite(matrices)) return copy(eye, out);
  std::vector<double> roots;
  for (const SquareMatrix& root : matrix_powers(matrices, -0.5, 0.0)) {
    roots.insert(roots.end(), root.values.begin(), root.values.end());
  }
  copy(upload(roots, out), out);
}

}  // namespace

void inverse_roots(const Tensor& m, const Tensor& eye, const Tensor& out) {
  require(m.rank() == 3 && m.size(1) == m.size(2) && eye.shape() == m.shape() && out.shape() == m.shape(),
          "[inverse_roots] {} into {} with identities {}", m.shape(), out.shape(), eye.shape());
  m.device().kind == DeviceKind::cuda ? on_device(m, eye, out) : on_host(m, eye, out);
}

}  // namespace monge::optim
