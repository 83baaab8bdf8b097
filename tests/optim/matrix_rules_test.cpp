// The rules for matrices against plain dense loops in double precision, PyTorch and each other.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "support/dense.h"
#include "support/expect_error.h"
#include "support/rule_steps.h"

namespace monge::optim {
namespace {

using test::Dense;
using test::dense;
using test::list;
using test::OneParameter;
using test::polar_factor;
using test::reference;
using test::RuleSteps;

constexpr std::int64_t rows = 4, cols = 6;
constexpr int steps = 20;

Dense dense(const std::vector<double>& values) { return test::dense(values, rows, cols); }
std::vector<double> gradient(int step, std::int64_t n = rows * cols) {
  return test::random_values(n, static_cast<std::uint64_t>(1000 + step));
}

/// L^power, eigenvalues `eps` times the largest added.
Dense power_of(const Dense& l, double power, double eps) {
  const Eigen::SelfAdjointEigenSolver<Dense> solver(l);
  const Eigen::ArrayXd values = solver.eigenvalues().array().max(0.0) + eps * solver.eigenvalues().maxCoeff();
  return solver.eigenvectors() * values.pow(power).matrix().asDiagonal() * solver.eigenvectors().transpose();
}

/// The values after each of 20 steps of `yaml` on a matrix (4, n) against those of an oracle, from the same start:
/// oracle(p, g, t) changes p.
template <class Oracle>
void expect_path(const std::string& yaml, double tolerance, Oracle oracle, std::int64_t n = cols) {
  RuleSteps run(yaml, reference, {{.shape = {rows, n}}});
  Dense p = dense(run.value(), rows, n);
  for (int t = 1; t <= steps; ++t) {
    const std::vector<double> g = gradient(t, rows * n);
    run.step({g});
    oracle(p, dense(g, rows, n), t);
    ASSERT_TRUE(test::close(run.value(), list(p), tolerance)) << yaml << " step " << t;
  }
}

TEST(Muon, FollowsItsFormula) {
  Dense b = Dense::Zero(rows, cols);
  for (const auto& [name, scale] :
       {std::pair{"keller", 1.0}, {"rms", 0.2 * std::sqrt(6.0)}, {"spectral", std::sqrt(4.0 / 6.0)}}) {
    b.setZero();
    const double s = scale;
    expect_path(fmt::format("name: muon, lr: 0.1, weight_decay: 0.3, momentum: 0.8, iterations: 0, scale: {}", name),
                1e-9, [&](Dense& p, const Dense& g, int) {
                  b = 0.8 * b + 0.2 * g;
                  p = (1 - 0.1 * 0.3) * p - 0.1 * s * polar_factor(0.8 * b + 0.2 * g);
                });
  }
}

TEST(NorMuon, FollowsItsFormula) {
  Dense b = Dense::Zero(rows, cols);
  Eigen::ArrayXd r = Eigen::ArrayXd::Zero(rows);
  expect_path(
      "name: normuon, lr: 0.1, weight_decay: 0, momentum: 0.8, nesterov: false, iterations: 0, scale: keller, "
      "row_decay: 0.7",
      1e-9, [&](Dense& p, const Dense& g, int) {
        b = 0.8 * b + 0.2 * g;
        Dense o = polar_factor(b);
        const double norm = o.norm();
        r = 0.7 * r + 0.3 * o.array().square().rowwise().mean();
        o = r.sqrt().inverse().matrix().asDiagonal() * o;
        p -= 0.1 * norm / o.norm() * o;
      });
}

// torch.optim.Muon(lr=0.02, weight_decay=0.3, momentum=0.9, adjust_lr_fn="match_rms_adamw" and "original") of PyTorch
// 2.15 with its Newton-Schulz iterations in float64, from p_ij = cos(0.7 (3 i + j) + 0.2) with
// gradients sin(1.3 t + 0.9 (3 i + j)).
TEST(Muon, FollowsPyTorch) {
  const std::vector<double> rms{0.8609866344942905,  0.5499677902957077,  -0.019379618730083994, -0.583193548175509,
                                -0.8741147809053504, -0.7549610230213675, -0.278150377024508,    0.3297346956109907,
                                0.7840816650067308,  0.868566304718212,   0.5454801720561535,    -0.0359058096479959};
  const std::vector<double> original{0.8460052338104506,   0.5477950865752036,  -0.007099366627791341,
                                     -0.5689925005550406,  -0.8672989148270126, -0.7606884500484608,
                                     -0.28884651942291795, 0.3195833300412107,  0.7821574273456963,
                                     0.8737054258366604,   0.5570194396079333,  -0.02669908329296224};
  for (const auto& [scale, expected] : {std::pair{"rms", rms}, {"keller", original}}) {
    RuleSteps run(fmt::format("name: muon, lr: 0.02, weight_decay: 0.3, momentum: 0.9, scale: {}", scale), reference,
                  {{.shape = {4, 3}}});
    std::vector<double> start(12), g(12);
    for (int k = 0; k < 12; ++k) start[static_cast<std::size_t>(k)] = std::cos(0.7 * k + 0.2);
    run.set_value(start);
    for (int t = 1; t <= 20; ++t) {
      for (int k = 0; k < 12; ++k) g[static_cast<std::size_t>(k)] = std::sin(1.3 * t + 0.9 * k);
      run.step({g});
    }
    EXPECT_TRUE(test::close(run.value(), expected, 1e-9)) << scale;
  }
}

// L^-1/4 G R^-1/4 of the gradient's own L = G G^T and R = G^T G is U V^T.
TEST(Shampoo, WithoutAveragesOrGraftIsMuonWithoutMomentum) {
  RuleSteps shampoo("name: shampoo, lr: 0.1, betas: [0, 0], graft: false, every: 1, eps: 1.0e-14", reference);
  RuleSteps muon("name: muon, lr: 0.1, momentum: 0, nesterov: false, iterations: 0, scale: keller", reference);
  for (int t = 1; t <= 5; ++t) {
    shampoo.step({gradient(t)});
    muon.step({gradient(t)});
    EXPECT_TRUE(test::close(shampoo.value(), muon.value(), 1e-8)) << t;
  }
}

TEST(Shampoo, FollowsItsFormula) {
  Dense l = Dense::Zero(rows, rows), r = Dense::Zero(cols, cols), left, right;
  Dense m = Dense::Zero(rows, cols), v = m;
  expect_path("name: shampoo, lr: 0.1, weight_decay: 0.3, betas: [0.8, 0.9], every: 3, eps: 1.0e-6", 1e-8,
              [&](Dense& p, const Dense& g, int t) {
                l = 0.9 * l + 0.1 * g * g.transpose();
                r = 0.9 * r + 0.1 * g.transpose() * g;
                m = 0.8 * m + 0.2 * g;
                v = 0.9 * v + Dense(0.1 * g.array().square());
                if (t <= 3 || (t - 1) % 3 == 0) {
                  left = power_of(l, -0.25, 1e-6);
                  right = power_of(r, -0.25, 1e-6);
                }
                const Dense d =
                    (m / (1 - std::pow(0.8, t))).array() / ((v / (1 - std::pow(0.9, t))).array().sqrt() + 1e-8);
                const Dense u = left * m * right;
                p = (1 - 0.1 * 0.3) * p - 0.1 * d.norm() / u.norm() * u;
              });
}

/// How far a path in f32 is from that in f64, relative to its length, with gradients of rank 2: L and R are singular
/// for many steps.
double deviation_of_f32(const std::string& yaml) {
  constexpr std::int64_t m = 24, n = 40, rank = 2;
  RuleSteps single(yaml, test::cpu, {{.shape = {m, n}}}), exact(yaml, reference, {{.shape = {m, n}}});
  const std::vector<double> start = test::random_values(m * n, 7);
  single.set_value(start);
  exact.set_value(start);
  for (int t = 1; t <= 40; ++t) {
    const auto seed = static_cast<std::uint64_t>(10 * t);
    const Dense g =
        dense(test::random_values(m * rank, seed), m, rank) * dense(test::random_values(rank * n, seed + 1), rank, n);
    single.step({list(g)});
    exact.step({list(g)});
  }
  const Dense moved = dense(exact.value(), m, n) - dense(start, m, n);
  return (dense(single.value(), m, n) - dense(exact.value(), m, n)).norm() / moved.norm();
}

TEST(Shampoo, DoesNotDependOnThePrecisionWhereItsFactorsAreSingular) {
  EXPECT_LT(deviation_of_f32("name: shampoo, lr: 0.1, weight_decay: 0"), 0.01);
  EXPECT_LT(deviation_of_f32("name: shampoo, lr: 0.1, weight_decay: 0, graft: false, every: 1"), 0.01);
}

TEST(Shampoo, LeavesLongSidesAlone) {
  Dense l = Dense::Zero(rows, rows), m = Dense::Zero(rows, cols);
  expect_path(
      "name: shampoo, lr: 0.1, weight_decay: 0, betas: [0.8, 0.9], every: 1, graft: false, max_dim: 4, eps: 1.0e-6",
      1e-8, [&](Dense& p, const Dense& g, int) {
        l = 0.9 * l + 0.1 * g * g.transpose();
        m = 0.8 * m + 0.2 * g;
        p -= 0.1 * power_of(l, -0.25, 1e-6) * m;
      });
}

/// SOAP as its authors state it, m and v in the basis of the moment; `change` is what a variant makes of its direction.
class SoapOracle {
 public:
  using Change = Dense (*)(const Dense&);
  explicit SoapOracle(
      int every, Change change = [](const Dense& u) { return u; })
      : every_(every), change_(change) {}

