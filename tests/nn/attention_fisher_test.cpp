// The attention-local Fisher of W_q and W_k: the shipped product and factors against dense matrices J^T H J.
#include "nn/attention/fisher.h"

#include <gtest/gtest.h>

#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <ostream>

#include "autograd/ops.h"
#include "support/attention_call.h"
#include "support/spans.h"

namespace monge::nn {
namespace {

using test::close;
using test::DenseAttention;
using test::layer_call;
using test::Matrix;
using test::random_attention;
using test::random_matrix;
using test::to_matrix;
using test::to_tensor;
using test::Vector;

constexpr double rope = 10000.0;

struct Case {
  const char* name;
  DenseAttention sizes;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

DenseAttention sizes(RowMap map = {}) {
  return {.batch = 2, .tokens = 6, .heads = 4, .kv_heads = 2, .head_dim = 2, .width = 5, .map = std::move(map)};
}
DenseAttention with(DenseAttention d, const std::function<void(DenseAttention&)>& change) {
  change(d);
  return d;
}

/// F v of the code under test, v as the stacked matrices W_q, W_k row by row.
Vector product(const AttentionCall& call, const Vector& v) {
  const std::int64_t width = call.x.shape().last();
  const Matrix rows = Eigen::Map<const Matrix>(v.data(), v.size() / width, width);
  const Matrix out = to_matrix(fisher_product(call, to_tensor(rows, call.x.dtype(), call.x.device())));
  return Eigen::Map<const Vector>(out.data(), out.size());
}
Matrix fisher_by_products(const AttentionCall& call, std::int64_t parameters) {
  Matrix f(parameters, parameters);
  for (std::int64_t e = 0; e < parameters; ++e) f.col(e) = product(call, Vector::Unit(parameters, e));
  return f;
}
Matrix fisher_by_products(const DenseAttention& d) {
  const auto shipped = layer_call(d);
  return fisher_by_products(shipped.call, d.parameters());
}

double relative(const Matrix& got, const Matrix& expected) {
  return (got - expected).cwiseAbs().maxCoeff() / expected.cwiseAbs().maxCoeff();
}

const Case cases[] = {
    {"causal", sizes()},
    {"full", with(sizes(), [](auto& d) { d.causal = false; })},
    {"temperature", with(sizes(), [](auto& d) { d.scale = 1.0 / 1.3; })},
    {"ungrouped", with(sizes(), [](auto& d) { d.kv_heads = 4; })},
    {"one_key_head", with(sizes(), [](auto& d) { d.kv_heads = 1; })},
    {"one_token", with(sizes(SigmoidMap()), [](auto& d) { d.tokens = 1; })},
    {"rotated", with(sizes(), [](auto& d) { d.rope_base = rope; })},
    {"rotated_full", with(sizes(), [](auto& d) { d.rope_base = rope, d.causal = false, d.head_dim = 4; })},
    {"priors", with(sizes(),
                    [](auto& d) {
                      d.distance_prior = random_matrix(4, 6, 91);
                      d.key_prior = random_matrix(4, 6, 92);
                      d.slopes = Vector::LinSpaced(4, 0.1, 0.7);
                    })},
    {"sparsemax", sizes(SparsemaxMap())},
    {"entmax15", sizes(Entmax15Map())},
    {"entmax", sizes(EntmaxMap{.alpha = 1.3})},
    {"softmax1", sizes(Softmax1Map())},
    {"sigmoid", sizes(SigmoidMap())},
    {"sigmoid_with_a_bias",
     with(sizes(SigmoidMap{.balanced = false}), [](auto& d) { d.head_prior = Vector::LinSpaced(4, -2.0, 1.0); })},
    {"relu", sizes(ReluMap())},
    {"softplus", sizes(SoftplusMap{.beta = 2.0})},
    {"softplus_rotated", with(sizes(SoftplusMap()), [](auto& d) { d.rope_base = rope; })},
};

class AttentionFisher : public testing::TestWithParam<Case> {};

TEST_P(AttentionFisher, ProductIsTheDenseMatrixTimesTheVector) {
  const DenseAttention d = random_attention(GetParam().sizes, 1);
  EXPECT_LE(relative(fisher_by_products(d), d.fisher()), 1e-12);
}

TEST_P(AttentionFisher, ProductIsSymmetricAndNeverNegative) {
  const DenseAttention d = random_attention(GetParam().sizes, 2);
  const auto shipped = layer_call(d);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Vector v = random_matrix(d.parameters(), 1, 100 + seed), w = random_matrix(d.parameters(), 1, 200 + seed);
    const Vector fv = product(shipped.call, v), fw = product(shipped.call, w);
    const double size = fv.norm() * w.norm();
    EXPECT_NEAR(w.dot(fv), v.dot(fw), 1e-12 * size);
    EXPECT_GE(v.dot(fv), -1e-12 * size);
  }
}

TEST_P(AttentionFisher, HeadsDoNotMoveEachOthersRows) {
  const DenseAttention d = random_attention(GetParam().sizes, 3);
  const Matrix f = fisher_by_products(d);
  const std::int64_t block = d.head_dim * d.width;
  for (std::int64_t g = 0; g < d.heads; ++g) {
    for (std::int64_t h = 0; h < d.heads; ++h) {
      if (g == h) continue;
      EXPECT_EQ(f.block(g * block, h * block, block, block).cwiseAbs().maxCoeff(), 0.0) << g << " " << h;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, AttentionFisher, testing::ValuesIn(cases),
                         [](const auto& test) { return std::string(test.param.name); });

void expect_factors(const FisherFactors& got, const DenseAttention::Factors& expected, double tolerance) {
  const auto expect = [&](const Tensor& t, std::size_t index, const Matrix& m) {
    const auto i = static_cast<std::int64_t>(index);
    const Matrix g = to_matrix(t.rank() == 3 ? t.slice(i, i + 1) : t);
    EXPECT_LE(relative(g, m), tolerance);
    EXPECT_LE(relative(g, g.transpose()), tolerance);
  };
  for (std::size_t h = 0; h < expected.query_left.size(); ++h) expect(got.query_left, h, expected.query_left[h]);
  for (std::size_t g = 0; g < expected.key_left.size(); ++g) expect(got.key_left, g, expected.key_left[g]);
  expect(got.query_right, 0, expected.query_right);
  expect(got.key_right, 0, expected.key_right);
}

TEST_P(AttentionFisher, FactorsAreTheMeansOfTheirDefinitions) {
  const DenseAttention d = random_attention(GetParam().sizes, 4);
  const auto shipped = layer_call(d);
  expect_factors(fisher_factors(shipped.call), d.factors(), 1e-11);
}

TEST_P(AttentionFisher, FloatOnTheCpuAgreesWithDouble) {
  const DenseAttention d = random_attention(GetParam().sizes, 5);
  const auto single = layer_call(d, DType::f32, test::cpu);
  expect_factors(fisher_factors(single.call), d.factors(), 1e-5);
  EXPECT_LE(relative(fisher_by_products(single.call, d.parameters()), d.fisher()), 1e-5);
}

TEST_P(AttentionFisher, BfloatFactorsAreClose) {
  const DenseAttention d = random_attention(GetParam().sizes, 6);
  const auto half = layer_call(d, DType::bf16, test::cpu);
  expect_factors(fisher_factors(half.call), d.factors(), 5e-2);
}

// Diagonal blocks in Kronecker form: z_ij = scale <W_q x_i, k_j> is <vec W_q, k_j (x) x_i>.
TEST(AttentionFisherBlocks, AreSumsOfKroneckerProducts) {
  for (const Case& c : cases) {
    if (c.sizes.rope_base > 0.0) continue;  // each row brings a rotation of its own
    const DenseAttention d = random_attention(c.sizes, 7);
    const std::int64_t block = d.head_dim * d.width, queries = d.query_parameters();
    Matrix expected = Matrix::Zero(d.parameters(), d.parameters());
    d.for_each_row([&](DenseAttention::Row at) {
      if (!d.counts(at.i)) return;
      const Matrix h = d.metric(at);
      Matrix keys(h.rows(), d.head_dim), inputs(h.rows(), d.width);
      for (Eigen::Index j = 0; j < h.rows(); ++j) {
        keys.row(j) = d.key(d.w_k, at, j);
        inputs.row(j) = d.token(at.b, j);
      }
      const Vector q = d.query(d.w_q, at), x = d.token(at.b, at.i);
      expected.block(at.h * block, at.h * block, block, block) +=
          test::kronecker(keys.transpose() * h * keys, x * x.transpose());
      const auto k = queries + d.group(at.h) * block;
      expected.block(k, k, block, block) += test::kronecker(q * q.transpose(), inputs.transpose() * h * inputs);
    });
    expected *= d.scale * d.scale / static_cast<double>(d.counted_rows());
    const Matrix f = fisher_by_products(d);
    for (std::int64_t p = 0; p < d.parameters(); p += block) {
      const Matrix want = expected.block(p, p, block, block);
      EXPECT_LE((f.block(p, p, block, block) - want).cwiseAbs().maxCoeff(), 1e-12 * want.cwiseAbs().maxCoeff())
          << c.name << ", block at " << p;
    }
  }
}

// sum_i Y^T H_i Y = Y^T diag(column sums) Y - products^T products, for any vectors y.
TEST(AttentionMetric, SumsTheCovariancesOfAllRows) {
  for (const Case& c : cases) {
    const DenseAttention d = random_attention(c.sizes, 8);
    const auto shipped = layer_call(d);
    const Matrix y = random_matrix(d.batch * d.tokens, 3, 81);
    for (std::int64_t h = 0; h < d.heads; ++h) {
      const Tensor sums = Tensor::zeros({d.batch, d.tokens}, DType::f64, test::reference);
      const Tensor products = Tensor::zeros({d.batch, d.tokens, 3}, DType::f64, test::reference);
      sums.backend().attention_metric({.forward = shipped.call.args,
                                       .head = h,
                                       .y = to_tensor(y).reshape({d.batch, d.tokens, 3}),
                                       .column_sums = sums,
                                       .products = products});
      const auto column = sums.values();
      const Matrix got = y.transpose() * Eigen::Map<const Vector>(column.data(), y.rows()).asDiagonal() * y -
                         to_matrix(products).transpose() * to_matrix(products);
      Matrix expected = Matrix::Zero(3, 3);
      d.for_each_row([&](DenseAttention::Row at) {
        if (at.h != h) return;
        const Matrix seen = y.middleRows(at.b * d.tokens, d.visible(at.i));
        expected += seen.transpose() * d.metric(at) * seen;
      });
      EXPECT_LE(relative(got, expected), 1e-12) << c.name << ", head " << h;
    }
  }
}

// Keys and inputs far from the origin: centred they lose nothing in f32, raw they do.
TEST(AttentionMetric, CentringKeepsFloatAccurate) {
  DenseAttention d =
      random_attention({.batch = 2, .tokens = 32, .heads = 1, .kv_heads = 1, .head_dim = 4, .width = 6}, 9);
  d.x.array() += 100.0;
  d.scale = 1e-4;  // scores of order one all the same
  const auto single = layer_call(d, DType::f32, test::cpu);
  const DenseAttention::Factors expected = d.factors();
  EXPECT_LE(relative(to_matrix(fisher_factors(single.call).key_right), expected.key_right), 1e-5);

  const Tensor sums = Tensor::zeros({2, 32}, DType::f32, test::cpu);
  const Tensor products = Tensor::zeros({2, 32, 6}, DType::f32, test::cpu);
  sums.backend().attention_metric(
      {.forward = single.call.args, .head = 0, .y = single.call.x, .column_sums = sums, .products = products});
  const Tensor weights = Tensor::like(single.call.x), weighted = Tensor::like(weights);
  const Tensor raw = Tensor::zeros({6, 6}, DType::f32, test::cpu),
               second = Tensor::zeros({6, 6}, DType::f32, test::cpu);
  Backend& cpu = raw.backend();
  cpu.repeat({.x = sums, .outer = 64, .n = 6, .out = weights});
  cpu.mul({.a = weights, .b = single.call.x, .out = weighted});
  const Tensor x = single.call.x.reshape({64, 6}), p = products.reshape({64, 6});
  cpu.matmul({.a = weighted.reshape({64, 6}), .transpose_a = true, .b = x, .out = raw});
  cpu.matmul({.a = p, .transpose_a = true, .b = p, .out = second});
  const Matrix uncentred = (to_matrix(raw) - to_matrix(second)) / static_cast<double>(d.counted_rows());
  EXPECT_GT(relative(uncentred, expected.key_right), 1e-3);
}

// Two sequences in one row of the batch have the factors of two rows, but for the number of rows that they count.
TEST(FisherFactors, OfSequencesInOneRowAreThoseOfRowsOfTheirOwn) {
  constexpr std::int64_t H = 4, G = 2, D = 2, C = 5, T = 6;
  const Tensor x = test::random_tensor({2, T, C}, 1, DType::f64, test::reference);
  const Tensor qkv = test::random_tensor({2, T, (H + 2 * G) * D}, 2, DType::f64, test::reference);
  const test::Ids segments{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1};
  const auto factors = [&](std::int64_t rows, const KeySpans& spans) {
    autograd::AttentionSpec spec{.heads = H, .kv_heads = G, .spans = spans, .scale = 0.7};
    const Tensor tokens = x.reshape({rows, 2 * T / rows, C});
    const Tensor packed = qkv.reshape({rows, 2 * T / rows, qkv.size(2)});
    return fisher_factors({.x = tokens, .source = tokens, .args = autograd::attention_call(packed, spec)});
  };
  const FisherFactors apart = factors(2, {});
  const FisherFactors together =
      factors(1, test::spans_by_definition(segments, 2 * T, segments, 2 * T, test::reference));
  const double share = 2.0 * (T - 1) / (2.0 * T - 1);
  for (Tensor FisherFactors::*factor :
       {&FisherFactors::query_left, &FisherFactors::query_right, &FisherFactors::key_left, &FisherFactors::key_right}) {
    std::vector<double> expected = (apart.*factor).values();
    for (double& value : expected) value *= share;
    EXPECT_TRUE(close((together.*factor).values(), expected, 1e-12));
  }
}

// A sum of Kronecker products is one product when there is one row, and when all rows share their weights.
TEST(FisherFactors, AreExactWhereAllRowsShareTheirWeights) {
  const auto expect_exact = [](const DenseAttention& d, bool keys_too) {
    const auto shipped = layer_call(d);
    const FisherFactors f = fisher_factors(shipped.call);
    const Matrix dense = d.fisher();
    const std::int64_t n = d.head_dim * d.width;
    const auto product = [](const Tensor& a, const Tensor& b) { return test::kronecker(to_matrix(a), to_matrix(b)); };
    EXPECT_LE(relative(product(f.query_left, f.query_right), dense.topLeftCorner(n, n)), 1e-10);
    if (!keys_too) return;
    EXPECT_LE(relative(product(f.key_left, f.key_right), dense.bottomRightCorner(n, n)), 1e-10);
  };
  const DenseAttention small{.tokens = 2, .heads = 1, .kv_heads = 1, .head_dim = 3, .width = 5};
  expect_exact(random_attention(small, 16), true);
  DenseAttention uniform = random_attention(with(small, [](auto& d) { d.tokens = 7, d.causal = false; }), 17);
  uniform.w_q.setZero();
  expect_exact(uniform, false);
}

// KL(p || p + dp) of all rows is half the quadratic form of the Fisher, to second order.
TEST(AttentionFisherGeometry, IsTheSecondOrderOfTheKlDivergence) {
  for (const Case& c : cases) {
    if (!as<SoftmaxMap>(c.sizes.map)) continue;
    const DenseAttention d = random_attention(c.sizes, 10);
    const auto shipped = layer_call(d);
    const Vector v = random_matrix(d.parameters(), 1, 101).normalized();
    constexpr double step = 1e-4;
    const Matrix vq = Eigen::Map<const Matrix>(v.data(), d.w_q.rows(), d.width);
    const Matrix vk = Eigen::Map<const Matrix>(v.data() + d.w_q.size(), d.w_k.rows(), d.width);
    double divergence = 0.0;
    d.for_each_row([&](DenseAttention::Row at) {
      divergence += test::kl_divergence(d.row_weights(at), d.row_weights(d.w_q + step * vq, d.w_k + step * vk, at));
    });
    divergence /= static_cast<double>(d.counted_rows());
    EXPECT_NEAR(divergence / (0.5 * step * step * v.dot(product(shipped.call, v))), 1.0, 1e-3) << c.name;
  }
}

/// (M W_q, -M^T W_k) for each head: what leaves <q, k> unchanged to first order.
Vector gauge_direction(const DenseAttention& d, const Matrix& m) {
  Matrix vq = d.w_q, vk = d.w_k;
  for (std::int64_t h = 0; h < d.heads; ++h)
    vq.middleRows(h * d.head_dim, d.head_dim) = m * d.w_q.middleRows(h * d.head_dim, d.head_dim);
  for (std::int64_t g = 0; g < d.kv_heads; ++g) {
    vk.middleRows(g * d.head_dim, d.head_dim) = -m.transpose() * d.w_k.middleRows(g * d.head_dim, d.head_dim);
  }
  return d.stacked(vq, vk);
}

double image(const DenseAttention& d, const Vector& v) {
  const auto shipped = layer_call(d);
  return product(shipped.call, v).norm() / v.norm();
}

std::int64_t nullity(const Matrix& f) {
  const Vector values = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(f).eigenvalues();
  return (values.array().abs() < 1e-10 * values.maxCoeff()).count();
}

TEST(AttentionFisherGeometry, AChangeOfBasisOfQueriesAndKeysMovesNothing) {
  const DenseAttention d =
      random_attention({.batch = 4, .tokens = 7, .heads = 1, .kv_heads = 1, .head_dim = 4, .width = 6}, 11);
  const Matrix m = random_matrix(4, 4, 111);
  EXPECT_LE(image(d, gauge_direction(d, m)), 1e-12);
  EXPECT_GT(image(d, random_matrix(d.parameters(), 1, 112)), 1e-2);
  EXPECT_EQ(nullity(fisher_by_products(d)), 16);  // every M

  const DenseAttention grouped = random_attention(sizes(), 12);
  EXPECT_LE(image(grouped, gauge_direction(grouped, random_matrix(2, 2, 113))), 1e-12);
}

TEST(AttentionFisherGeometry, RotationsLeaveOnlyAChangeOfBasisWithinEachPlane) {
  const DenseAttention d = random_attention(
      {.batch = 4, .tokens = 7, .heads = 1, .kv_heads = 1, .head_dim = 4, .width = 6, .rope_base = rope}, 13);
  Matrix complex = Matrix::Zero(4, 4);  // plane i is rows i and i + 2, where a + ib acts
  const double a[] = {0.7, -0.4}, b[] = {1.1, 0.3};
  for (int i = 0; i < 2; ++i) {
    complex(i, i) = complex(i + 2, i + 2) = a[i];
    complex(i + 2, i) = b[i];
    complex(i, i + 2) = -b[i];
  }
  EXPECT_LE(image(d, gauge_direction(d, complex)), 1e-12);
  EXPECT_GT(image(d, gauge_direction(d, random_matrix(4, 4, 131))), 1e-2);
  EXPECT_EQ(nullity(fisher_by_products(d)), 4);
}

/// dz of all rows under a change v of the weights.
Vector score_changes(const DenseAttention& d, const Vector& v) {
  std::vector<double> all;
  d.for_each_row([&](DenseAttention::Row at) {
    const Vector dz = d.score_jacobian(at) * v;
    all.insert(all.end(), dz.begin(), dz.end());
  });
  return Eigen::Map<const Vector>(all.data(), static_cast<Eigen::Index>(all.size()));
}

// The same function with other weights: the natural step moves the scores alike, the plain gradient does not.
TEST(AttentionFisherGeometry, TheNaturalStepDoesNotDependOnTheBasis) {
  const DenseAttention d =
      random_attention({.batch = 4, .tokens = 7, .heads = 1, .kv_heads = 1, .head_dim = 3, .width = 5}, 14);
  DenseAttention other = d;
  const Matrix m = Matrix::Identity(3, 3) + 0.5 * random_matrix(3, 3, 141);
  other.w_q = m * d.w_q;
  other.w_k = m.transpose().inverse() * d.w_k;
  const Matrix dout = random_matrix(28, 3, 142);
  const auto natural = [&](const DenseAttention& layer) -> Vector {
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> f(fisher_by_products(layer));
    Vector inverse = f.eigenvalues();
    for (double& x : inverse) x = x > 1e-10 * f.eigenvalues().maxCoeff() ? 1.0 / x : 0.0;
    return f.eigenvectors() * inverse.asDiagonal() * f.eigenvectors().transpose() * layer.gradient(dout);
  };
  const auto difference = [&](const Vector& v, const Vector& w) {
    const Vector before = score_changes(d, v);
    return (before - score_changes(other, w)).norm() / before.norm();
  };
  EXPECT_LE(difference(natural(d), natural(other)), 1e-9);
  EXPECT_GT(difference(d.gradient(dout), other.gradient(dout)), 0.1);
}

// Factors are means over rows: seeing every sequence twice changes nothing, and those of single sequences average to
// those of the batch, so a random subset of sequences estimates them without bias.
TEST(FisherFactors, AreMeansOverTheRows) {
  const DenseAttention d = random_attention(with(sizes(), [](auto& s) { s.batch = 3; }), 15);
  const auto call = layer_call(d);
  const FisherFactors whole = fisher_factors(call.call);
  DenseAttention twice = d;
  twice.batch = 6;
  twice.x.resize(2 * d.x.rows(), d.width);
  twice.x << d.x, d.x;
  const auto call_twice = layer_call(twice);
  const FisherFactors doubled = fisher_factors(call_twice.call);
  const auto parts = [](const FisherFactors& f) {
    return std::vector<Tensor>{f.query_left, f.query_right, f.key_left, f.key_right};
  };
  std::vector<Matrix> mean;
  for (const Tensor& t : parts(whole)) mean.push_back(Matrix::Zero(t.shape().rows(), t.shape().last()));
  for (std::int64_t b = 0; b < 3; ++b) {
    DenseAttention one = d;
    one.batch = 1;
    one.x = d.x.middleRows(b * d.tokens, d.tokens);
    const auto call_one = layer_call(one);
    const auto factors = parts(fisher_factors(call_one.call));
    for (std::size_t i = 0; i < 4; ++i) mean[i] += to_matrix(factors[i]) / 3.0;
  }
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_LE(relative(to_matrix(parts(doubled)[i]), to_matrix(parts(whole)[i])), 1e-12);
    EXPECT_LE(relative(mean[i], to_matrix(parts(whole)[i])), 1e-12);
  }
}

}  // namespace
}  // namespace monge::nn
