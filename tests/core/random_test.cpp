#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/compare.h"

namespace monge {
namespace {

using test::reference;
using Words = std::array<std::uint32_t, 4>;

constexpr std::int64_t draws = 200000;

std::vector<double> draw_normal(std::int64_t n, const Random& random, double mean = 0.0, double stddev = 1.0) {
  const Tensor x = Tensor::empty({n}, DType::f64, reference);
  x.backend().normal({.x = x, .mean = mean, .stddev = stddev, .random = random});
  return x.values();
}

std::vector<double> draw_uniform(std::int64_t n, const Random& random, double low = 0.0, double high = 1.0) {
  const Tensor x = Tensor::empty({n}, DType::f64, reference);
  x.backend().uniform({.x = x, .low = low, .high = high, .random = random});
  return x.values();
}

/// Mean of f over the values.
template <class F>
double mean_of(const std::vector<double>& values, F f) {
  double total = 0.0;
  for (const double x : values) total += f(x);
  return total / static_cast<double>(values.size());
}

// The published known-answer vectors of Random123 (kat_vectors, philox4x32 with 10 rounds).
TEST(Philox, KnownAnswers) {
  constexpr std::uint32_t ones = 0xffffffffu;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, BlocksStepAndStreamAreTheCounterAndTheSeedIsTheKey) {
  EXPECT_EQ(random_words(0x299f31d0a4093822, 0x03707344, 0x13198a2e, 0x85a308d3243f6a88),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, UnitIntervalIsHalfOpen) {
  EXPECT_EQ(to_unit(0), 0.0f);
  EXPECT_EQ(to_unit(0xffffffffu), 1.0f - 0x1p-24f);
}

TEST(Uniform, RangeAndMoments) {
  const auto values = draw_uniform(draws, {.seed = 7}, -2.0, 4.0);
  EXPECT_GE(*std::min_element(values.begin(), values.end()), -2.0);
  EXPECT_LT(*std::max_element(values.begin(), values.end()), 4.0);
  const double n = static_cast<double>(draws);
  EXPECT_NEAR(mean_of(values, [](double x) { return x; }), 1.0, 5.0 * std::sqrt(3.0 / n));
  EXPECT_NEAR(mean_of(values, [](double x) { return (x - 1.0) * (x - 1.0); }), 3.0, 5.0 * std::sqrt(7.2 / n));
}

TEST(Normal, MomentsOfTheStandardNormal) {
  const auto values = draw_normal(draws, {.seed = 3});
  const double n = static_cast<double>(draws);
  // Five standard errors; Var[x^k] = E[x^2k] - E[x^k]^2.
  EXPECT_NEAR(mean_of(values, [](double x) { return x; }), 0.0, 5.0 * std::sqrt(1.0 / n));
  EXPECT_NEAR(mean_of(values, [](double x) { return x * x; }), 1.0, 5.0 * std::sqrt(2.0 / n));
  EXPECT_NEAR(mean_of(values, [](double x) { return x * x * x; }), 0.0, 5.0 * std::sqrt(15.0 / n));
  EXPECT_NEAR(mean_of(values, [](double x) { return x * x * x * x; }), 3.0, 5.0 * std::sqrt(96.0 / n));
  const double beyond = mean_of(values, [](double x) { return std::abs(x) > 1.959963984540054 ? 1.0 : 0.0; });
  EXPECT_NEAR(beyond, 0.05, 5.0 * std::sqrt(0.0475 / n));
}

TEST(Normal, NeighboursAreIndependent) {
  const auto values = draw_normal(draws, {.seed = 4});
  for (std::size_t lag = 1; lag <= 4; ++lag) {
    double product = 0.0, squares = 0.0;
    for (std::size_t i = 0; i + lag < values.size(); ++i) {
      product += values[i] * values[i + lag];
      squares += values[i] * values[i] * values[i + lag] * values[i + lag];
    }
    const double n = static_cast<double>(values.size() - lag);
    EXPECT_NEAR(product / n, 0.0, 5.0 / std::sqrt(n)) << lag;
    EXPECT_NEAR(squares / n, 1.0, 5.0 * std::sqrt(8.0 / n)) << lag;
  }
}

TEST(Normal, MeanAndDeviationShiftAndScale) {
  const auto plain = draw_normal(101, {.seed = 5});
  const auto moved = draw_normal(101, {.seed = 5}, 10.0, 0.02);
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(moved[i], 10.0 + 0.02 * plain[i], 1e-14);
}

TEST(Normal, ExtremeWordsStayFinite) {
  for (const std::uint32_t first : {0u, 0xffu, 0xffffffffu}) {
    for (const std::uint32_t second : {0u, 0xffffffffu}) {
      for (const double x : normal_pair(first, second)) {
        EXPECT_TRUE(std::isfinite(x));
        EXPECT_LE(std::abs(x), std::sqrt(-2.0 * std::log(0x1p-24)) + 1e-12);
      }
    }
  }
}

TEST(Stream, AnElementDependsOnItsIndexOnly) {
  for (const auto draw : {+[](std::int64_t n) { return draw_normal(n, {.seed = 6, .stream = 2}); },
                          +[](std::int64_t n) { return draw_uniform(n, {.seed = 6, .stream = 2}); }}) {
    const auto whole = draw(37);
    for (const std::int64_t n : {1, 2, 5, 36}) {
      EXPECT_EQ(draw(n), std::vector<double>(whole.begin(), whole.begin() + n));
    }
  }
}

TEST(Stream, SeedStreamAndStepEachChangeTheDraw) {
  const auto step = [](std::int32_t value) { return Tensor::from(std::vector{value}, {1}, reference); };
  const auto base = draw_uniform(16, {.seed = 1, .stream = 1});
  EXPECT_EQ(draw_uniform(16, {.seed = 1, .stream = 1, .step = step(0)}), base);
  for (const Random& other : {Random{.seed = 2, .stream = 1}, Random{.seed = 1ull << 32 | 1, .stream = 1},
                              Random{.seed = 1, .stream = 2}, Random{.seed = 1, .stream = 1, .step = step(1)}}) {
    const auto values = draw_uniform(16, other);
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NE(values[i], base[i]);
  }
}

TEST(Sequence, ContinuesThroughTheBlocksOfItsStream) {
  RandomSequence sequence(9, 4, 2);
  for (std::uint64_t block = 0; block < 3; ++block) {
    for (const std::uint32_t word : random_words(9, 4, 2, block)) EXPECT_EQ(sequence.word(), word);
  }
}

TEST(Sequence, BelowIsUniform) {
  RandomSequence sequence(11, 0);
  std::array<int, 6> counts{};
  constexpr int n = 60000;
  for (int i = 0; i < n; ++i) ++counts.at(sequence.below(6));
  double chi2 = 0.0;
  for (const int count : counts) chi2 += (count - n / 6.0) * (count - n / 6.0) / (n / 6.0);
  EXPECT_LT(chi2, 25.7);  // 5 degrees of freedom, p = 1e-4
  EXPECT_EQ(sequence.below(1), 0u);
}

// Plain x % n would give the lower third of [0, 3 * 2^62) half of the mass.
TEST(Sequence, BelowHasNoModuloBias) {
  RandomSequence sequence(12, 0);
  constexpr std::uint64_t third = 1ull << 62;
  constexpr int n = 20000;
  int low = 0;
  for (int i = 0; i < n; ++i) low += sequence.below(3 * third) < third ? 1 : 0;
  EXPECT_NEAR(low / static_cast<double>(n), 1.0 / 3.0, 5.0 * std::sqrt(2.0 / 9.0 / n));
}

TEST(Sequence, UniformAndNormalMoments) {
  RandomSequence sequence(13, 0);
  std::vector<double> uniforms(draws), normals(draws);
  for (double& x : uniforms) x = sequence.uniform();
  for (double& x : normals) x = sequence.normal();
  const double n = static_cast<double>(draws);
  EXPECT_LT(*std::max_element(uniforms.begin(), uniforms.end()), 1.0);
  EXPECT_NEAR(mean_of(uniforms, [](double x) { return x; }), 0.5, 5.0 * std::sqrt(1.0 / 12.0 / n));
  EXPECT_NEAR(mean_of(normals, [](double x) { return x; }), 0.0, 5.0 / std::sqrt(n));
  EXPECT_NEAR(mean_of(normals, [](double x) { return x * x; }), 1.0, 5.0 * std::sqrt(2.0 / n));
}

TEST(Dropout, KeepsTheExpectedShareAndTheMean) {
  constexpr double p = 0.3;
  const Tensor x = Tensor::empty({draws}, DType::f64, reference);
  x.backend().fill({.x = x, .value = 1.0});
  x.backend().dropout({.x = x, .y = x, .p = p, .random = {.seed = 14}});
  const auto values = x.values();
  const auto kept = std::count_if(values.begin(), values.end(), [](double y) { return y != 0.0; });
  const double n = static_cast<double>(draws);
  EXPECT_NEAR(static_cast<double>(kept) / n, 1.0 - p, 5.0 * std::sqrt(p * (1.0 - p) / n));
  for (const double y : values) EXPECT_TRUE(y == 0.0 || y == 1.0 / (1.0 - p));
}

TEST(Dropout, TheSameCallOnTheGradientIsItsBackward) {
  const Random random{.seed = 15, .stream = 3};
  const Tensor x = test::random_tensor({64}, 1), dy = test::random_tensor({64}, 2);
  const Tensor y = Tensor::like(x), dx = Tensor::like(x);
  Backend& backend = backend_of(reference);
  backend.dropout({.x = x, .y = y, .p = 0.5, .random = random});
  backend.dropout({.x = dy, .y = dx, .p = 0.5, .random = random});
  const auto in = x.values(), out = y.values(), up = dy.values(), down = dx.values();
  for (std::size_t i = 0; i < in.size(); ++i) EXPECT_DOUBLE_EQ(out[i] * up[i], in[i] * down[i]);
}

TEST(Dropout, OfNothingIsTheIdentity) {
  const Tensor x = test::random_tensor({65}, 1);
  const Tensor y = Tensor::like(x);
  x.backend().dropout({.x = x, .y = y, .p = 0.0, .random = {.seed = 1}});
  EXPECT_EQ(y.values(), x.values());
}

}  // namespace
}  // namespace monge
