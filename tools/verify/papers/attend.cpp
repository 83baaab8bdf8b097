#include "tools/verify/papers/attend.h"

#include "core/backend.h"

namespace monge::tools {
namespace {

constexpr Device reference{DeviceKind::reference, 0};

/// The rows of a matrix as tokens of one head.
HeadView view(const Matrix& x) {
  const std::span values{x.data(), static_cast<std::size_t>(x.size())};
  return {Tensor::from(values, {1, x.rows(), x.cols()}, DType::f64, reference), 0, x.cols(), x.size()};
}

}  // namespace

Matrix attend(const RowMap& map, const Matrix& q, const Matrix& k, const Matrix& v, double scale, bool causal) {
  kernel::Attention a;
  a.batch = a.heads = a.kv_heads = 1;
  a.queries = q.rows();
  a.keys = k.rows();
  a.head_dim = q.cols();
  a.causal = causal;
  a.scale = scale;
  a.map = map;
  a.q = view(q);
  a.k = view(k);
  a.v = view(v);
  a.out = view(Matrix::Zero(q.rows(), v.cols()));
  a.row_stat = Tensor::zeros({1, 1, q.rows()}, DType::f64, reference);
  backend_of(reference).attention(a);
  return to_matrix(a.out.data);
}

}  // namespace monge::tools