  void operator()(Dense& p, const Dense& g, int t) {
    const Dense gl = g * g.transpose(), gr = g.transpose() * g;
    if (t == 1) {
      l_ = 0.3 * gl;
      r_ = 0.3 * gr;
      ql_ = descending(gl);
      qr_ = descending(gr);
      m_ = v_ = Dense::Zero(g.rows(), g.cols());
      return;
    }
    const Dense inside = ql_.transpose() * g * qr_;
    m_ = 0.8 * m_ + 0.2 * inside;
    v_ = 0.9 * v_ + Dense(0.1 * inside.array().square());
    const Dense u =
        (m_ / (1 - std::pow(0.8, t - 1))).array() / ((v_ / (1 - std::pow(0.9, t - 1))).array().sqrt() + 1e-4);
    p = (1 - lr * decay) * p - lr * change_(ql_ * u * qr_.transpose());
    l_ = 0.7 * l_ + 0.3 * gl;
    r_ = 0.7 * r_ + 0.3 * gr;
    if ((t - 1) % every_ != 0) return;
    const Dense outside = ql_ * m_ * qr_.transpose();
    v_ = follow(r_, qr_, follow(l_, ql_, v_).transpose()).transpose();
    m_ = ql_.transpose() * outside * qr_;
  }

  static constexpr double lr = 0.1, decay = 0.3;

