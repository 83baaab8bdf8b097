// PSGD Kron against a plain double oracle, its fixed points, and its behaviour without a gradient.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "support/rule_steps.h"

namespace monge::optim {
namespace {

using test::reference;
using test::RuleSteps;
using Dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr std::int64_t rows = 4, cols = 6;

Dense dense(const std::vector<double>& values, std::int64_t m, std::int64_t n) {
  return Eigen::Map<const Dense>(values.data(), m, n);
}
std::vector<double> list(const Dense& x) { return {x.data(), x.data() + x.size()}; }
std::vector<double> normal(std::int64_t n, int step) {
  return test::random_values(n, 1000 + static_cast<std::uint64_t>(step));
}

std::vector<double> state_of(RuleSteps& run, const std::string& end) {
  for (const NamedTensor& entry : run.optimizer().state()) {
    if (entry.name.ends_with(end)) return entry.value.values();
  }
  ADD_FAILURE() << "no state " << end;
  return {};
}

/// The rule of the header comment, one matrix, factors with `long_side` false on the left side only.
class Oracle {
 public:
  explicit Oracle(bool long_side) : long_side_(long_side) {}

  Dense direction(const Dense& g, int t) {
    m_ = 0.8 * m_ + 0.2 * g;
    const Dense m = m_ / (1 - std::pow(0.8, t));
    if (t == 1) {  // the first U has a root mean square of 1
      const double scale = 1.0 / std::sqrt(m.array().square().mean());
      p0_ *= long_side_ ? std::sqrt(scale) : scale;
      if (long_side_) p1_ *= std::sqrt(scale);
    }
    Dense u = p0_ * m * p1_;
    const double noise = 1e-18 + 1e-4 * m.array().square().mean();
    const Dense a0 = u * u.transpose() + noise * p1_.squaredNorm() * p0_ * p0_;
    const Dense a1 = u.transpose() * u + noise * p0_.squaredNorm() * p1_ * p1_;
    p0_ = fitted(p0_, a0, x0_, bound0_, cols);
    if (long_side_) {
      p1_ = fitted(p1_, a1, x1_, bound1_, rows);
      const double ratio = std::sqrt(p1_.norm() / p0_.norm());
      p0_ *= ratio;
      p1_ /= ratio;
    }
    return u * std::min(1.0, 1.1 / std::sqrt(u.array().square().mean()));
  }

 private:
  static Dense fitted(const Dense& p, const Dense& a, Eigen::VectorXd& x, double& bound, double target) {
    const Eigen::VectorXd y = a * x;
    const double now = y.norm() / x.norm() + target;
    bound = std::max(now, 0.9 * bound + 0.1 * now);
    x = y / y.norm() + Eigen::VectorXd::Constant(x.size(), 0.01 / std::sqrt(static_cast<double>(x.size())));
    const Dense one = Dense::Identity(p.rows(), p.rows());
    const Dense s = one - 0.15 / bound * (a - target * one);
    return s * p * s;
  }

