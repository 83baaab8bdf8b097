#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/reference/draw.h"
#include "core/reference/reference_backend.h"
#include "core/reference/vectors.h"
#include "core/row_map/host_row.h"

namespace monge {
namespace {

void clear(const HeadView& view, std::int64_t batch, std::int64_t tokens, std::int64_t heads, std::int64_t D) {
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t t = 0; t < tokens; ++t) std::fill_n(view.head<double>(b, t, 0, D), heads * D, 0.0);
  }
}

/// One query of one head, and the keys it sees.
struct Query {
  std::int64_t b, h, i;
  std::int64_t g;               // key/value head
  std::int64_t row;             // (b H + h) T + i
  std::int64_t first, visible;  // keys first .. first + visible - 1
  std::int64_t position;        // counted from the first key

  std::int64_t key(std::size_t j) const { return first + static_cast<std::int64_t>(j); }
};

template <class F>
void for_each_query(const kernel::Attention& a, F f) {
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t h = 0; h < a.heads; ++h) {
      for (std::int64_t i = 0; i < a.queries; ++i) {
        const std::int64_t last = a.causal ? std::min(a.keys, a.start + i + 1) : a.keys;
        Query at{.b = b,
                 .h = h,
                 .i = i,
                 .g = h / (a.heads / a.kv_heads),
                 .row = (b * a.heads + h) * a.queries + i,
                 .first = 0,
                 .visible = last,
                 .position = a.start + i};
        if (a.spans && last > 0) {
          const auto* const span = a.spans.keys.data_as<std::int32_t>() + 2 * (b * a.queries + i);
          at.first = std::clamp<std::int64_t>(span[0], 0, last - 1);
          at.visible = std::clamp<std::int64_t>(span[1], at.first + 1, last) - at.first;
          if (a.spans.positions) {
            const std::int32_t position = a.spans.positions.data_as<std::int32_t>()[b * a.queries + i];
            at.position = std::clamp<std::int64_t>(position, 0, a.start + a.queries - 1);
          }
        }
        f(at);
      }
    }
  }
}

/// Calls f(table, index) for each table of the prior that is there, `index` being where it holds its term for visible
/// key j.
template <class F>
void for_each_prior(const LogPrior& tables, const Query& at, std::int64_t j, F f) {
  const auto distance = std::abs(at.position - j);
  if (tables.head) f(tables.head, at.h);
  if (tables.distance) f(tables.distance, at.h * tables.distance.shape().last() + distance);
  if (tables.key) f(tables.key, at.h * tables.key.shape().last() + j);
}

std::vector<double> scores(const kernel::Attention& a, const Query& at) {
  std::vector<double> z(static_cast<std::size_t>(at.visible));
  const double slope = a.prior.slopes ? a.prior.slopes.data_as<double>()[at.h] : 0.0;
  const double* const q = a.q.head<double>(at.b, at.i, at.h, a.head_dim);
  for (std::int64_t j = 0; j < at.visible; ++j) {
    double& score = z[static_cast<std::size_t>(j)];
    score = a.scale * inner(q, a.k.head<double>(at.b, at.first + j, at.g, a.head_dim), a.head_dim) -
            slope * static_cast<double>(std::abs(at.position - j));
    for_each_prior(a.prior, at, j,
                   [&](const Tensor& table, std::int64_t index) { score += table.data_as<double>()[index]; });
  }
  return z;
}

/// What dropout multiplies each weight by.
std::vector<double> dropout_factors(const kernel::Attention& a, const Query& at) {
  std::vector<double> factors(static_cast<std::size_t>(at.visible), 1.0);
  if (a.dropout > 0.0) {
    for (std::int64_t j = 0; j < at.visible; ++j) {
      factors[static_cast<std::size_t>(j)] = dropout_factor(a.random, a.dropout, at.row * a.keys + at.first + j);
    }
  }
  return factors;
}

}  // namespace

