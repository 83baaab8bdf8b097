// Every *_backward kernel of the reference backend against central differences of its forward.
//
// The loss is L = <w, y> with random w, so that the upstream gradient of y is w.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "support/compare.h"

namespace monge {
namespace {

using test::close;
using test::random_tensor;
using test::reference;

constexpr double tolerance = 1e-8;

Backend& backend() { return backend_of(reference); }
Tensor empty(const Shape& shape) { return Tensor::empty(shape, DType::f64, reference); }

double inner(const Tensor& a, const Tensor& b) {
  const auto u = a.values(), v = b.values();
  return std::inner_product(u.begin(), u.end(), v.begin(), 0.0);
}

/// (f(x + h) - f(x - h)) / 2h for each element of x, which is on the reference device and hence host memory.
std::vector<double> central_differences(const Tensor& x, const std::function<double()>& f) {
  constexpr double h = 1e-5;
  std::vector<double> out;
  double* const values = x.data_as<double>();
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double kept = values[i];
    values[i] = kept + h;
    const double above = f();
    values[i] = kept - h;
    const double below = f();
    values[i] = kept;
    out.push_back((above - below) / (2.0 * h));
  }
  return out;
}

TEST(Gradient, Activation) {
  const Tensor x = random_tensor({40}, 1, DType::f64, reference, 2.0), w = random_tensor({40}, 2);
  const Tensor y = empty({40}), dx = empty({40});
  for (const auto kind : {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::silu, Activation::relu,
                          Activation::sigmoid, Activation::tanh, Activation::exp, Activation::abs}) {
    const auto numeric = central_differences(x, [&] {
      backend().activate({.function = kind, .x = x, .y = y});
      return inner(w, y);
    });
    backend().activate_backward({.function = kind, .x = x, .dy = w, .dx = dx});
    EXPECT_TRUE(close(dx.values(), numeric, tolerance)) << name_of(kind);
  }
}

TEST(Gradient, Softmax) {
  const Tensor x = random_tensor({3, 7}, 1, DType::f64, reference, 2.0), w = random_tensor({3, 7}, 2);
  const Tensor y = empty({3, 7}), dx = empty({3, 7});
  const auto forward = [&] {
    backend().softmax({.x = x, .y = y});
    return inner(w, y);
  };
  const auto numeric = central_differences(x, forward);
  forward();
  backend().softmax_backward({.y = y, .dy = w, .dx = dx});
  EXPECT_TRUE(close(dx.values(), numeric, tolerance));
}

// L = <w, y> + <u, sum>: dsum = u is the gradient that reaches `sum` directly.
TEST(Gradient, Norm) {
  const Shape shape{4, 9};
  const Tensor x = random_tensor(shape, 1), residual = random_tensor(shape, 2), gain = random_tensor({9}, 3);
  const Tensor bias = random_tensor({9}, 4), w = random_tensor(shape, 5), u = random_tensor(shape, 6);
  for (const NormKind kind : {NormKind::layer, NormKind::rms}) {
    for (const bool with_gain : {true, false}) {
      kernel::Norm args{
          .kind = kind, .eps = 0.1, .x = x, .residual = residual, .bias = bias, .sum = empty(shape), .y = empty(shape)};
      if (with_gain) args.gain = gain;
      if (kind == NormKind::layer) args.mean = empty({4});
      args.rstd = empty({4});
      const auto forward = [&] {
        backend().norm(args);
        return inner(w, args.y) + inner(u, args.sum);
      };
      forward();
      kernel::NormBackward back{
          .kind = kind, .x = args.sum, .gain = args.gain, .mean = args.mean, .rstd = args.rstd, .dy = w};
      back.dsum = u.clone();
      back.dx = back.dsum;  // in place
      back.dbias = empty({9});
      if (with_gain) back.dgain = empty({9});
      backend().norm_backward(back);
      const auto dgain = with_gain ? back.dgain.values() : std::vector<double>{};
      const auto dbias = back.dbias.values();

      EXPECT_TRUE(close(back.dx.values(), central_differences(x, forward), tolerance));
      EXPECT_TRUE(close(back.dx.values(), central_differences(residual, forward), tolerance));
      EXPECT_TRUE(close(dbias, central_differences(bias, forward), tolerance));
      if (with_gain) {
        EXPECT_TRUE(close(dgain, central_differences(gain, forward), tolerance));
      }

      back.dsum = Tensor();
      back.accumulate_bias = true;
      back.accumulate_gain = true;
      backend().norm_backward(back);
      backend().add_scaled({.x = u, .y = back.dx});
      EXPECT_TRUE(close(back.dx.values(), central_differences(x, forward), tolerance));
      for (std::size_t c = 0; c < 9; ++c) {
        EXPECT_DOUBLE_EQ(back.dbias.values()[c], 2.0 * dbias[c]);
        if (with_gain) {
          EXPECT_DOUBLE_EQ(back.dgain.values()[c], 2.0 * dgain[c]);
        }
      }
    }
  }
}

// A rotation: its backward is its inverse.
TEST(Gradient, Rope) {
  const Tensor x = random_tensor({2, 3, 10}, 1), w = random_tensor({2, 3, 10}, 2), y = empty({2, 3, 10});
  kernel::Rope args{.x = x, .y = y, .heads = 2, .head_dim = 4, .start = 5};
  const auto numeric = central_differences(x, [&] {
    backend().rope(args);
    return inner(w, y);
  });
  args.x = w;
  args.inverse = true;
  backend().rope(args);
  EXPECT_TRUE(close(y.values(), numeric, tolerance));
}

TEST(Gradient, Embedding) {
  const Tensor table = random_tensor({5, 3}, 1), w = random_tensor({7, 3}, 2), out = empty({7, 3}),
               dtable = empty({5, 3});
  const Tensor ids = test::random_ids({7}, 5, 3);
  const auto numeric = central_differences(table, [&] {
    backend().embedding({.ids = ids, .table = table, .out = out});
    return inner(w, out);
  });
  backend().embedding_backward({.ids = ids, .dout = w, .dtable = dtable});
  EXPECT_TRUE(close(dtable.values(), numeric, tolerance));
}

TEST(Gradient, CrossEntropy) {
  const std::int64_t N = 5, V = 6;
  const Tensor logits = random_tensor({N, V}, 1), losses = empty({N}), lse = empty({N}), summary = empty({2});
  const Tensor targets = Tensor::from(std::vector<std::int32_t>{0, 5, -1, 2, 2}, {N}, reference);
  const auto forward = [&] {
    backend().cross_entropy({logits, targets, losses, lse, summary});
    return 3.0 * summary.values()[0];
  };
  const auto numeric = central_differences(logits, forward);
  forward();
  const Tensor dloss = Tensor::from(std::vector{3.0}, {1}, DType::f64, reference);
  backend().cross_entropy_backward({logits, targets, lse, summary, dloss});
  EXPECT_TRUE(close(logits.values(), numeric, tolerance));
}

struct AttentionCase {
  const char* name;
  bool causal;
  std::int64_t queries, keys, start, kv_heads;
  double slope, dropout;
};

class AttentionGradient : public testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionGradient, MatchesCentralDifferences) {
  const AttentionCase& c = GetParam();
  const std::int64_t B = 2, H = 4, D = 3, T = c.queries, S = c.keys;
  const Tensor q = random_tensor({B, T, H * D}, 1), w = random_tensor({B, T, H * D}, 4);
  const Tensor k = random_tensor({B, S, c.kv_heads * D}, 2), v = random_tensor({B, S, c.kv_heads * D}, 3);
  const auto heads_of = [](const Tensor& x) { return HeadView{x, 0, x.size(2), x.size(1) * x.size(2)}; };

