// What the tests of the row maps share: every kind with its settings, a map of a user, where a map has kinks, and one
// row of scores through a map or through the attention of a device.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/row_map/custom.h"
#include "core/row_map/row_map.h"
#include "support/compare.h"
#include "tools/verify/oracles/rows.h"

namespace monge::test {

using Vector = std::vector<double>;

inline double dot(const Vector& a, const Vector& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }
inline double total(const Vector& a) { return std::accumulate(a.begin(), a.end(), 0.0); }
inline double log_sum_exp(const Vector& z) {
  const double top = *std::max_element(z.begin(), z.end());
  double sum = 0.0;
  for (const double x : z) sum += std::exp(x - top);
  return top + std::log(sum);
}

/// The values rounded to f32, so that f32 and f64 computations start from the same.
inline Vector as_floats(Vector x) {
  for (double& value : x) value = static_cast<float>(value);
  return x;
}

/// A map that the framework does not know: a = relu(z)^2 / (2 n), so s = relu(z) / n = sqrt(2 a / n).
struct SquaredReluMap {
  static constexpr const char* name = "squared_relu";
  static constexpr Metric metric = Metric::conjugate_hessian;

  template <class Row>
  typename Row::Number weights(Row& row) const {
    recompute(row, 0);
    return 0;
  }
  template <class Row>
  void recompute(Row& row, typename Row::Number) const {
    if (row.size() == 0) return;
    const auto share = 1 / (2 * static_cast<typename Row::Number>(row.size()));
    row.apply([&](auto z) { return Row::relu(z) * Row::relu(z) * share; });
  }
  template <class Row, class Element, class Number>
  Element curvature(Element weight, Number n) const {
    return Row::sqrt(weight * (2 / n));
  }
  template <class Row>
  typename Row::Number slack(typename Row::Number) const {
    return std::numeric_limits<typename Row::Number>::infinity();
  }
};

/// A row map under the name of its test.
struct Named {
  std::string name;
  RowMap map;
};
inline void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }
inline std::string name_of_test(const testing::TestParamInfo<Named>& info) { return info.param.name; }

/// Every map of the list, some with several settings, and a custom one.
inline std::vector<Named> every_row_map() {
  std::vector<Named> maps = {{"entmax_1_2", EntmaxMap{.alpha = 1.2}},
                             {"entmax_1_75", EntmaxMap{.alpha = 1.75}},
                             {"sigmoid_unbalanced", SigmoidMap{.balanced = false}},
                             {"softplus_4", SoftplusMap{.beta = 4.0}},
                             {"custom", custom_row_map(SquaredReluMap{})}};
  RowMaps::for_each([&](const RowMap& map) { maps.push_back({std::string(name_of(map)), map}); });
  return maps;
}

/// Those that are metrics: all but softpick.
inline std::vector<Named> every_metric() {
  std::vector<Named> metrics;
  for (const Named& each : every_row_map()) {
    if (metric_of(each.map) != Metric::none) metrics.push_back(each);
  }
  return metrics;
}

/// A row of scores after its map; c = sum s + slack.
struct MappedRow {
  Vector weights, s;
  double stat = 0.0, slack = 0.0;

  double c() const { return total(s) + slack; }
};

/// Of softpick, which has no s, the weights and the statistic only.
inline MappedRow map_row(const RowMap& map, const Vector& scores) {
  MappedRow out{.weights = scores, .s = {}};
  const auto n = static_cast<std::int64_t>(scores.size());
  visit_row_map(map, [&](const auto& kind) {
    using Row = HostRow<double>;
    Row row(out.weights.data(), n);
    out.stat = kind.weights(row);
    if constexpr (std::decay_t<decltype(kind)>::metric != Metric::none) {
      for (const double a : out.weights) {
        out.s.push_back(kind.template curvature<Row>(a, static_cast<double>(n)));
      }
      out.slack = kind.template slack<Row>(out.stat);
    }
  });
  return out;
}

/// Those whose weights sum to one, so that a shift of the scores changes nothing: c = sum s.
inline std::vector<Named> every_normalised() {
  std::vector<Named> normalised;
  for (const Named& each : every_metric()) {
    if (map_row(each.map, {0.0}).slack == 0.0) normalised.push_back(each);
  }
  return normalised;
}

/// No score within 1e-4 of a kink, where a finite difference would see both sides: maps have theirs where a weight
/// becomes 0. Nor near that edge for entmax with alpha > 1.5, whose third derivatives grow without bound there.
inline bool away_from_kinks(const RowMap& map, const Vector& scores) {
  const auto* const entmax = as<EntmaxMap>(map);
  const double margin = entmax != nullptr && entmax->alpha > 1.5 ? 0.1 : 1e-4, stat = map_row(map, scores).stat;
  const auto zeros = [&](double shift) {
    Vector a = scores;
    for (double& z : a) z += shift;
    visit_row_map(map, [&](const auto& kind) {
      HostRow<double> row(a.data(), static_cast<std::int64_t>(a.size()));
      kind.recompute(row, stat);
    });
    return std::count(a.begin(), a.end(), 0.0);
  };
  return zeros(-margin) == zeros(margin);
}

/// n scores of N(0, stddev), away from the map's kinks.
inline Vector smooth_scores(const RowMap& map, std::int64_t n, std::uint64_t seed, double stddev = 1.0) {
  for (;; seed += 1000) {
    Vector z = random_values(n, seed, 0.0, stddev);
    if (away_from_kinks(map, z)) return z;
  }
}

using oracle::RowResults;
using oracle::run_rows;

}  // namespace monge::test