 private:
  static Dense descending(const Dense& x) {
    return Eigen::SelfAdjointEigenSolver<Dense>(x).eigenvectors().rowwise().reverse();
  }
  /// Updates q by one power iteration and returns the rows of v in the new order.
  static Dense follow(const Dense& l, Dense& q, const Dense& v) {
    const Eigen::VectorXd sizes = (q.transpose() * l * q).diagonal();
    std::vector<int> order(static_cast<std::size_t>(q.cols()));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return sizes[a] > sizes[b]; });
    Dense sorted(q.rows(), q.cols()), moved(v.rows(), v.cols());
    for (int j = 0; j < q.cols(); ++j) {
      sorted.col(j) = q.col(order[static_cast<std::size_t>(j)]);
      moved.row(j) = v.row(order[static_cast<std::size_t>(j)]);
    }
    // Gram-Schmidt, so that no factorisation is shared with the code under test.
    q = l * sorted;
    for (int j = 0; j < q.cols(); ++j) {
      for (int pass = 0; pass < 2; ++pass) {
        for (int k = 0; k < j; ++k) q.col(j) -= q.col(k).dot(q.col(j)) * q.col(k);
      }
      q.col(j).normalize();
    }
    return moved;
  }

  int every_;
  Change change_;
  Dense l_, r_, ql_, qr_, m_, v_;
};

// A square matrix: G^T G of a wide one has a null space, whose basis is arbitrary.
TEST(Soap, FollowsItsFormula) {
  for (const int every : {1, 3}) {
    expect_path(
        fmt::format(
            "name: soap, lr: 0.1, weight_decay: 0.3, betas: [0.8, 0.9], factor_decay: 0.7, eps: 1.0e-4, every: {}",
            every),
        1e-7, SoapOracle(every), rows);
  }
}

// The polar factor of a matrix (4, 4) has the norm 2.
TEST(SoapMuon, FollowsItsFormula) {
  const std::string yaml =
      "name: soap_muon, lr: 0.1, weight_decay: 0.3, betas: [0.8, 0.9], factor_decay: 0.7, eps: 1.0e-4, every: 3, "
      "iterations: 0";
  expect_path(yaml, 1e-7, SoapOracle(3, [](const Dense& u) -> Dense { return u.norm() / 2.0 * polar_factor(u); }),
              rows);
  expect_path(yaml + ", scale: keller", 1e-7, SoapOracle(3, polar_factor), rows);
  expect_path(yaml + ", scale: rms", 1e-7,
              SoapOracle(3, [](const Dense& u) -> Dense { return 0.2 * std::sqrt(4.0) * polar_factor(u); }), rows);
}

