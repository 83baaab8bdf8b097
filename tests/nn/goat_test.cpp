// The prior of GOAT against its formula, number by number, and what its parameters start at.
#include "nn/goat.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/options/yaml.h"
#include "nn/parameter_store.h"
#include "support/compare.h"
#include "support/expect_error.h"

namespace monge::nn {
namespace {

using test::cpu;
using test::reference;

constexpr std::int64_t H = 4, G = 2, R = 3, M = 2;

GoatOptions options(const std::string& start = "alibi") {
  GoatOptions o;
  o.frequencies = R;
  o.key_frequencies = M;
  o.base = 300.0;
  o.length = 50;
  o.start = start;
  return o;
}

struct Prior {
  explicit Prior(const GoatOptions& o = options(), Device device = reference, Precision precision = Precision::float32)
      : prior(o, {.heads = H, .kv_heads = G, .context = 8}), store(prior, device, precision, 1), device(device) {}

  /// Random values of the size that training may reach.
  void randomise(double stddev = 0.7) {
    for (const auto& entry : store.entries()) {
      const Tensor to = store.value(entry);
      to.backend().normal({.x = to, .stddev = stddev, .random = {.seed = 3, .stream = 0, .step = {}}});
    }
    store.refresh_copies();
  }
  std::vector<double> parameter(const std::string& name) const { return store.value(store.entry(name)).values(); }
  std::vector<double> distances(std::int64_t n) const { return prior.of_distance(n, device).value().values(); }
  std::vector<double> keys(std::int64_t n) const { return prior.of_key(n, device).value().values(); }

  GoatPrior prior;
  ParameterStore store;
  Device device;
};

// Every term as the paper writes it, for every head, query and key; n is more than the context and the length.
TEST(Goat, ThePriorIsItsFormula) {
  Prior p;
  p.randomise();
  constexpr std::int64_t n = 70;
  const auto a = p.parameter("cosine"), b = p.parameter("sine"), recency = p.parameter("recency"),
             up = p.parameter("up"), up_bias = p.parameter("up_bias"), down = p.parameter("down"),
             gain = p.parameter("gain"), first = p.parameter("first");
  const auto distance = p.distances(n), key = p.keys(n);
  const double alibi[G] = {std::exp2(-4.0), std::exp2(-8.0)};  // the slopes of two heads
  for (std::int64_t h = 0; h < H; ++h) {
    const auto g = static_cast<std::size_t>(h / (H / G));
    const double slope = std::log1p(std::exp(recency[g] + std::log(std::expm1(alibi[g]))));
    const auto u = [&](std::int64_t position) {
      const double j = static_cast<double>(position);
      const double features[] = {std::cos(j), std::cos(j / 300.0),           std::sin(j), std::sin(j / 300.0),
                                 j / 50.0,    std::log1p(j) / std::log(51.0)};
      double out = 0.0;
      for (std::size_t k = 0; k < 4; ++k) {
        double x = up_bias[k];
        for (std::size_t f = 0; f < 6; ++f) x += up[6 * k + f] * features[f];
        out += down[k] * x / (1.0 + std::exp(-x));
      }
      return gain[g] * out + (position == 0 ? first[g] : 0.0);
    };
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j <= i; ++j) {
        const double d = static_cast<double>(i - j);
        double expected = -slope * d + u(j);
        for (std::size_t r = 0; r < R; ++r) {
          const double w = std::pow(300.0, -static_cast<double>(r) / 2.0);
          expected += a[g * R + r] * std::cos(w * d) + b[g * R + r] * std::sin(w * d);
        }
        const double got = distance[static_cast<std::size_t>(h * n + i - j)] + key[static_cast<std::size_t>(h * n + j)];
        ASSERT_NEAR(got, expected, 1e-11 * std::max(1.0, std::abs(expected))) << h << " " << i << " " << j;
      }
    }
  }
}

TEST(Goat, LongerTablesBeginWithShorterOnes) {
  Prior p;
  p.randomise();
  const auto few = p.keys(5), many = p.keys(40);
  for (std::size_t h = 0; h < H; ++h) {
    for (std::size_t j = 0; j < 5; ++j) EXPECT_EQ(few[5 * h + j], many[40 * h + j]);
  }
}

// In bf16 the parameters are rounded, but the tables are not: neighbours far away still differ by the slope.
TEST(Goat, TablesAreInFullPrecision) {
  Prior full, single(options(), cpu), low(options(), cpu, Precision::bfloat16);
  for (Prior* p : {&full, &single, &low}) p->randomise();
  constexpr std::int64_t n = 5000;
  EXPECT_LE(test::max_relative_error(single.distances(n), full.distances(n)), 1e-6);
  EXPECT_LE(test::max_relative_error(single.keys(n), full.keys(n)), 1e-5);
  EXPECT_EQ(low.prior.of_distance(n, cpu).value().dtype(), DType::f32);
  EXPECT_LE(test::max_relative_error(low.distances(n), full.distances(n)), 1e-2);
  GoatOptions no_waves = options();
  no_waves.frequencies = 0;
  const Prior slopes(no_waves, cpu, Precision::bfloat16);
  const auto prior = slopes.distances(n);
  const double slope = (prior[0] - prior[1000]) / 1000.0;
  EXPECT_GT(slope, 0.05);
  for (std::size_t d = 0; d + 1 < 5000; ++d) ASSERT_NEAR(prior[d] - prior[d + 1], slope, 0.02 * slope) << d;
}

TEST(Goat, StartsAtAlibiOrAtNearlyNothing) {
  const Prior alibi, flat(options("flat"));
  constexpr std::size_t n = 64;
  const auto distance = alibi.distances(n), key = alibi.keys(n), flat_distance = flat.distances(n),
             flat_key = flat.keys(n);
  const auto slopes = alibi_slopes(G);
  for (std::size_t h = 0; h < H; ++h) {
    for (std::size_t d = 0; d < n; ++d) {
      const double behind = static_cast<double>(d);
      EXPECT_NEAR(distance[h * n + d], -slopes[h / 2] * behind, 0.1);
      EXPECT_NEAR(key[h * n + d], 0.0, 1e-3);
      EXPECT_NEAR(flat_distance[h * n + d], -1e-3 * behind, 1e-12);
      EXPECT_EQ(flat_key[h * n + d], 0.0);
    }
  }
}

TEST(Goat, RefusesWhatIsNoStart) {
  GoatOptions o;
  EXPECT_HAS(error_of([&] { read_yaml_text("start: zero", "goat test", {}, o); }), "alibi");
}

}  // namespace
}  // namespace monge::nn