void ReferenceBackend::compute(const kernel::Attention& a) {
  const auto D = a.head_dim;
  for_each_query(a, [&](const Query& at) {
    auto weights = scores(a, at);
    HostRow<double> row(weights.data(), at.visible);
    visit_row_map(a.map, [&](const auto& map) { a.row_stat.data_as<double>()[at.row] = map.weights(row); });
    const auto keep = dropout_factors(a, at);
    double* const out = a.out.head<double>(at.b, at.i, at.h, D);
    std::fill_n(out, D, 0.0);
    for (std::size_t j = 0; j < weights.size(); ++j) {
      add_to(out, keep[j] * weights[j], a.v.head<double>(at.b, at.key(j), at.g, D), D);
    }
  });
}

namespace {

/// The Jacobian H = diag(s) - s s^T / c of one row, with c = sum s + slack.
struct RowMetric {
  std::vector<double> s;
  double slack;

  double sum() const { return std::accumulate(s.begin(), s.end(), 0.0); }
  double c() const { return sum() + slack; }
  /// H u.
  std::vector<double> times(const std::vector<double>& u) const {
    const double mean = c() > 0.0 ? std::inner_product(s.begin(), s.end(), u.begin(), 0.0) / c() : 0.0;
    std::vector<double> out(u.size());
    for (std::size_t j = 0; j < u.size(); ++j) out[j] = s[j] * (u[j] - mean);
    return out;
  }
  double trace() const { return sum() - std::inner_product(s.begin(), s.end(), s.begin(), 0.0) / c(); }
  double lambda(const RowDamping& damping) const {
    const auto n = static_cast<double>(s.size());
    switch (damping.scale) {
      case RowDamping::Scale::per_key: return damping.lambda / n;
      case RowDamping::Scale::absolute: return damping.lambda;
      case RowDamping::Scale::trace: return damping.lambda * std::max(trace(), RowDamping::least_trace) / n;
    }
    return 0.0;
  }
  /// (H + lambda I)^-1 H u. Where nothing couples the keys (sum w = 0 and no slack) there is nothing to average.
  std::vector<double> solve(const std::vector<double>& u, double lambda) const {
    double total = slack / lambda, weighted = 0.0;
    for (std::size_t j = 0; j < u.size(); ++j) {
      const double w = s[j] / (s[j] + lambda);
      total += w;
      weighted += w * u[j];
    }
    const double mean = total > 0.0 ? weighted / total : 0.0;
    std::vector<double> out(u.size());
    for (std::size_t j = 0; j < u.size(); ++j) out[j] = s[j] / (s[j] + lambda) * (u[j] - mean);
    return out;
  }
};

template <class Map>
RowMetric metric_of_row(const Map& map, const std::vector<double>& weights, double stat) {
  using Row = HostRow<double>;
  RowMetric metric{weights, map.template slack<Row>(stat)};
  for (double& s : metric.s) s = map.template curvature<Row>(s, static_cast<double>(weights.size()));
  return metric;
}

}  // namespace

