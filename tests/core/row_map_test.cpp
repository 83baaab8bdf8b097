// The row maps as solutions: of the transport problem of a row, against oracles that share no code with them, and in
// rows without room to be wrong.
#include "core/row_map/row_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "support/row_maps.h"

namespace monge {
namespace {

using namespace test;

constexpr double infinity = std::numeric_limits<double>::infinity();

const RowMap softmax = SoftmaxMap(), softmax1 = Softmax1Map(), sparsemax = SparsemaxMap(), entmax15 = Entmax15Map(),
             sigmoid = SigmoidMap();
RowMap entmax(double alpha) { return EntmaxMap{.alpha = alpha}; }

Vector weights(const RowMap& map, const Vector& z) { return map_row(map, z).weights; }
Vector times(double factor, Vector x) {
  for (double& value : x) value *= factor;
  return x;
}
Vector plus(const Vector& x, double factor, const Vector& y) {
  Vector out = x;
  for (std::size_t j = 0; j < x.size(); ++j) out[j] += factor * y[j];
  return out;
}

// --- transport ---

// min <p, C> - eps H(p) over the simplex, by mirror descent (exponentiated gradient): each step halves the distance.
TEST(RowTransport, MirrorDescentReachesSoftmax) {
  for (const double eps : {0.5, 1.0, 2.0}) {
    const Vector s = random_values(16, 1);
    Vector p(s.size(), 1.0 / 16.0);
    for (int step = 0; step < 100; ++step) {
      double sum = 0.0;
      for (std::size_t j = 0; j < p.size(); ++j) {
        const double slope = -s[j] + eps * (1.0 + std::log(p[j]));
        p[j] *= std::exp(-0.5 / eps * slope);
        sum += p[j];
      }
      for (double& x : p) x /= sum;
    }
    const MappedRow row = map_row(softmax, times(1.0 / eps, s));
    EXPECT_TRUE(close(p, row.weights, 1e-10));
    double value = -dot(p, s);
    for (const double x : p) value += eps * x * std::log(x);
    EXPECT_NEAR(value + eps * row.stat, 0.0, 1e-12);  // the minimum is minus the dual potential
  }
}

TEST(RowTransport, TheDualPotentialHasTheWeightsAsGradientAndTheFisherMatrixAsHessian) {
  constexpr std::size_t n = 6;
  const Vector s = random_values(n, 2);
  for (const double eps : {0.5, 1.0, 2.0, 4.0}) {
    const auto potential = [&](const Vector& at) { return eps * map_row(softmax, times(1.0 / eps, at)).stat; };
    const auto moved = [&](std::size_t i, double by) {
      Vector out = s;
      out[i] += by;
      return out;
    };
    const Vector p = weights(softmax, times(1.0 / eps, s));
    constexpr double h = 1e-5, wide = 1e-3;
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR((potential(moved(i, h)) - potential(moved(i, -h))) / (2.0 * h), p[i], 1e-8);
      for (std::size_t j = 0; j < n; ++j) {
        const auto corner = [&](double a, double b) {
          Vector at = moved(i, a);
          at[j] += b;
          return potential(at);
        };
        const double second =
            (corner(wide, wide) - corner(wide, -wide) - corner(-wide, wide) + corner(-wide, -wide)) / (4 * wide * wide);
        EXPECT_NEAR(second, ((i == j ? p[i] : 0.0) - p[i] * p[j]) / eps, 1e-6);
      }
    }
  }
}

/// The conjugate Omega*(z) of a map's regulariser, where it has a closed form.
std::optional<double> potential(const RowMap& map, const Vector& z) {
  const auto n = static_cast<double>(z.size());
  const auto over_keys = [&](const std::function<double(double)>& f) {
    double sum = 0.0;
    for (const double x : z) sum += f(x);
    return sum;
  };
  const auto tsallis = [&](double alpha) {  // <p, z> + sum (p - p^alpha) / (alpha (alpha - 1))
    const Vector p = weights(map, z);
    double sum = dot(p, z);
    for (const double x : p) sum += (x - std::pow(x, alpha)) / (alpha * (alpha - 1.0));
    return sum;
  };
  if (as<SoftmaxMap>(map)) return std::log(over_keys([](double x) { return std::exp(x); }));
  if (as<Softmax1Map>(map)) return std::log(1.0 + over_keys([](double x) { return std::exp(x); }));
  if (as<SparsemaxMap>(map)) return tsallis(2.0);
  if (as<Entmax15Map>(map)) return tsallis(1.5);
  if (const auto* entmax = as<EntmaxMap>(map)) return tsallis(entmax->alpha);
  if (const auto* sigmoid = as<SigmoidMap>(map)) {
    return over_keys([&](double x) { return std::log1p(std::exp(x) / (sigmoid->balanced ? n : 1.0)); });
  }
  if (as<ReluMap>(map)) return over_keys([&](double x) { return x > 0.0 ? x * x / (2.0 * n) : 0.0; });
  if (custom_of(map)) return over_keys([&](double x) { return x > 0.0 ? x * x * x / (6.0 * n) : 0.0; });
  return std::nullopt;  // softplus: a dilogarithm
}

TEST(RowTransport, WeightsAreTheGradientOfAConvexPotential) {
  for (const auto& [name, map] : every_row_map()) {
    if (!potential(map, {0.0})) continue;
    const Vector z = smooth_scores(map, 9, 3);
    const Vector a = weights(map, z);
    constexpr double h = 1e-5;
    for (std::size_t j = 0; j < z.size(); ++j) {
      Vector above = z, below = z;
      above[j] += h;
      below[j] -= h;
      EXPECT_NEAR((*potential(map, above) - *potential(map, below)) / (2.0 * h), a[j], 1e-9) << name;
    }
  }
}

TEST(RowTransport, APriorIsTheReferenceOfTheDivergence) {
  const std::int64_t n = 12;
  const double eps = 0.7;
  const Vector s = random_values(n, 4), prior = weights(softmax, random_values(n, 5));
  const auto objective = [&](const Vector& p) {  // <p, C> + eps KL(p, prior)
    double value = -dot(p, s);
    for (std::size_t j = 0; j < p.size(); ++j) value += eps * p[j] * std::log(p[j] / prior[j]);
    return value;
  };
  Vector log_prior = prior;
  for (double& x : log_prior) x = std::log(x);
  const MappedRow row = map_row(softmax, plus(log_prior, 1.0 / eps, s));
  EXPECT_NEAR(objective(row.weights), -eps * row.stat, 1e-12);
  for (std::uint64_t seed = 0; seed < 5000; ++seed) {
    EXPECT_GE(objective(weights(softmax, random_values(n, 100 + seed, 0.0, 2.0))), objective(row.weights));
  }
  const auto [low, high] = std::minmax_element(s.begin(), s.end());
  const double width = (*high - *low) / eps;
  for (std::size_t j = 0; j < prior.size(); ++j) {
    EXPECT_LE(row.weights[j] / prior[j], std::exp(width));
    EXPECT_GE(row.weights[j] / prior[j], std::exp(-width));
  }
}

// max over each a_j in [0, 1] of a_j z_j - KL(a_j, 1 / (n + 1)).
TEST(RowTransport, SigmoidIsTheTransportOfIndependentKeys) {
  const Vector z = random_values(9, 6, 0.0, 2.0), a = weights(sigmoid, z);
  const double prior = 0.1;  // 1 / (9 + 1)
  const auto value = [&](double x, double score) {
    return x * score - x * std::log(x / prior) - (1.0 - x) * std::log((1.0 - x) / (1.0 - prior));
  };
  for (std::size_t j = 0; j < z.size(); ++j) {
    for (double x = 0.0005; x < 1.0; x += 0.001) EXPECT_LE(value(x, z[j]), value(a[j], z[j]) + 1e-15);
  }
}

// --- oracles ---

/// The largest k for which the k largest scores are above the threshold that they alone would give.
Vector by_sorting(Vector y, const std::function<double(const Vector& kept)>& threshold, double power) {
  Vector sorted = y;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double t = 0.0;
  for (std::size_t k = 1; k <= sorted.size(); ++k) {
    const double candidate = threshold({sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(k)});
    if (std::isfinite(candidate) && candidate < sorted[k - 1]) t = candidate;
  }
  for (double& x : y) x = x > t ? std::pow(x - t, power) : 0.0;
  return y;
}

/// (sum of the kept - 1) / k.
double sparsemax_threshold(const Vector& kept) { return (total(kept) - 1.0) / static_cast<double>(kept.size()); }

/// The smaller root of sum (y - t)^2 = 1.
double entmax15_threshold(const Vector& kept) {
  const auto k = static_cast<double>(kept.size());
  const double mean = total(kept) / k, spread = dot(kept, kept) - k * mean * mean;
  return mean - std::sqrt((1.0 - spread) / k);
}

struct Bisected {
  Vector weights;
  double low, high;        // the bracket at the start
  double at_low, at_high;  // the sum of the weights there, minus one
};

Bisected by_bisection(const Vector& z, double alpha) {
  const Vector y = times(alpha - 1.0, z);
  const auto n = static_cast<double>(y.size());
  const double top = *std::max_element(y.begin(), y.end());
  const auto at = [&](double t) {
    Vector p = y;
    for (double& x : p) x = x > t ? std::pow(x - t, 1.0 / (alpha - 1.0)) : 0.0;
    return p;
  };
  double low = top - 1.0, high = top - std::pow(n, 1.0 - alpha);
  Bisected out{{}, low, high, total(at(low)) - 1.0, total(at(high)) - 1.0};
  for (int step = 0; step < 100; ++step) {
    const double middle = 0.5 * (low + high);
    (total(at(middle)) >= 1.0 ? low : high) = middle;
  }
  out.weights = at(low);
  return out;
}

TEST(RowOracles, SparsemaxAndEntmaxBySorting) {
  for (const std::int64_t n : {1, 2, 3, 17, 300}) {
    for (const double stddev : {0.01, 1.0, 5.0}) {
      const Vector z = random_values(n, 7, 0.0, stddev);
      EXPECT_TRUE(close(weights(sparsemax, z), by_sorting(z, sparsemax_threshold, 1.0), 1e-12)) << n;
      EXPECT_TRUE(close(weights(entmax15, z), by_sorting(times(0.5, z), entmax15_threshold, 2.0), 1e-12)) << n;
    }
  }
}

TEST(RowOracles, EntmaxByBisection) {
  for (const std::int64_t n : {1, 2, 17, 300}) {
    for (const double alpha : {1.1, 1.25, 1.5, 1.75, 2.0}) {
      const Vector z = random_values(n, 8, 0.0, 2.0);
      const Bisected oracle = by_bisection(z, alpha);
      EXPECT_GE(oracle.at_low, -1e-14);
      EXPECT_LE(oracle.at_high, 1e-14);
      const MappedRow row = map_row(entmax(alpha), z);
      EXPECT_TRUE(close(row.weights, oracle.weights, 1e-12)) << n << ' ' << alpha;
      EXPECT_GE(row.stat, oracle.low);
      EXPECT_LE(row.stat, oracle.high + 1e-15);
    }
  }
}

TEST(RowOracles, EntmaxRunsFromSoftmaxToSparsemax) {
  const Vector z = random_values(9, 9, 0.0, 2.0);
  EXPECT_TRUE(close(weights(entmax(2.0), z), weights(sparsemax, z), 1e-12));
  EXPECT_TRUE(close(weights(entmax(1.5), z), weights(entmax15, z), 1e-12));
  EXPECT_TRUE(close(weights(entmax(1.0001), z), weights(softmax, z), 1e-3));
}

TEST(RowOracles, NormalisedWeightsSumToOne) {
  for (const RowMap& map : {softmax, sparsemax, entmax15, entmax(1.2), entmax(1.75)}) {
    for (const std::int64_t n : {1, 2, 17, 300}) {
      const Vector a = weights(map, random_values(n, 10, 0.0, 2.0));
      EXPECT_NEAR(total(a), 1.0, 1e-14) << name_of(map) << ' ' << n;
      for (const double x : a) EXPECT_GE(x, 0.0);
    }
  }
}

// softmax1 with the extra key at b is softmax times the chance sigma(LSE - b) of attending at all.
TEST(RowOracles, AnExtraKeyIsAGateOnSoftmax) {
  const Vector z = random_values(11, 11, 0.0, 2.0);
  for (const double b : {-1.5, 0.0, 2.0}) {
    const MappedRow row = map_row(softmax1, plus(z, -b, Vector(z.size(), 1.0)));
    const double gate = 1.0 / (1.0 + std::exp(b - log_sum_exp(z)));
    EXPECT_TRUE(close(row.weights, times(gate, weights(softmax, z)), 1e-14));
    EXPECT_NEAR(row.slack, 1.0 - gate, 1e-14);
    EXPECT_NEAR(row.c(), 1.0, 1e-14);
  }
}

TEST(RowOracles, ClosedForms) {
  EXPECT_TRUE(close(weights(sigmoid, {0.0, std::log(3.0), -std::log(3.0)}), {0.25, 0.5, 0.1}, 1e-15));
  EXPECT_TRUE(close(weights(SigmoidMap{.balanced = false}, {0.0, std::log(3.0)}), {0.5, 0.75}, 1e-15));
  EXPECT_TRUE(close(weights(ReluMap(), {3.0, -1.0, 0.5}), {1.0, 0.0, 1.0 / 6.0}, 1e-15));
  EXPECT_TRUE(close(weights(SoftplusMap{.beta = 2.0}, {0.0, std::log(7.0) / 2.0}),
                    {std::log(2.0) / 4.0, std::log(8.0) / 4.0}, 1e-15));
  EXPECT_TRUE(close(weights(SoftpickMap(), {std::log(3.0), std::log(0.5), 0.0}), {0.8, 0.0, 0.0}, 1e-6));
  EXPECT_NEAR(map_row(softmax, {0.0, std::log(2.0), std::log(5.0)}).stat, std::log(8.0), 1e-15);
}

// --- every kind ---

class EveryRowMap : public testing::TestWithParam<Named> {
 protected:
  static const RowMap& map() { return GetParam().map; }
};
INSTANTIATE_TEST_SUITE_P(RowMaps, EveryRowMap, testing::ValuesIn(every_row_map()), name_of_test);

TEST_P(EveryRowMap, RecomputeGivesTheSameWeights) {
  const Vector z = random_values(40, 12, 2.0, 3.0);
  const MappedRow row = map_row(map(), z);
  Vector again = z;
  visit_row_map(map(), [&](const auto& kind) {
    HostRow<double> host(again.data(), 40);
    kind.recompute(host, row.stat);
  });
  EXPECT_TRUE(close(again, row.weights, 1e-13));
}

TEST_P(EveryRowMap, AnEmptyRowHasNoWeights) {
  const MappedRow row = map_row(map(), {});
  EXPECT_TRUE(row.weights.empty());
  EXPECT_FALSE(std::isnan(row.stat));
}

TEST_P(EveryRowMap, EqualScoresShareEqually) {
  for (const double score : {-1e4, -3.0, 0.0, 3.0, 1e4}) {
    const Vector a = weights(map(), Vector(7, score));
    for (const double x : a) {
      EXPECT_EQ(x, a[0]);
      EXPECT_TRUE(std::isfinite(x) && x >= 0.0) << score;
    }
  }
}

TEST_P(EveryRowMap, HugeScoresStayFinite) {
  const MappedRow row = map_row(map(), {1e4, -1e4, 3.0, 1e4, -1e4});
  EXPECT_FALSE(std::isnan(row.stat));
  for (const double x : row.weights) EXPECT_TRUE(std::isfinite(x) && x >= 0.0);
  for (const double x : row.s) EXPECT_TRUE(std::isfinite(x) && x >= 0.0);
  EXPECT_GT(row.weights[0], row.weights[2]);
  EXPECT_EQ(row.weights[0], row.weights[3]);
  EXPECT_EQ(row.weights[1], 0.0);
  EXPECT_EQ(row.weights[4], 0.0);
}

// Wrapping the struct of a built-in map makes a custom map that is the same to the last bit, on both host backends.
TEST_P(EveryRowMap, WrappedAsACustomMapItIsTheSame) {
  const Vector z = random_values(3 * 33, 13), u = random_values(3 * 33, 14);
  RowMaps::visit(map(), [&](const auto& kind) {
    using Map = std::decay_t<decltype(kind)>;
    if constexpr (Map::metric != Metric::none) {
      const RowMap wrapped = custom_row_map(kind);
      EXPECT_EQ(name_of(wrapped), name_of(map()));
      EXPECT_EQ(metric_of(wrapped), metric_of(map()));
      for (const Device device : {reference, cpu}) {
        const RowResults own = run_rows(device, map(), z, u, 33, RowDamping{});
        const RowResults other = run_rows(device, wrapped, z, u, 33, RowDamping{});
        // On cpu the built-in map runs in vectors, the custom one key by key.
        const double tolerance = device == reference ? 1e-15 : 1e-5;
        EXPECT_TRUE(close(other.weights, own.weights, tolerance));
        EXPECT_TRUE(close(other.dz, own.dz, tolerance));
        EXPECT_TRUE(close(other.solved, own.solved, tolerance));
      }
    }
  });
}

TEST(RowMap, HasANameAndAMetric) {
  EXPECT_EQ(name_of(RowMap{}), "softmax");
  EXPECT_EQ(name_of(custom_row_map(SquaredReluMap{})), "squared_relu");
  const auto metric = [](const RowMap& map) { return name_of(metric_of(map)); };
  EXPECT_EQ(metric(softmax), "categorical");
  EXPECT_EQ(metric(softmax1), "categorical");
  EXPECT_EQ(metric(sigmoid), "bernoulli");
  for (const RowMap& map : {sparsemax, entmax15, entmax(1.3), RowMap(ReluMap()), RowMap(SoftplusMap())}) {
    EXPECT_EQ(metric(map), "conjugate Hessian") << name_of(map);
  }
  EXPECT_EQ(metric(SoftpickMap()), "none");
}

// What the kernels conclude from the statistic that a map declares.
TEST_P(EveryRowMap, ItsStatisticIsWhatItSays) {
  const Vector z = random_values(40, 16, 0.0, 2.0);
  const MappedRow row = map_row(map(), z);
  RowMaps::visit(map(), [&](const auto& kind) {
    using Map = std::decay_t<decltype(kind)>;
    const auto again = [&](double stat) {
      Vector a = z;
      HostRow<double> host(a.data(), 40);
      kind.recompute(host, stat);
      return a;
    };
    if constexpr (is_separable<Map>) {
      EXPECT_EQ(again(NAN), row.weights);
    } else {
      EXPECT_NE(again(row.stat + 1.0), row.weights);
    }
    EXPECT_EQ(std::isinf(row.slack), is_separable<Map>);
    if constexpr (is_exponential<Map>) {
      const double extra = Map::statistic == RowStatistic::log1p_sum_exp ? 1.0 : 0.0;
      EXPECT_NEAR(row.stat, std::log(extra + std::exp(log_sum_exp(z))), 1e-14);
      EXPECT_EQ(row.s, row.weights);
      EXPECT_NEAR(row.c(), 1.0, 1e-14);
    }
  });
}

/// Softmax as somebody might write it who has not heard of statistics.
struct WithoutStatistic {
  static constexpr const char* name = "without_statistic";
  static constexpr Metric metric = Metric::categorical;
  static constexpr RowMapText text{};
  template <class Row>
  typename Row::Number weights(Row& row) const {
    return SoftmaxMap().weights(row);
  }
  template <class Row>
  void recompute(Row& row, typename Row::Number stat) const {
    SoftmaxMap().recompute(row, stat);
  }
  template <class Row, class Element, class Number>
  Element curvature(Element weight, Number) const {
    return weight;
  }
  template <class Row>
  typename Row::Number slack(typename Row::Number) const {
    return 0;
  }
};
struct WithStatistic : WithoutStatistic {
  static constexpr RowStatistic statistic = RowStatistic::log_sum_exp;
};
static_assert(BuiltInRowMap<WithStatistic>);
static_assert(!BuiltInRowMap<WithoutStatistic>, "it could read a row_stat that nothing has set");
static_assert(RowMapStruct<WithoutStatistic>, "a custom map needs none");

std::string metric_text(Metric metric) {
  switch (metric) {
    case Metric::categorical: return "Fisher, of a draw of a key";
    case Metric::bernoulli: return "Fisher, of a draw of each key";
    case Metric::conjugate_hessian: return "Hessian of `Omega*`";
    case Metric::none: return "none";
  }
  return "";
}

// docs/attention.md has a row for each map of the list. MONGE_UPDATE_DOCS=1 rewrites the table.
TEST(RowMap, TheTableInTheDocsIsUpToDate) {
  std::string table = "| kind | weights `a` | `s` | `c` | metric | when |\n|---|---|---|---|---|---|\n";
  RowMaps::for_each([&](const auto& map) {
    const auto code = [](std::string text) { return text.empty() ? text : "`" + text + "`"; };
    for (const std::string& cell : {code(map.name), code(map.text.weights), code(map.text.s), std::string(map.text.c),
                                    metric_text(map.metric), std::string(map.text.use)}) {
      table += "| " + cell + (cell.empty() ? "" : " ");
    }
    table += "|\n";
  });
  const std::string path = std::string(MONGE_SOURCE_DIR) + "/docs/attention.md";
  std::ifstream in(path);
  std::string page{std::istreambuf_iterator<char>(in), {}};
  const std::size_t begin = page.find("| kind |"), end = page.find("\n\n", begin) + 1;
  const std::string old = page.substr(begin, end - begin);
  if (std::getenv("MONGE_UPDATE_DOCS") != nullptr) {
    std::ofstream(path) << page.replace(begin, end - begin, table);
  } else {
    EXPECT_EQ(old, table) << "rewrite it with MONGE_UPDATE_DOCS=1";
  }
}

TEST(SoftmaxMap, AShiftMovesOnlyTheStatistic) {
  const Vector z = random_values(15, 15);
  const MappedRow before = map_row(softmax, z), after = map_row(softmax, plus(z, 300.0, Vector(15, 1.0)));
  EXPECT_TRUE(close(after.weights, before.weights, 1e-12));
  EXPECT_NEAR(after.stat, before.stat + 300.0, 1e-12);
}

TEST(SoftmaxMap, ScoresOfMinusInfinityAreNoKeys) {
  const MappedRow row = map_row(softmax, {2.0, -infinity, 2.0});
  EXPECT_EQ(row.weights, (Vector{0.5, 0.0, 0.5}));
  EXPECT_NEAR(row.stat, 2.0 + std::log(2.0), 1e-15);
}

TEST(SoftpickMap, ARowOfVeryLowScoresIsZeroInFloatToo) {
  std::vector<float> z(5, -200.0f);
  HostRow<float> row(z.data(), 5);
  EXPECT_TRUE(std::isfinite(SoftpickMap{}.weights(row)));
  EXPECT_EQ(z, std::vector<float>(5, 0.0f));
}

}  // namespace
}  // namespace monge
