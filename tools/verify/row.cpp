#include "tools/verify/row.h"

#include <Eigen/Core>

#include "core/backend.h"

namespace monge::tools {
namespace {

constexpr Device reference{DeviceKind::reference, 0};

Tensor as_row(const Vector& v) {
  return Tensor::from({v.data(), static_cast<std::size_t>(v.size())}, {1, v.size()}, DType::f64, reference);
}
Vector as_vector(const Tensor& t) {
  const auto values = t.values();
  return Eigen::Map<const Vector>(values.data(), static_cast<Eigen::Index>(values.size()));
}

}  // namespace

RowResult run_row(const RowMap& map, const Vector& z, const Vector& u, double lambda) {
  const std::int64_t n = z.size();
  const Matrix identity = Matrix::Identity(n, n);
  const Tensor units = Tensor::from({identity.data(), static_cast<std::size_t>(n * n)}, {n, n}, DType::f64, reference);
  const auto row = [&] { return Tensor::zeros({1, n}, DType::f64, reference); };
  const auto keys = [&] { return Tensor::zeros({n, n}, DType::f64, reference); };
  const auto view = [&](const Tensor& t) { return HeadView{t, 0, n, t.numel()}; };

  Backend& backend = backend_of(reference);
  const kernel::Attention forward{.batch = 1,
                          .queries = 1,
                          .keys = n,
                          .heads = 1,
                          .kv_heads = 1,
                          .head_dim = n,
                          .causal = false,
                          .map = map,
                          .q = view(as_row(z)),
                          .k = view(units),
                          .v = view(units),
                          .out = view(row()),
                          .row_stat = Tensor::zeros({1, 1, 1}, DType::f64, reference)};
  backend.attention(forward);
  kernel::AttentionBackward backward{.forward = forward,
                             .dout = view(as_row(u)),
                             .dq = view(row()),
                             .dk = view(keys()),
                             .dv = view(keys()),
                             .damping = {.lambda = lambda, .scale = RowDamping::Scale::absolute}};
  const bool solves = metric_of(map) != Metric::none;
  if (solves) {
    backward.row_dq = view(row());
    backward.row_dk = view(keys());
    backward.row_dv = view(keys());
  }
  backend.attention_backward(backward);
  return {as_vector(forward.out.data), forward.row_stat.item(), as_vector(backward.dq.data),
          solves ? as_vector(backward.row_dq.data) : Vector()};
}

std::pair<Vector, double> map_row(const RowMap& map, const Vector& z) {
  Vector weights = z;
  HostRow<double> row(weights.data(), weights.size());
  double stat = 0.0;
  visit_row_map(map, [&](const auto& kind) { stat = kind.weights(row); });
  return {weights, stat};
}

Vector softmax(const Vector& z) {
  const Vector e = (z.array() - z.maxCoeff()).exp().matrix();
  return e / e.sum();
}

}  // namespace monge::tools