// With u_j = dL/da_j = keep_j <dO, v_j>, row by row:  dz = H u,  dq = scale sum_j dz_j k_j,  dk_j += scale dz_j q,
// dv_j += keep_j a_j dO,  dprior += dz_j.
void ReferenceBackend::compute(const kernel::AttentionBackward& args) {
  const kernel::Attention& a = args.forward;
  const auto D = a.head_dim;
  clear(args.dq, a.batch, a.queries, a.heads, D);
  clear(args.dk, a.batch, a.keys, a.kv_heads, D);
  clear(args.dv, a.batch, a.keys, a.kv_heads, D);
  const bool solves_rows = args.row_dq.data.defined();
  if (solves_rows) {
    clear(args.row_dq, a.batch, a.queries, a.heads, D);
    clear(args.row_dk, a.batch, a.keys, a.kv_heads, D);
    clear(args.row_dv, a.batch, a.keys, a.kv_heads, D);
  }
  for (const Tensor& table : {args.dprior.head, args.dprior.distance, args.dprior.key}) {
    if (table) compute(kernel::Fill{.x = table});
  }

  /// dq and dk of one row, from what stands for dL/dz.
  const auto add_product = [&](const Query& at, const std::vector<double>& dz, const HeadView& dq, const HeadView& dk) {
    for (std::size_t j = 0; j < dz.size(); ++j) {
      const auto key = at.key(j);
      add_to(dq.head<double>(at.b, at.i, at.h, D), a.scale * dz[j], a.k.head<double>(at.b, key, at.g, D), D);
      add_to(dk.head<double>(at.b, key, at.g, D), a.scale * dz[j], a.q.head<double>(at.b, at.i, at.h, D), D);
    }
  };

  for_each_query(a, [&](const Query& at) {
    const auto z = scores(a, at);
    auto weights = z;
    const auto keep = dropout_factors(a, at);
    const double* const dout = args.dout.head<double>(at.b, at.i, at.h, D);
    const double stat = a.row_stat.data_as<double>()[at.row];
    visit_row_map(a.map, [&](const auto& map) {
      HostRow<double> row(weights.data(), at.visible);
      map.recompute(row, stat);

      std::vector<double> u(weights.size());
      for (std::size_t j = 0; j < u.size(); ++j) {
        const auto key = at.key(j);
        u[j] = keep[j] * inner(dout, a.v.head<double>(at.b, key, at.g, D), D);
        add_to(args.dv.head<double>(at.b, key, at.g, D), keep[j] * weights[j], dout, D);
        if (solves_rows) add_to(args.row_dv.head<double>(at.b, key, at.g, D), keep[j] * weights[j], dout, D);
      }

      std::vector<double> dz(u.size());
      if constexpr (std::decay_t<decltype(map)>::metric == Metric::none) {
        const double weights_dot_u = std::inner_product(weights.begin(), weights.end(), u.begin(), 0.0);
        for (std::size_t j = 0; j < u.size(); ++j) {
          dz[j] = map.template backward<HostRow<double>>(z[j], u[j], stat, weights_dot_u);
        }
      } else {
        const RowMetric metric = metric_of_row(map, weights, stat);
        dz = metric.times(u);
        if (solves_rows) add_product(at, metric.solve(u, metric.lambda(args.damping)), args.row_dq, args.row_dk);
      }
      add_product(at, dz, args.dq, args.dk);
      for (std::size_t j = 0; j < dz.size(); ++j) {
        for_each_prior(args.dprior, at, static_cast<std::int64_t>(j),
                       [&](const Tensor& table, std::int64_t index) { table.data_as<double>()[index] += dz[j]; });
      }
    });
  });
}

void ReferenceBackend::compute(const kernel::AttentionMetric& args) {
  const kernel::Attention& a = args.forward;
  const auto E = args.y.shape().last();
  compute(kernel::Fill{.x = args.column_sums});
  compute(kernel::Fill{.x = args.products});
  for_each_query(a, [&](const Query& at) {
    if (at.h != args.head) return;
    auto weights = scores(a, at);
    HostRow<double> row(weights.data(), at.visible);
    visit_row_map(a.map, [&](const auto& map) {
      if constexpr (std::decay_t<decltype(map)>::metric != Metric::none) {
        const double stat = map.weights(row);
        const RowMetric metric = metric_of_row(map, weights, stat);
        const double share = metric.c() > 0.0 ? 1.0 / std::sqrt(metric.c()) : 0.0;
        for (std::size_t j = 0; j < weights.size(); ++j) {
          const auto key = at.b * a.keys + at.key(j);
          args.column_sums.data_as<double>()[key] += metric.s[j];
          add_to(args.products.data_as<double>() + (at.b * a.queries + at.i) * E, share * metric.s[j],
                 args.y.data_as<double>() + key * E, E);
        }
      }
    });
  });
}

}  // namespace monge
