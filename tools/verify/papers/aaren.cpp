#include "tools/verify/papers/aaren.h"

#include <cmath>

#include "core/backend.h"

namespace monge::tools {
namespace {

/// A matrix (N, d) as the tokens of one head on a device.
HeadView to_view(const Matrix& x, Device device) {
  const std::span values{x.data(), static_cast<std::size_t>(x.size())};
  const Tensor tensor = Tensor::from(values, {1, x.rows(), x.cols()}, backend_of(device).default_float(), device);
  return {tensor, 0, x.cols(), x.size()};
}

}  // namespace

AarenState combine(const AarenState& a, const AarenState& b) {
  const double m = std::max(a.m, b.m);
  const double of_a = std::isinf(a.m) ? 0.0 : std::exp(a.m - m), of_b = std::isinf(b.m) ? 0.0 : std::exp(b.m - m);
  return {m, of_a * a.u + of_b * b.u, of_a * a.w + of_b * b.w};
}

AarenHead draw_aaren_head(RandomSequence& random, std::int64_t tokens, std::int64_t head_dim) {
  const auto draw = [&](std::int64_t rows) {
    Matrix out(rows, head_dim);
    for (double& x : out.reshaped()) x = static_cast<float>(random.normal());  // the same number on every device
    return out;
  };
  Matrix q = draw(1), k = draw(tokens), v = draw(tokens), dout = draw(tokens);
  return {q.row(0), std::move(k), std::move(v), std::move(dout), 1.0 / std::sqrt(static_cast<double>(head_dim))};
}

AarenParts::AarenParts()
    : forward([](const kernel::PrefixAttention& a) { a.q.backend().prefix_attention(a); }),
      backward([](const kernel::PrefixAttentionBackward& a) { a.dq.backend().prefix_attention_backward(a); }) {}

AarenResult run_kernel(const AarenHead& head, Device device, const AarenParts& parts, std::int64_t piece) {
  const DType dtype = backend_of(device).default_float();
  const std::int64_t N = head.tokens(), D = head.k.cols();
  kernel::PrefixAttention a;
  a.batch = a.heads = a.kv_heads = 1;
  a.tokens = N;
  a.head_dim = D;
  a.scale = head.scale;
  a.q = Tensor::from({head.q.data(), static_cast<std::size_t>(D)}, {1, D}, dtype, device);
  a.k = to_view(head.k, device);
  a.v = to_view(head.v, device);
  a.out = to_view(Matrix::Zero(N, D), device);
  a.gate = Tensor::zeros({1, 1, N}, dtype, device);
  if (piece == 0) {
    parts.forward(a);
  } else {
    const Tensor state = Tensor::zeros({1, 1, D + 2}, dtype, device);
    for (std::int64_t at = 0; at < N; at += piece) {
      kernel::PrefixAttention some = a;
      some.tokens = std::min(piece, N - at);
      for (HeadView* x : {&some.k, &some.v, &some.out}) x->offset = at * D;
      some.gate = a.gate.flat_view(at, {some.tokens});
      some.before = at == 0 ? Tensor() : state;
      some.after = state;
      parts.forward(some);
    }
  }
  const HeadView dk = to_view(Matrix::Zero(N, D), device), dv = to_view(Matrix::Zero(N, D), device);
  const Tensor dq = Tensor::zeros({1, D}, dtype, device);
  parts.backward({.forward = a, .dout = to_view(head.dout, device), .dk = dk, .dv = dv, .dq = dq});
  return {to_matrix(a.out.data), to_matrix(dk.data), to_matrix(dv.data), to_matrix(dq).row(0)};
}

Matrix aaren_weights(const AarenHead& head, const AarenParts& parts) {
  const std::int64_t N = head.tokens(), D = head.k.cols();
  Matrix out = Matrix::Zero(N, N);
  AarenHead units = head;
  for (std::int64_t at = 0; at < N; at += D) {
    const std::int64_t n = std::min(D, N - at);
    units.v = Matrix::Zero(N, D);
    for (std::int64_t j = 0; j < n; ++j) units.v(at + j, j) = 1.0;
    out.middleCols(at, n) = run_kernel(units, {DeviceKind::reference, 0}, parts).out.leftCols(n);
  }
  return out;
}

}  // namespace monge::tools