// Whatever the singular values that five iterations leave, the norm is that of SOAP's step.
TEST(SoapMuon, KeepsTheNormOfSoapsStep) {
  const std::string settings = ", lr: 0.1, weight_decay: 0, every: 1";
  RuleSteps soap("name: soap" + settings, reference), muon("name: soap_muon" + settings, reference);
  const auto step = [](RuleSteps& run, int t) {
    const Dense before = dense(run.value());
    run.step({gradient(t)});
    return Dense(dense(run.value()) - before);
  };
  for (int t = 1; t <= 5; ++t) {
    const Dense plain = step(soap, t), turned = step(muon, t);
    EXPECT_NEAR(turned.norm(), plain.norm(), 1e-12) << t;
    EXPECT_EQ(turned == plain, t == 1) << t;
  }
}

// The first step measures: a matrix stays as it is, without decay too, under a transform as well.
TEST(Soap, DoesNotDecayInItsFirstStep) {
  for (const char* chain : {"[]", "[{kind: cautious}]", "[{kind: cautious_decay}]"}) {
    RuleSteps run(fmt::format("name: soap, lr: 0.1, weight_decay: 0.3, chain: {}", chain), reference);
    const std::vector<double> start = run.value();
    run.step({gradient(1)});
    EXPECT_EQ(run.value(), start) << chain;
    run.step({gradient(2)});
    EXPECT_NE(run.value(), start) << chain;
  }
}

TEST(Soap, WithoutBasesIsAdamWAStepLate) {
  RuleSteps soap("name: soap, lr: 0.1, weight_decay: 0, betas: [0.8, 0.9], max_dim: 0", reference);
  RuleSteps adamw("name: adamw, lr: 0.1, weight_decay: 0, betas: [0.8, 0.9]", reference);
  soap.step({gradient(1)});
  EXPECT_EQ(soap.value(), adamw.value());  // it has only measured
  for (int t = 2; t <= steps; ++t) {
    soap.step({gradient(t)});
    adamw.step({gradient(t)});
    EXPECT_TRUE(test::close(soap.value(), adamw.value(), 1e-13)) << t;
  }
}

// With inputs rotated by an orthogonal Q, weights W Q^T have gradients G Q^T. Rules for whole matrices are invariant:
// both models remain the same function. Elementwise rules are not.
TEST(MatrixRules, DoNotSeeTheBasisOfTheInput) {
  const Dense q = polar_factor(dense(test::random_values(cols * cols, 5), cols, cols));
  for (const auto& [rule, sees] :
       {std::pair{"muon", false}, {"shampoo, graft: false", false}, {"sgd", false}, {"adamw", true}, {"lion", true}}) {
    RuleSteps plain(fmt::format("name: {}, lr: 0.1", rule), reference),
        turned(fmt::format("name: {}, lr: 0.1", rule), reference);
    turned.set_value(list(dense(plain.value()) * q.transpose()));
    for (int t = 1; t <= 5; ++t) {
      plain.step({gradient(t)});
      turned.step({list(dense(gradient(t)) * q.transpose())});
    }
    const std::vector<double> expected = list(dense(plain.value()) * q.transpose());
    EXPECT_EQ(test::close(turned.value(), expected, 1e-6), !sees) << rule;
  }
}

const std::vector<nn::Part> two_parts{{"q", 4, 2}, {"k", 2, 1}};