  bool long_side_;
  double bound0_ = 0.0, bound1_ = 0.0;
  Dense m_ = Dense::Zero(rows, cols), p0_ = Dense::Identity(rows, rows), p1_ = Dense::Identity(cols, cols);
  Eigen::VectorXd x0_ = Eigen::VectorXd::Ones(rows), x1_ = Eigen::VectorXd::Ones(cols);
};

void expect_path(const std::string& more, Oracle oracle) {
  RuleSteps run("name: psgd_kron, lr: 0.1, weight_decay: 0.3, momentum: 0.8, fit_rate: 0.3, eps: 1.0e-2" + more,
                reference);
  Dense p = dense(run.value(), rows, cols);
  for (int t = 1; t <= 20; ++t) {
    run.step({normal(rows * cols, t)});
    p = (1 - 0.1 * 0.3) * p - 0.1 * oracle.direction(dense(normal(rows * cols, t), rows, cols), t);
    ASSERT_TRUE(test::close(run.value(), list(p), 1e-11)) << more << " step " << t;
  }
}

TEST(PsgdKron, FollowsItsFormula) { expect_path("", Oracle(true)); }

TEST(PsgdKron, LeavesTheLongerSideAlone) {
  expect_path(", max_dim: 5", Oracle(false));
  expect_path(", max_dim: 0", Oracle(false));
}

TEST(PsgdKron, FitsAsOftenAsItIsTold) {
  expect_path(", fits_first: 0, fits_fade: 1, fits_last: 1", Oracle(true));
  RuleSteps run("name: psgd_kron, fits_first: 4, fits_fade: 10, fits_last: 0.25", reference);
  std::vector<int> fits;
  std::vector<double> before = state_of(run, ".left");
  for (int t = 1; t <= 34; ++t) {
    run.step({normal(rows * cols, t)});
    const std::vector<double> after = state_of(run, ".left");
    if (after != before) fits.push_back(t);
    before = after;
  }
  // Four, then int_0^10 0.25^(x/10) dx = 5.41 in ten steps, then 5 in twenty.
  ASSERT_EQ(fits.size(), 14U);
  EXPECT_EQ(std::vector<int>(fits.begin(), fits.begin() + 4), (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(fits[8], 13);
  EXPECT_EQ(fits[13] - fits[12], 4);
}

// Steps have their length from the first one, however small the gradients; also after steps without any.
TEST(PsgdKron, TakesItsScaleFromTheFirstGradient) {
  for (const double scale : {1e-6, 1.0, 1e4}) {
    for (const int without : {0, 20}) {
      RuleSteps run("name: psgd_kron, lr: 1, weight_decay: 0", reference);
      for (int t = 1; t <= without; ++t) run.step({std::vector<double>(rows * cols, 0.0)});
      for (int t = 1; t <= 3; ++t) {
        const Dense before = dense(run.value(), rows, cols);
        std::vector<double> g = normal(rows * cols, t);
        for (double& x : g) x *= scale;
        run.step({g});
        const double length = std::sqrt((dense(run.value(), rows, cols) - before).array().square().mean());
        EXPECT_GT(length, t == 1 ? 0.95 : 0.3) << scale << " " << without << " step " << t;
        EXPECT_LT(length, 1.11) << scale << " " << without << " step " << t;
      }
    }
  }
}

// One number: u = m / rms(m).
TEST(PsgdKron, DividesANumberByItsRootMeanSquare) {
  RuleSteps run("name: psgd_kron, lr: 1, weight_decay: 0, momentum: 0, eps: 0", reference, {{.shape = {1, 1}}});
  double before = run.value()[0];
  for (int t = 1; t <= 600; ++t) {
    run.step({{t % 2 == 0 ? 7e-5 : -1e-5}});  // of root mean square 5e-5
    const double u = before - run.value()[0];
    before = run.value()[0];
    if (t <= 500) continue;
    EXPECT_NEAR(u, t % 2 == 0 ? 1.1 : -0.2, 0.03) << t;  // 1.4 before it is clipped
  }
}

// G = L Z R with Z normal: E[U U^T] = cols I and E[U^T U] = rows I where P0 (x) P1 is the inverse root of the
// covariance of G, (L L^T)^-1/2 (x) (R^T R)^-1/2.
TEST(PsgdKron, WhitensAStationaryGradient) {
  constexpr std::int64_t m = 3, n = 4;
  const Dense left = dense(test::random_values(m * m, 1), m, m) * 1e-3,
              right = dense(test::random_values(n * n, 2), n, n);
  RuleSteps run("name: psgd_kron, momentum: 0, fit_rate: 0.02, fits_first: 4000", reference, {{.shape = {m, n}}});
  Dense p0 = Dense::Zero(m, m), p1 = Dense::Zero(n, n);
  for (int t = 1; t <= 4000; ++t) {
    run.step({list(left * dense(normal(m * n, t), m, n) * right)});
    if (t <= 2000) continue;
    p0 += dense(state_of(run, ".left"), m, m) / 2000;
    p1 += dense(state_of(run, ".right"), n, n) / 2000;
  }
  const Dense whitened0 = p0 * left * left.transpose() * p0, whitened1 = p1 * right.transpose() * right * p1;
  const double scale0 = whitened0.trace() / m, scale1 = whitened1.trace() / n;
  EXPECT_NEAR(scale0 * scale1, 1.0, 0.05);
  EXPECT_LE((whitened0 / scale0 - Dense::Identity(m, m)).norm(), 0.1);
  EXPECT_LE((whitened1 / scale1 - Dense::Identity(n, n)).norm(), 0.1);
}

TEST(PsgdKron, StaysFiniteWithoutAGradient) {
  for (const Device device : {reference, test::cpu}) {
    RuleSteps run("name: psgd_kron, lr: 0.1, weight_decay: 0, fits_first: 2000", device);
    const std::vector<double> zero(rows * cols, 0.0), start = run.value();
    for (int t = 1; t <= 1500; ++t) run.step({zero});
    EXPECT_EQ(run.value(), start);
    for (int t = 1; t <= 200; ++t) run.step({normal(rows * cols, t)});
    for (const double x : run.value()) EXPECT_TRUE(std::isfinite(x));
    for (const double x : state_of(run, ".left")) EXPECT_TRUE(std::isfinite(x));
    EXPECT_NE(run.value(), start);
  }
}

}  // namespace
}  // namespace monge::optim
