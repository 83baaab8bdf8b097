// Every row map in the attention of a device, against the reference backend: priors and their gradients, solved
// rows, the metric; on every instruction set and with extreme scores.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/attention_calls.h"
#include "core/kernels.h"
#include "support/row_maps.h"

namespace monge {
namespace {

using namespace test;
using Case = AttentionCase;

std::optional<RowDamping> damping_for(const RowMap& map, RowDamping damping = {}) {
  return metric_of(map) == Metric::none ? std::nullopt : std::optional(damping);
}

/// A map of the program's own runs on host backends only.
std::vector<Named> maps_of_device() {
  std::vector<Named> out = every_row_map();
  if (tested != cpu) std::erase_if(out, [](const Named& each) { return custom_of(each.map) != nullptr; });
  return out;
}

class EveryRowMap : public testing::TestWithParam<Named> {
 protected:
  static const RowMap& map() { return GetParam().map; }
};
INSTANTIATE_TEST_SUITE_P(RowMaps, EveryRowMap, testing::ValuesIn(maps_of_device()), name_of_test);

TEST_P(EveryRowMap, OddSizesMatchReference) {
  const auto damping = damping_for(map());
  for (const std::int64_t tokens : {1, 2, 7, 64, 65}) {
    for (const bool causal : {true, false}) {
      expect_equal({2, tokens, tokens, 2, 1, 16, 0, causal, false, 0.0, map(), false, damping});
    }
  }
  expect_equal({1, 150, 150, 1, 1, 33, 0, true, false, 0.0, map(), false, damping});
}

TEST_P(EveryRowMap, PriorsAndTheirGradientsMatchReference) {
  const auto damping = damping_for(map());
  for (const bool slopes : {false, true}) {
    expect_equal({2, 37, 37, 4, 2, 16, 0, true, slopes, 0.0, map(), true, damping});
    expect_equal({3, 9, 50, 2, 2, 8, 20, false, slopes, 0.0, map(), true, damping});  // distances to both sides
    expect_equal({1, 3, 70, 4, 1, 8, 67, true, slopes, 0.0, map(), true, damping});   // a cache of keys
  }
}

// Keys behind the end of their sequence have no weight and no gradient, and sequences that share a row see nothing of
// each other: with and without a causal mask, in a source of its own and for a few queries; head widths of fused
// kernels among them.
TEST_P(EveryRowMap, PaddingAndSegmentsMatchReference) {
  const auto damping = damping_for(map());
  for (const Sees sees : {Sees::padded, Sees::segments}) {
    for (const bool causal : {true, false}) {
      expect_equal({4, 37, 37, 4, 2, 16, 0, causal, true, 0.3, map(), true, damping, sees});
      expect_equal({2, 150, 150, 2, 1, 64, 0, causal, false, 0.0, map(), false, damping, sees});
    }
    expect_equal({3, 9, 50, 2, 2, 8, 0, false, false, 0.0, map(), true, damping, sees});
    expect_equal({3, 1, 50, 4, 2, 8, 0, false, false, 0.0, map(), false, damping, sees});
    expect_equal({2, 130, 140, 2, 2, 64, 0, false, true, 0.0, map(), false, damping, sees});
  }
}

TEST_P(EveryRowMap, DropoutMatchesReference) {
  expect_equal({2, 65, 65, 4, 2, 16, 0, true, true, 0.3, map(), true, damping_for(map())});
}

TEST_P(EveryRowMap, EveryDampingMatchesReference) {
  if (metric_of(map()) == Metric::none) return;
  using Scale = RowDamping::Scale;
  for (const Scale scale : {Scale::per_key, Scale::absolute, Scale::trace}) {
    for (const double lambda : {0.01, 0.1, 10.0}) {
      expect_equal({1, 40, 40, 2, 2, 16, 0, true, false, 0.0, map(), false, RowDamping{lambda, scale}});
    }
  }
}

/// Scores of q_0 k_0 / sqrt(D) with q_0 = sqrt(D): `score(j)` for key j, exactly.
AttentionInputs given_scores(const Case& c, double (*score)(std::int64_t j)) {
  AttentionInputs in = inputs_of(c, DType::f32);
  auto values = in.q.values();
  const auto width = in.q.size(2);
  for (std::int64_t t = 0; t < c.batch * c.queries; ++t) {
    for (std::int64_t i = 0; i < (c.heads + c.kv_heads) * c.head_dim; ++i) {
      const bool first = i % c.head_dim == 0, key = i >= c.heads * c.head_dim;
      values[static_cast<std::size_t>(t * width + i)] = !first ? 0.0
                                                        : key  ? score(t % c.queries)
                                                               : std::sqrt(static_cast<double>(c.head_dim));
    }
  }
  in.q = Tensor::from(values, in.q.shape(), DType::f32, tested);
  return in;
}

void expect_finite(const Case& c, const AttentionInputs& in) {
  SCOPED_TRACE(testing::Message() << c);
  for (const auto& [name, values] : run_attention(c, in, tested)) {
    for (const double x : values) ASSERT_TRUE(std::isfinite(x)) << name;
  }
}

// Equal scores of four make steps that f32 holds exactly: attention is a running mean, and matches to rounding.
TEST_P(EveryRowMap, EqualScoresMatchReference) {
  const Case c{1, 33, 33, 2, 2, 16, 0, true, false, 0.0, map(), false, damping_for(map())};
  expect_equal(c, given_scores(c, [](std::int64_t) { return 4.0; }));
  expect_equal(c, given_scores(c, [](std::int64_t) { return 0.5; }));
}

TEST_P(EveryRowMap, HugeScoresStayFinite) {
  for (const std::int64_t tokens : {1, 2, 33}) {
    const Case c{2, tokens, tokens, 2, 1, 16, 0, true, false, 0.0, map(), false, damping_for(map())};
    expect_finite(c, given_scores(c, [](std::int64_t) { return 1e4; }));
    expect_finite(c, given_scores(c, [](std::int64_t) { return -1e4; }));
    expect_finite(c, given_scores(c, [](std::int64_t j) { return j % 2 == 0 ? 1e4 : -1e4; }));
  }
}

// What is far below the largest score of a row gets no weight at all, not a small one.
TEST_P(EveryRowMap, KeysFarBelowGetExactlyNothing) {
  constexpr std::int64_t n = 40;
  Vector z(n, -1e4);
  z[7] = z[21] = 50.0;
  const Vector u = random_values(n, 1);
  const RowResults row = run_rows(tested, map(), z, u, n, damping_for(map()));
  for (std::size_t j = 0; j < z.size(); ++j) {
    if (z[j] > 0.0) {
      EXPECT_GT(row.weights[j], 0.0);
      continue;
    }
    EXPECT_EQ(row.weights[j], 0.0);
    EXPECT_EQ(row.dz[j], 0.0);
    if (!row.solved.empty()) {
      EXPECT_EQ(row.solved[j], 0.0);
    }
  }
}

class RowMapsOn : public Kernels {};
MONGE_KERNEL_TESTS(RowMapsOn);

TEST_P(RowMapsOn, EveryInstructionSetMatchesReference) {
  for (const auto& [name, map] : maps_of_device()) {
    const auto damping = damping_for(map);
    for (const Case& c : {Case{2, 7, 7, 2, 2, 33, 0, true, false, 0.0, map, true, damping},
                          Case{1, 37, 37, 2, 1, 16, 0, true, true, 0.3, map, true, damping},
                          Case{1, 3, 70, 2, 2, 8, 67, true, false, 0.0, map, false, damping},
                          Case{1, 33, 33, 1, 1, 64, 0, false, false, 0.0, map, true, damping}}) {
      expect_equal(c, inputs_of(c, dtype()));
    }
  }
}

// alpha -> 1: weights are (y - t)^p with p = 1 / (alpha - 1), so the rounding of y - t, near 1, counts p times.
TEST_P(RowMapsOn, EntmaxNearSoftmaxLosesDigitsAsItsPowerGrows) {
  for (const double alpha : {1.1, 1.01, 1.001}) {
    const RowMap map = EntmaxMap{.alpha = alpha};
    const Case c{1, 33, 33, 2, 2, 16, 0, true, false, 0.0, map, false, RowDamping{}};
    expect_equal(c, inputs_of(c, dtype()), std::max(1.0, 0.03 / (alpha - 1.0)));
  }
}

TEST(CustomRowMap, IsRefusedWhereThereIsNoHostToCallIt) {
  if (tested == cpu) GTEST_SKIP() << "the cpu runs it";
  const Case c{1, 4, 4, 1, 1, 8, 0, true, false, 0.0, custom_row_map(SquaredReluMap{})};
  try {
    run_attention(c, inputs_of(c, DType::f32), tested);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("'squared_relu'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace monge