  kernel::Attention a;
  a.batch = B;
  a.queries = T;
  a.keys = S;
  a.heads = H;
  a.kv_heads = c.kv_heads;
  a.head_dim = D;
  a.start = c.start;
  a.causal = c.causal;
  a.scale = 0.7;
  if (c.slope > 0.0) a.prior.slopes = Tensor::from(std::vector<double>(H, c.slope), {H}, DType::f64, reference);
  a.dropout = c.dropout;
  a.random = {.seed = 8, .stream = 9};
  a.q = heads_of(q);
  a.k = heads_of(k);
  a.v = heads_of(v);
  a.out = heads_of(empty(q.shape()));
  a.row_stat = empty({B, H, T});
  const auto forward = [&] {
    backend().attention(a);
    return inner(w, a.out.data);
  };
  forward();
  const kernel::AttentionBackward back{a, heads_of(w), heads_of(random_tensor(q.shape(), 5)),
                                       heads_of(random_tensor(k.shape(), 6)), heads_of(random_tensor(v.shape(), 7))};
  backend().attention_backward(back);
  EXPECT_TRUE(close(back.dq.data.values(), central_differences(q, forward), tolerance));
  EXPECT_TRUE(close(back.dk.data.values(), central_differences(k, forward), tolerance));
  EXPECT_TRUE(close(back.dv.data.values(), central_differences(v, forward), tolerance));
}

INSTANTIATE_TEST_SUITE_P(Gradient, AttentionGradient,
                         testing::Values(AttentionCase{"causal", true, 4, 4, 0, 4, 0.0, 0.0},
                                         AttentionCase{"full", false, 3, 5, 0, 4, 0.0, 0.0},
                                         AttentionCase{"grouped", true, 4, 4, 0, 2, 0.0, 0.0},
                                         AttentionCase{"alibi_from_cache", true, 2, 5, 3, 1, 0.4, 0.0},
                                         AttentionCase{"dropout", true, 4, 4, 0, 4, 0.0, 0.3}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace monge
