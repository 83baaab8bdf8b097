// Rows of scores through the attention of a device. With unit vectors as keys and as values, attention maps a query z
// to its weights, its backward a gradient u of the output to H u.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/backend.h"

namespace monge::oracle {

/// What attention makes of single rows of scores z (R, n), with u_ij = dL/da_ij.
struct RowResults {
  std::vector<double> weights, dz, solved;  // (R, n): a, H u and (H + lambda I)^-1 H u
  std::vector<double> stat;                 // (R)
};

/// Attention of one head in which keys and values are the n unit vectors: q is the scores, the output the weights, dO
/// is u, dq is H u and row_dq the row solve. Without a damping the rows are not solved.
inline RowResults run_rows(Device device, const RowMap& map, const std::vector<double>& scores,
                           const std::vector<double>& u, std::int64_t n, std::optional<RowDamping> damping = {},
                           bool causal = false) {
  const DType dtype = backend_of(device).default_float();
  const auto rows = n == 0 ? 1 : static_cast<std::int64_t>(scores.size()) / n;
  const std::int64_t width = std::max<std::int64_t>(1, n);
  std::vector<double> units(static_cast<std::size_t>(n * n), 0.0);
  for (std::int64_t j = 0; j < n; ++j) units[static_cast<std::size_t>(j * n + j)] = 1.0;
  const Tensor identity = Tensor::from(units, {1, n, width}, dtype, device);
  const auto matrix = [&](const std::vector<double>& values) {
    return Tensor::from(n == 0 ? std::vector<double>(1, 0.0) : values, {1, rows, width}, dtype, device);
  };
  const auto view = [&](const Tensor& x) { return HeadView{x, 0, width, x.size(1) * width}; };

  kernel::Attention a;
  a.batch = a.heads = a.kv_heads = 1;
  a.queries = rows;
  a.keys = n;
  a.head_dim = width;
  a.causal = causal;
  a.map = map;
  a.q = view(matrix(scores));
  a.k = a.v = view(identity);
  a.out = view(Tensor::zeros({1, rows, width}, dtype, device));
  a.row_stat = Tensor::zeros({1, 1, rows}, dtype, device);
  backend_of(device).attention(a);

  const auto like = [&](const HeadView& x) { return view(Tensor::like(x.data)); };
  kernel::AttentionBackward back{a, view(matrix(u)), like(a.q), like(a.k), like(a.v)};
  if (damping) {
    back.damping = *damping;
    back.row_dq = like(a.q);
    back.row_dk = like(a.k);
    back.row_dv = like(a.v);
  }
  backend_of(device).attention_backward(back);
  return {a.out.data.values(), back.dq.data.values(), damping ? back.row_dq.data.values() : std::vector<double>{},
          a.row_stat.values()};
}

}  // namespace monge::oracle
