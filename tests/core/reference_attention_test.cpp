// The reference attention against closed forms, identities and the same result composed of other kernels.
#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/row_maps.h"

namespace monge {
namespace {

using test::close;
using test::random_tensor;
using test::reference;

Backend& backend() { return backend_of(reference); }
Tensor empty(const Shape& shape) { return Tensor::empty(shape, DType::f64, reference); }

/// x (B, T, H D) as heads.
HeadView heads_of(const Tensor& x) { return {x, 0, x.size(2), x.size(1) * x.size(2)}; }

/// An attention call on tensors q (B, T, H D), k and v (B, S, G D); `out` and `row_stat` are made here.
kernel::Attention call(const Tensor& q, const Tensor& k, const Tensor& v, std::int64_t heads, std::int64_t kv_heads) {
  kernel::Attention a;
  a.batch = q.size(0);
  a.queries = q.size(1);
  a.keys = k.size(1);
  a.heads = heads;
  a.kv_heads = kv_heads;
  a.head_dim = q.size(2) / heads;
  a.scale = 1.0 / std::sqrt(static_cast<double>(a.head_dim));
  a.q = heads_of(q);
  a.k = heads_of(k);
  a.v = heads_of(v);
  a.out = heads_of(empty(q.shape()));
  a.row_stat = empty({a.batch, heads, a.queries});
  return a;
}

Tensor run(const kernel::Attention& a) {
  backend().attention(a);
  return a.out.data;
}

TEST(Attention, OneKeyReturnsItsValue) {
  const Tensor v = random_tensor({2, 1, 8}, 3);
  EXPECT_EQ(run(call(random_tensor({2, 1, 8}, 1), random_tensor({2, 1, 8}, 2), v, 2, 2)).values(), v.values());
}

TEST(Attention, EqualScoresGiveTheRunningMean) {
  const std::int64_t T = 5, D = 3;
  const Tensor v = random_tensor({1, T, D}, 1);
  kernel::Attention a = call(Tensor::zeros({1, T, D}, DType::f64, reference), random_tensor({1, T, D}, 2), v, 1, 1);
  const auto out = run(a).values(), values = v.values(), stat = a.row_stat.values();
  for (std::int64_t i = 0; i < T; ++i) {
    EXPECT_NEAR(stat[i], std::log(static_cast<double>(i + 1)), 1e-15);
    for (std::int64_t d = 0; d < D; ++d) {
      double mean = 0.0;
      for (std::int64_t j = 0; j <= i; ++j) mean += values[j * D + d] / static_cast<double>(i + 1);
      EXPECT_NEAR(out[i * D + d], mean, 1e-15);
    }
  }
}

TEST(Attention, TheStrongestKeyWins) {
  const Tensor q = Tensor::from(std::vector<double>{1e3}, {1, 1, 1}, DType::f64, reference);
  const Tensor k = Tensor::from(std::vector<double>{0, 1, -1}, {1, 3, 1}, DType::f64, reference);
  const Tensor v = Tensor::from(std::vector<double>{5, 6, 7}, {1, 3, 1}, DType::f64, reference);
  kernel::Attention a = call(q, k, v, 1, 1);
  a.causal = false;
  EXPECT_EQ(run(a).item(), 6.0);
  EXPECT_EQ(a.row_stat.item(), 1e3);
}

// softmax(scale Q K^T + prior), times the dropout mask, times V, out of the matmul, softmax and dropout kernels.
TEST(Attention, EqualsTheComposedKernels) {
  const std::int64_t B = 2, T = 3, S = 5, H = 2, D = 4, start = 2;
  const Tensor q = random_tensor({B, T, H * D}, 1), k = random_tensor({B, S, H * D}, 2),
               v = random_tensor(k.shape(), 3);
  const Tensor slopes = Tensor::from(std::vector<double>{0.5, 0.25}, {H}, DType::f64, reference);
  kernel::Attention a = call(q, k, v, H, H);
  a.causal = false;
  a.start = start;
  a.prior.slopes = slopes;
  a.dropout = 0.4;
  a.random = {.seed = 5, .stream = 6};

  const auto per_head = [&](const Tensor& x) {  // (B, T, H D) -> (B H, T, D)
    const Tensor y = empty({B, H, x.size(1), D});
    backend().strided_copy({.from = StridedView(x.reshape({B, x.size(1), H, D})).transpose(1, 2), .to = y});
    return y.reshape({B * H, x.size(1), D});
  };
  const Tensor scores = empty({B * H, T, S}), weights = empty(scores.shape()), prior = empty({B * H, T, S});
  backend().matmul({.a = per_head(q), .b = per_head(k), .transpose_b = true, .out = scores});
  backend().scale({.x = scores, .factor = a.scale, .out = scores});
  for (std::int64_t n = 0; n < prior.numel(); ++n) {
    const auto j = n % S, i = n / S % T, h = n / S / T % H;
    prior.data_as<double>()[n] = -slopes.values()[h] * static_cast<double>(std::abs(start + i - j));
  }
  backend().add({.a = scores, .b = prior, .out = scores});
  backend().softmax({.x = scores, .y = weights});
  backend().dropout({.x = weights, .y = weights, .p = a.dropout, .random = a.random});
  const Tensor out = empty({B * H, T, D}), expected = empty({B, T, H, D});
  backend().matmul({.a = weights, .b = per_head(v), .out = out});
  backend().strided_copy({.from = StridedView(out.reshape({B, H, T, D})).transpose(1, 2), .to = expected});
  EXPECT_TRUE(close(run(a), expected.reshape({B, T, H * D}), 1e-14));
}

TEST(Attention, ACausalQueryIgnoresLaterKeys) {
  const Tensor q = random_tensor({1, 4, 6}, 1), k = random_tensor({1, 4, 6}, 2), v = random_tensor({1, 4, 6}, 3);
  const auto before = run(call(q, k, v, 2, 2)).values();
  backend().fill({.x = k.reshape({4, 6}).slice(3, 4), .value = 50.0});
  backend().fill({.x = v.reshape({4, 6}).slice(3, 4), .value = -50.0});
  const auto after = run(call(q, k, v, 2, 2)).values();
  for (std::size_t i = 0; i < 18; ++i) EXPECT_EQ(before[i], after[i]);
  for (std::size_t i = 18; i < 24; ++i) EXPECT_NE(before[i], after[i]);
}

TEST(Attention, TokenByTokenEqualsAllAtOnce) {
  const std::int64_t T = 6, C = 8;
  const Tensor q = random_tensor({1, T, C}, 1), k = random_tensor({1, T, C}, 2), v = random_tensor({1, T, C}, 3);
  const Tensor slopes = Tensor::from(std::vector<double>{0.5, 0.25}, {2}, DType::f64, reference);
  kernel::Attention whole = call(q, k, v, 2, 2);
  whole.prior.slopes = slopes;
  const Tensor expected = run(whole);
  for (std::int64_t t = 0; t < T; ++t) {
    const auto until = [&](const Tensor& x) { return x.flat_view(0, {1, t + 1, C}); };
    kernel::Attention one = call(q.flat_view(t * C, {1, 1, C}), until(k), until(v), 2, 2);
    one.start = t;
    one.prior.slopes = slopes;
    EXPECT_EQ(run(one).values(), expected.flat_view(t * C, {C}).values());
  }
}

TEST(Attention, AlibiEqualsABiasOnKeysUnderTheMask) {
  // -slope (i - j) differs from slope j by a constant of the row, which softmax ignores: give each key the coordinate
  // j.
  const std::int64_t T = 5;
  const Tensor zero = Tensor::zeros({1, T, 1}, DType::f64, reference), one = empty({1, T, 1}),
               v = random_tensor({1, T, 1}, 1);
  backend().fill({.x = one, .value = 1.0});
  kernel::Attention alibi = call(zero, zero, v, 1, 1);
  alibi.prior.slopes = Tensor::from(std::vector<double>{0.3}, {1}, DType::f64, reference);
  const Tensor position = empty({1, T, 1});
  for (std::int64_t j = 0; j < T; ++j) position.data_as<double>()[j] = 0.3 * static_cast<double>(j);
  EXPECT_TRUE(close(run(alibi), run(call(one, position, v, 1, 1)), 1e-15));
}

TEST(Attention, AlibiIsMoreThanABiasOnKeysWithoutNormalisation) {
  const std::int64_t T = 5;
  const Tensor zero = Tensor::zeros({1, T, 1}, DType::f64, reference), v = random_tensor({1, T, 1}, 1);
  kernel::Attention alibi = call(zero, zero, v, 1, 1), on_keys = call(zero, zero, v, 1, 1);
  alibi.map = on_keys.map = SigmoidMap();
  alibi.prior.slopes = Tensor::from(std::vector<double>{0.3}, {1}, DType::f64, reference);
  on_keys.prior.key = Tensor::from(std::vector<double>{0.0, 0.3, 0.6, 0.9, 1.2}, {1, T}, DType::f64, reference);
  EXPECT_GT(test::max_relative_error(run(alibi), run(on_keys)), 1e-2);
}

// The tables of the prior, term by term: all scores of q and k are 0.
TEST(Attention, ThePriorIsTheSumOfItsTables) {
  const std::int64_t T = 3, H = 2, start = 1, S = 5;
  const Tensor q = Tensor::zeros({1, T, H}, DType::f64, reference), k = Tensor::zeros({1, S, H}, DType::f64, reference);
  const auto table = [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); };
  kernel::Attention a = call(q, k, random_tensor({1, S, H}, 1), H, H);
  a.causal = false;
  a.start = start;
  a.prior = {table({H}, 2), table({H, 7}, 3), table({H, 6}, 4), table({H}, 5)};
  const auto out = run(a).values(), v = a.v.data.values();
  const auto head = a.prior.head.values(), distance = a.prior.distance.values(), key = a.prior.key.values(),
             slopes = a.prior.slopes.values();
  for (std::int64_t h = 0; h < H; ++h) {
    for (std::int64_t i = 0; i < T; ++i) {
      double sum = 0.0, weighted = 0.0;
      for (std::int64_t j = 0; j < S; ++j) {
        const double z = head[h] + distance[h * 7 + std::abs(start + i - j)] + key[h * 6 + j] -
                         slopes[h] * static_cast<double>(std::abs(start + i - j));
        sum += std::exp(z);
        weighted += std::exp(z) * v[j * H + h];
      }
      EXPECT_NEAR(out[i * H + h], weighted / sum, 1e-14);
      EXPECT_NEAR(a.row_stat.values()[h * T + i], std::log(sum), 1e-14);
    }
  }
}

// sum_i Y^T H_i Y = Y^T diag(column_sums) Y - products^T products, with H_i dense.
TEST(AttentionMetric, GivesTheCovarianceOfWhatKeysCarry) {
  const std::int64_t B = 2, T = 4, H = 2, D = 3, E = 2, head = 1;
  const Tensor q = random_tensor({B, T, H * D}, 1), k = random_tensor({B, T, D}, 2), y = random_tensor({B, T, E}, 3);
  for (const RowMap& map : std::vector<RowMap>{SoftmaxMap(), Softmax1Map(), SparsemaxMap(), SigmoidMap()}) {
    kernel::Attention a = call(q, k, k, H, 1);
    a.map = map;
    const Tensor column_sums = empty({B, T}), products = empty({B, T, E});
    backend().attention_metric({a, head, y, column_sums, products});
    double got[E][E] = {}, expected[E][E] = {};
    const auto s = column_sums.values(), p = products.values(), values = y.values();
    for (std::int64_t row = 0; row < B * T; ++row) {
      for (std::int64_t e = 0; e < E; ++e) {
        for (std::int64_t f = 0; f < E; ++f) {
          got[e][f] += s[row] * values[row * E + e] * values[row * E + f] - p[row * E + e] * p[row * E + f];
        }
      }
    }
    for (std::int64_t b = 0; b < B; ++b) {
      for (std::int64_t i = 0; i < T; ++i) {
        std::vector<double> z;
        for (std::int64_t j = 0; j <= i; ++j) {
          double score = 0.0;
          for (std::int64_t d = 0; d < D; ++d) {
            score += q.values()[(b * T + i) * H * D + head * D + d] * k.values()[(b * T + j) * D + d];
          }
          z.push_back(a.scale * score);
        }
        const test::MappedRow metric = test::map_row(a.map, z);
        for (std::size_t j = 0; j < z.size(); ++j) {
          for (std::size_t l = 0; l < z.size(); ++l) {
            const double h = (j == l ? metric.s[j] : 0.0) - metric.s[j] * metric.s[l] / metric.c();
            for (std::int64_t e = 0; e < E; ++e) {
              for (std::int64_t f = 0; f < E; ++f) {
                expected[e][f] += h * values[(b * T + static_cast<std::int64_t>(j)) * E + e] *
                                  values[(b * T + static_cast<std::int64_t>(l)) * E + f];
              }
            }
          }
        }
      }
    }
    for (std::int64_t e = 0; e < E; ++e) {
      for (std::int64_t f = 0; f < E; ++f) EXPECT_NEAR(got[e][f], expected[e][f], 1e-13) << name_of(a.map);
    }
  }
}

TEST(Attention, GroupedHeadsEqualRepeatedOnes) {
  const std::int64_t B = 2, T = 4, H = 6, G = 2, D = 3;
  const Tensor q = random_tensor({B, T, H * D}, 1), k = random_tensor({B, T, G * D}, 2),
               v = random_tensor({B, T, G * D}, 3);
  const auto repeated = [&](const Tensor& x) {  // each of the G heads H / G times in a row
    const Tensor y = empty({B, T, H * D});
    backend().repeat({.x = x, .outer = B * T * G, .n = H / G, .inner = D, .out = y});
    return y;
  };
  EXPECT_TRUE(close(run(call(q, k, v, H, G)), run(call(q, repeated(k), repeated(v), H, H)), 1e-15));
}

TEST(Attention, ReadsAPackedProjection) {
  const std::int64_t B = 2, T = 3, H = 4, G = 2, D = 2, W = (H + 2 * G) * D;
  const Tensor packed = random_tensor({B, T, W}, 1);
  const auto part = [&](std::int64_t begin, std::int64_t width) {
    const Tensor x = empty({B, T, width});
    for (std::int64_t row = 0; row < B * T; ++row) {
      backend().copy({.from = packed.flat_view(row * W + begin, {width}), .to = x.flat_view(row * width, {width})});
    }
    return x;
  };
  const kernel::Attention separate = call(part(0, H * D), part(H * D, G * D), part((H + G) * D, G * D), H, G);
  kernel::Attention a = separate;
  a.q = {packed, 0, W, T * W};
  a.k = {packed, H * D, W, T * W};
  a.v = {packed, (H + G) * D, W, T * W};
  a.out = heads_of(empty({B, T, H * D}));
  EXPECT_EQ(run(a).values(), run(separate).values());
}

TEST(Attention, WithoutKeysTheOutputIsZero) {
  const Tensor none = empty({1, 0, 2});
  kernel::Attention a = call(random_tensor({1, 2, 2}, 1), none, none, 1, 1);
  EXPECT_EQ(run(a).values(), std::vector<double>(4, 0.0));
  for (const double stat : a.row_stat.values()) EXPECT_EQ(stat, -std::numeric_limits<double>::infinity());
}

// Attention is unchanged when all keys move by one vector, so the gradients of the keys sum to zero; and dv, summed
// over keys, is dO summed over queries, because weights sum to one.
TEST(AttentionBackward, ConservationLaws) {
  const std::int64_t T = 5, D = 4;
  const Tensor q = random_tensor({1, T, D}, 1), k = random_tensor({1, T, D}, 2), v = random_tensor({1, T, D}, 3);
  kernel::AttentionBackward args{.forward = call(q, k, v, 1, 1)};
  run(args.forward);
  args.dout = heads_of(random_tensor({1, T, D}, 4));
  args.dq = heads_of(empty(q.shape()));
  args.dk = heads_of(empty(k.shape()));
  args.dv = heads_of(empty(v.shape()));
  backend().attention_backward(args);
  const auto over_tokens = [&](const Tensor& x) {
    const Tensor total = empty({D});
    backend().sum({.x = x, .n = T, .inner = D, .out = total});
    return total;
  };
  EXPECT_GT(test::max_relative_error(args.dk.data.values(), std::vector<double>(T * D, 0.0)), 1e-2);
  for (const double total : over_tokens(args.dk.data).values()) EXPECT_NEAR(total, 0.0, 1e-14);
  EXPECT_TRUE(close(over_tokens(args.dv.data), over_tokens(args.dout.data), 1e-14));
  EXPECT_TRUE(close(args.dq.data.flat_view(0, {D}).values(), std::vector<double>(D, 0.0), 1e-15));  // it sees one key
}

}  // namespace
}  // namespace monge
