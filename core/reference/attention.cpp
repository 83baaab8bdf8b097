#include <algorithm>
#include <vector>

#include "core/check.h"
#include "core/reference/draw.h"
#include "core/reference/reference_backend.h"
#include "core/row_map/host_row.h"

namespace monge {
namespace {

/// The D elements of one head of one token.
double* head(const HeadView& view, std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t D) {
  return view.data.data_as<double>() + view.offset + b * view.batch_stride + t * view.token_stride + h * D;
}

double dot(const double* x, const double* y, std::int64_t n) {
  double total = 0.0;
  for (std::int64_t i = 0; i < n; ++i) total += x[i] * y[i];
  return total;
}

/// y = y + factor * x.
void add_to(double* y, double factor, const double* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

void clear(const HeadView& view, std::int64_t batch, std::int64_t tokens, std::int64_t heads, std::int64_t D) {
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t t = 0; t < tokens; ++t) std::fill_n(head(view, b, t, 0, D), heads * D, 0.0);
  }
}

/// One query of one head, and the keys it sees.
struct Query {
  std::int64_t b, h, i;
  std::int64_t g;        // key/value head
  std::int64_t row;      // (b H + h) T + i
  std::int64_t visible;  // keys 0 .. visible - 1
};

template <class F>
void for_each_query(const Attention& a, F f) {
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t h = 0; h < a.heads; ++h) {
      for (std::int64_t i = 0; i < a.queries; ++i) {
        const auto visible = a.causal ? std::min(a.keys, a.start + i + 1) : a.keys;
        f(Query{b, h, i, h / (a.heads / a.kv_heads), (b * a.heads + h) * a.queries + i, visible});
      }
    }
  }
}

std::vector<double> scores(const Attention& a, const Query& at) {
  std::vector<double> z(static_cast<std::size_t>(at.visible));
  const double slope = a.slopes ? a.slopes.data_as<double>()[at.h] : 0.0;
  const double* const q = head(a.q, at.b, at.i, at.h, a.head_dim);
  for (std::int64_t j = 0; j < at.visible; ++j) {
    z[static_cast<std::size_t>(j)] = a.scale * dot(q, head(a.k, at.b, j, at.g, a.head_dim), a.head_dim) -
                                     slope * static_cast<double>(a.start + at.i - j);
  }
  return z;
}

/// What dropout multiplies each weight by.
std::vector<double> dropout_factors(const Attention& a, const Query& at) {
  std::vector<double> factors(static_cast<std::size_t>(at.visible), 1.0);
  if (a.dropout > 0.0) {
    for (std::int64_t j = 0; j < at.visible; ++j) {
      factors[static_cast<std::size_t>(j)] = dropout_factor(a.random, a.dropout, at.row * a.keys + j);
    }
  }
  return factors;
}

}  // namespace

void ReferenceBackend::attention(const Attention& a) {
  check::attention(device(), a);
  const auto D = a.head_dim;
  for_each_query(a, [&](const Query& at) {
    auto weights = scores(a, at);
    HostRow<double> row(weights.data(), at.visible);
    visit_row_map(a.map, [&](auto map) { a.row_stat.data_as<double>()[at.row] = map.weights(row); });
    const auto keep = dropout_factors(a, at);
    double* const out = head(a.out, at.b, at.i, at.h, D);
    std::fill_n(out, D, 0.0);
    for (std::size_t j = 0; j < weights.size(); ++j) {
      add_to(out, keep[j] * weights[j], head(a.v, at.b, static_cast<std::int64_t>(j), at.g, D), D);
    }
  });
}

// With u_j = dL/da_j = keep_j <dO, v_j>, row by row:  dz = s (u - baseline),  dq = scale sum_j dz_j k_j,
// dk_j += scale dz_j q,  dv_j += keep_j a_j dO.
void ReferenceBackend::attention_backward(const AttentionBackward& args) {
  check::attention_backward(device(), args);
  const Attention& a = args.forward;
  const auto D = a.head_dim;
  clear(args.dq, a.batch, a.queries, a.heads, D);
  clear(args.dk, a.batch, a.keys, a.kv_heads, D);
  clear(args.dv, a.batch, a.keys, a.kv_heads, D);
  for_each_query(a, [&](const Query& at) {
    auto weights = scores(a, at);
    const auto keep = dropout_factors(a, at);
    const double* const dout = head(args.dout, at.b, at.i, at.h, D);
    visit_row_map(a.map, [&](auto map) {
      HostRow<double> row(weights.data(), at.visible);
      map.recompute(row, a.row_stat.data_as<double>()[at.row]);

      std::vector<double> u(weights.size());
      double weights_dot_u = 0.0;
      for (std::size_t j = 0; j < u.size(); ++j) {
        const auto key = static_cast<std::int64_t>(j);
        u[j] = keep[j] * dot(dout, head(a.v, at.b, key, at.g, D), D);
        weights_dot_u += weights[j] * u[j];
        add_to(head(args.dv, at.b, key, at.g, D), keep[j] * weights[j], dout, D);
      }

      const double baseline = map.baseline(weights_dot_u);
      for (std::size_t j = 0; j < u.size(); ++j) {
        const auto key = static_cast<std::int64_t>(j);
        const double dz = map.curvature(weights[j]) * (u[j] - baseline);
        add_to(head(args.dq, at.b, at.i, at.h, D), a.scale * dz, head(a.k, at.b, key, at.g, D), D);
        add_to(head(args.dk, at.b, key, at.g, D), a.scale * dz, head(a.q, at.b, at.i, at.h, D), D);
      }
    });
  });
}

}  // namespace monge
