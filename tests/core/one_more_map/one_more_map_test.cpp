// What a new row map takes: its struct (core/capped.h here) and its name in the list (core/row_map/maps.h here).
// Nothing else in the library knows it; these tests are built with core and the emulated GPU compiled for that list.
#include <gtest/gtest.h>

#include "core/fused_calls.h"

namespace monge {
namespace {

using namespace test;
using Scale = RowDamping::Scale;

TEST(OneMoreMap, HasWhatTheListAsksFor) {
  std::vector<std::string_view> names;
  RowMaps::for_each([&](const RowMap& map) { names.push_back(name_of(map)); });
  EXPECT_EQ(names, (std::vector<std::string_view>{"softmax", "capped"}));
  EXPECT_EQ(metric_of(CappedMap()), Metric::conjugate_hessian);
  EXPECT_EQ(wrong_setting(CappedMap{.total = 0.95}), "capped needs 0 < total <= 0.9, got 0.95");
  EXPECT_TRUE(simt::fused_needs_row_stat(CappedMap()));
}

TEST(OneMoreMap, ItsWeightsSumToItsTotal) {
  for (const double total : {0.1, 0.5, 0.9}) {
    std::vector<double> a = random_values(20, 1, 0.0, 3.0);
    HostRow<double> row(a.data(), 20);
    CappedMap{.total = total}.weights(row);
    EXPECT_NEAR(row.sum([](double x) { return x; }), total, 1e-12);
  }
}

// Masks, grouped heads, priors, dropout, a cache, the row solve and the metric, in f32 and bf16.
TEST(OneMoreMap, AttentionOfTheDeviceMatchesReference) {
  for (const Scale scale : {Scale::per_key, Scale::absolute, Scale::trace}) {
    expect_equal({1, 37, 37, 4, 2, 16, 0, true, true, 0.2, CappedMap(), true, RowDamping{0.1, scale}});
  }
  const CappedMap map{.total = 0.9};
  expect_equal({1, 70, 70, 2, 1, 64, 0, true, true, 0.2, map, false, RowDamping{}});
  expect_equal({3, 9, 50, 2, 2, 8, 20, false, false, 0.0, map, true, RowDamping{}});
  expect_equal({1, 1, 70, 4, 1, 8, 69, true, false, 0.0, map, true, RowDamping{}});
}

TEST(OneMoreMap, FusedKernelsMatchReference) {
  if (tested_is_emulated) GTEST_SKIP() << "they are called on host memory here";
  expect_fused_equal({1, 129, 129, 1, 1, 64, 0, true, false, 0.0, CappedMap()});
  expect_fused_equal({1, 67, 67, 2, 1, 64, 0, true, true, 0.2, CappedMap(), false, RowDamping{0.1, Scale::trace}});
  expect_fused_equal({1, 40, 90, 2, 1, 128, 0, false, true, 0.2, CappedMap(), false, RowDamping{}});
}

// The reference shares the struct with the other devices, so it is compared with differences of the weights.
TEST(OneMoreMap, BackwardMatchesFiniteDifferences) {
  if (tested_is_emulated) GTEST_SKIP() << "the same on every device";
  constexpr std::int64_t n = 9;
  const std::vector<double> z = random_values(n, 2, 0.0, 2.0), u = random_values(n, 3);
  const auto payoff = [&](std::vector<double> scores) {
    HostRow<double> row(scores.data(), n);
    CappedMap().weights(row);
    double sum = 0.0;
    for (std::size_t j = 0; j < scores.size(); ++j) sum += scores[j] * u[j];
    return sum;
  };
  std::vector<double> a = z;
  HostRow<double> row(a.data(), n);
  const double stat = CappedMap().weights(row);
  double c = CappedMap().slack<HostRow<double>>(stat), mean = 0.0;
  for (std::size_t j = 0; j < a.size(); ++j) {
    const double s = CappedMap().curvature<HostRow<double>>(a[j], static_cast<double>(n));
    c += s;
    mean += s * u[j];
  }
  constexpr double h = 1e-5;
  for (std::size_t j = 0; j < z.size(); ++j) {
    std::vector<double> above = z, below = z;
    above[j] += h;
    below[j] -= h;
    const double dz = CappedMap().curvature<HostRow<double>>(a[j], static_cast<double>(n)) * (u[j] - mean / c);
    EXPECT_NEAR((payoff(above) - payoff(below)) / (2.0 * h), dz, 1e-8);
  }
}

}  // namespace
}  // namespace monge
