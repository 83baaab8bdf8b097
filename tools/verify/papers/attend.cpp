#include "tools/verify/papers/attend.h"

#include "core/backend.h"

namespace monge::tools {
namespace {

constexpr Device reference{DeviceKind::reference, 0};

/// The rows of a matrix as tokens of one head.
HeadView view(const Matrix& x, Device device) {
  const std::span values{x.data(), static_cast<std::size_t>(x.size())};
  const DType dtype = backend_of(device).default_float();
  return {Tensor::from(values, {1, x.rows(), x.cols()}, dtype, device), 0, x.cols(), x.size()};
}

/// A table of one head, or none.
Tensor table(const Vector& values, Device device) {
  if (values.size() == 0) return {};
  const std::span span{values.data(), static_cast<std::size_t>(values.size())};
  return Tensor::from(span, {1, values.size()}, backend_of(device).default_float(), device);
}

Matrix run(const RowMap& map, const Matrix& q, const Matrix& k, const Matrix& v, double scale, bool causal,
           const LogPrior& prior, Device device) {
  kernel::Attention a;
  a.batch = a.heads = a.kv_heads = 1;
  a.queries = q.rows();
  a.keys = k.rows();
  a.head_dim = q.cols();
  a.causal = causal;
  a.scale = scale;
  a.map = map;
  a.prior = prior;
  a.q = view(q, device);
  a.k = view(k, device);
  a.v = view(v, device);
  a.out = view(Matrix::Zero(q.rows(), v.cols()), device);
  a.row_stat = Tensor::zeros({1, 1, q.rows()}, backend_of(device).default_float(), device);
  backend_of(device).attention(a);
  return to_matrix(a.out.data);
}

}  // namespace

Matrix attend(const RowMap& map, const Matrix& q, const Matrix& k, const Matrix& v, double scale, bool causal) {
  return run(map, q, k, v, scale, causal, {}, reference);
}

Matrix attend(const RowMap& map, const Matrix& q, const Matrix& k, const Matrix& v, double scale,
              const HeadPrior& prior, Device device) {
  const LogPrior tables{.head = {},
                        .distance = table(prior.of_distance, device),
                        .key = table(prior.of_key, device),
                        .slopes = table(Vector::Constant(prior.slope == 0.0 ? 0 : 1, prior.slope), device)};
  return run(map, q, k, v, scale, true, tables, device);
}

}  // namespace monge::tools