TEST(MatrixRules, TreatPartsAndHeadsAsMatrices) {
  for (const char* rule : {"muon", "normuon", "psgd_kron", "shampoo", "soap", "soap_muon"}) {
    for (const bool per_head : {false, true}) {
      const std::string yaml = fmt::format("name: {}, lr: 0.1, per_head: {}", rule, per_head);
      RuleSteps joint(yaml, reference, {{.shape = {6, 5}, .parts = two_parts}});
      std::vector<OneParameter> apart;
      std::vector<std::int64_t> heights =
          per_head ? std::vector<std::int64_t>{2, 2, 2} : std::vector<std::int64_t>{4, 2};
      for (const std::int64_t height : heights)
        apart.push_back({.name = fmt::format("w{}", apart.size()), .shape = {height, 5}});
      RuleSteps single(yaml, reference, apart);
      const std::vector<double> start = test::random_values(30, 9);
      const auto split = [&](const std::vector<double>& all) {
        std::vector<std::vector<double>> out;
        auto begin = all.begin();
        for (const std::int64_t height : heights) {
          out.emplace_back(begin, begin + 5 * height);
          begin += 5 * height;
        }
        return out;
      };
      joint.set_value(start);
      for (std::size_t i = 0; i < heights.size(); ++i) single.set_value(split(start)[i], i);
      for (int t = 1; t <= 4; ++t) {
        joint.step({gradient(t, 30)});
        single.step(split(gradient(t, 30)));
      }
      for (std::size_t i = 0; i < heights.size(); ++i) {
        EXPECT_EQ(split(joint.value())[i], single.value(i)) << yaml << " " << i;
      }
    }
  }
}

TEST(MatrixRules, LeaveTheRestToTheBaseRule) {
  const std::vector<OneParameter> both{{}, {.name = "bias", .shape = {7}, .role = nn::Role::bias}};
  for (const char* rule : {"muon", "normuon", "psgd_kron", "shampoo", "soap", "soap_muon"}) {
    RuleSteps run(fmt::format("name: {}, lr: 0.1, base: {{name: lion, lr: 0.03, betas: [0.8, 0.9]}}", rule), reference,
                  both);
    RuleSteps lion("name: lion, lr: 0.03, betas: [0.8, 0.9]", reference, {both[1]});
    lion.set_value(run.value(1));
    for (int t = 1; t <= 5; ++t) {
      run.step({gradient(t), gradient(t, 7)});
      lion.step({gradient(t, 7)});
      EXPECT_TRUE(test::close(run.value(1), lion.value(), 1e-14)) << rule;
    }
  }
}

// Under transforms too, and while the matrices stay as they are at a rate of 0.
TEST(MatrixRules, KeepTheRateOfTheBaseRule) {
  const std::vector<OneParameter> both{{}, {.name = "bias", .shape = {7}, .role = nn::Role::bias}};
  for (const std::string rule : {"muon", "soap"}) {
    for (const char* lr : {"0.1", "0"}) {
      for (const char* chain : {"[]", "[{kind: cautious_decay}]"}) {
        const std::string yaml = fmt::format(
            "name: {}, lr: {}, base: {{name: lion, lr: 0.03}}, chain: {}, schedule: {{kind: cosine, warmup: 3}}", rule,
            lr, chain);
        RuleSteps run(yaml, reference, both);
        RuleSteps lion("name: lion, lr: 0.03, schedule: {kind: cosine, warmup: 3}", reference, {both[1]});
        lion.set_value(run.value(1));
        const std::vector<double> start = run.value(0);
        for (int t = 1; t <= 5; ++t) {
          run.step({gradient(t), gradient(t, 7)});
          lion.step({gradient(t, 7)});
          EXPECT_TRUE(test::close(run.value(1), lion.value(), 1e-13)) << yaml;
        }
        EXPECT_EQ(run.value(0) == start, std::string(lr) == "0") << yaml;
        EXPECT_EQ(run.optimizer().lr(3), std::stod(lr)) << yaml;
      }
    }
  }
}

TEST(MatrixRules, RefuseModelsWithoutMatrices) {
  EXPECT_HAS(
      error_of([] { RuleSteps("name: muon", reference, {{.name = "bias", .shape = {7}, .role = nn::Role::bias}}); }),
      "this model has none");
}

TEST(MatrixRules, AgreeBetweenDevices) {
  // A gradient of full rank: otherwise rounding would choose the basis of its null space.
  const std::vector<OneParameter> square{{.shape = {4, 4}}};
  for (const char* rule : {"muon", "normuon", "psgd_kron", "shampoo, every: 2", "soap, every: 2", "soap_muon, every: 2",
                           "adafactor", "lamb", "schedule_free"}) {
    const std::string yaml = fmt::format("name: {}, lr: 0.05", rule);
    RuleSteps exact(yaml, reference, square), fast(yaml, test::cpu, square);
    fast.set_value(exact.value());
    for (int t = 1; t <= 6; ++t) {
      exact.step({gradient(t, 16)});
      fast.step({gradient(t, 16)});
    }
    EXPECT_TRUE(test::close(fast.value(), exact.value(), 1e-3)) << rule;
  }
}

}  // namespace
}  // namespace monge::optim
