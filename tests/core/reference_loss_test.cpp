// The reference backend against closed forms: embedding and cross-entropy.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "support/compare.h"

namespace monge {
namespace {

using test::close;
using test::random_tensor;
using test::reference;

Backend& backend() { return backend_of(reference); }

Tensor ids(const std::vector<std::int32_t>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}, reference);
}
Tensor empty(const Shape& shape) { return Tensor::empty(shape, DType::f64, reference); }

TEST(Embedding, TakesRowsOfTheTable) {
  const Tensor longer = Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}, {4, 2}, DType::f64, reference);
  const Tensor out = empty({5, 2});
  backend().embedding({.ids = ids({2, 0, 2, -1, 3}),
                       .table = longer.slice(0, 3),
                       .out = out});  // id 3 is outside, though there is memory
  EXPECT_EQ(out.values(), (std::vector<double>{5, 6, 1, 2, 5, 6, 0, 0, 0, 0}));
}

TEST(Embedding, BackwardScattersAndAccumulates) {
  const Tensor dout = Tensor::from(std::vector<double>{1, 2, 10, 20, 100, 200, 7, 7}, {4, 2}, DType::f64, reference);
  const Tensor dtable = empty({3, 2});
  backend().fill({.x = dtable, .value = 55.0});
  backend().embedding_backward({.ids = ids({2, 0, 2, -1}), .dout = dout, .dtable = dtable});
  EXPECT_EQ(dtable.values(), (std::vector<double>{10, 20, 0, 0, 101, 202}));
  backend().embedding_backward({.ids = ids({2, 0, 2, 3}), .dout = dout, .dtable = dtable, .accumulate = true});
  EXPECT_EQ(dtable.values(), (std::vector<double>{20, 40, 0, 0, 202, 404}));
}

/// A cross-entropy call and what it fills.
struct Loss {
  Tensor logits, targets, losses, lse, summary;

  Loss(const Tensor& logits_, const Tensor& targets_)
      : logits(logits_),
        targets(targets_),
        losses(empty({targets_.numel()})),
        lse(empty({targets_.numel()})),
        summary(empty({2})) {
    backend().cross_entropy({logits, targets, losses, lse, summary});
  }
  double mean() const { return summary.values()[0]; }
  double inverse_count() const { return summary.values()[1]; }
  std::vector<double> gradient(double upstream) const {
    const Tensor dlogits = logits.clone();
    const Tensor dloss = Tensor::from(std::vector{upstream}, {1}, DType::f64, reference);
    backend().cross_entropy_backward({dlogits, targets, lse, summary, dloss});
    return dlogits.values();
  }
};

TEST(CrossEntropy, UniformLogitsCostLogV) {
  for (const std::int64_t V : {2, 65, 50257}) {
    const Tensor logits = empty({2, V});
    backend().fill({.x = logits, .value = -100.0});
    const Loss loss(logits, ids({0, 1}));
    EXPECT_NEAR(loss.mean(), std::log(static_cast<double>(V)), 1e-10) << V;
    EXPECT_NEAR(loss.lse.values()[0], std::log(static_cast<double>(V)) - 100.0, 1e-10) << V;
  }
}

TEST(CrossEntropy, ByHandWithARowLeftOut) {
  const Tensor logits =
      Tensor::from(std::vector<double>{0, std::log(3.0), 5, 6, std::log(4.0), 0}, {3, 2}, DType::f64, reference);
  const Loss loss(logits, ids({1, -1, 1}));  // probabilities 3/4 and 1/5
  EXPECT_TRUE(close(loss.losses.values(), {std::log(4.0 / 3.0), 0, std::log(5.0)}, 1e-15));
  EXPECT_NEAR(loss.mean(), 0.5 * (std::log(4.0 / 3.0) + std::log(5.0)), 1e-15);
  EXPECT_EQ(loss.inverse_count(), 0.5);
  EXPECT_TRUE(close(loss.gradient(2.0), {0.25, -0.25, 0, 0, 0.8, -0.8}, 1e-15));
}

TEST(CrossEntropy, RowsOfTheGradientSumToZero) {
  const std::int64_t N = 7, V = 65;
  const Loss loss(random_tensor({N, V}, 1, DType::f64, reference, 4.0), test::random_ids({N}, V, 2));
  const auto gradient = loss.gradient(1.0);
  for (std::int64_t n = 0; n < N; ++n) {
    EXPECT_NEAR(std::accumulate(gradient.begin() + n * V, gradient.begin() + (n + 1) * V, 0.0), 0.0, 1e-15);
  }
}

TEST(CrossEntropy, ExtremeLogitsStayFinite) {
  const Tensor logits = Tensor::from(std::vector<double>{1e4, 0, -1e4, 1e4, 0, -1e4}, {2, 3}, DType::f64, reference);
  const Loss loss(logits, ids({0, 2}));
  EXPECT_TRUE(close(loss.losses.values(), {0, 2e4}, 1e-15));
  EXPECT_TRUE(close(loss.gradient(1.0), {0, 0, 0, 0.5, 0, -0.5}, 1e-15));
}

TEST(CrossEntropy, WithoutAnyTargetEverythingIsZero) {
  const Loss loss(random_tensor({2, 3}, 1), ids({-1, -1}));
  EXPECT_EQ(loss.mean(), 0.0);
  EXPECT_EQ(loss.inverse_count(), 0.0);
  EXPECT_EQ(loss.gradient(1.0), std::vector<double>(6, 0.0));
}

}  // namespace
}  // namespace monge
