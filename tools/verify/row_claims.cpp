// Rows of softmax. Scores are z = s / tau: the transport problem of a row is
//   min over the simplex of -<p, z> + sum p log p,  with value -LSE(z).
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "tools/verify/claims.h"
#include "tools/verify/row.h"
#include "tools/verify/worst.h"

namespace monge::tools {
namespace {

const Source litman{"Litman 2025",
                    "Scaled-dot-product attention as one-sided entropic optimal transport, arXiv:2508.08369"};
const Source williams{"Williams 1992",
                      "Simple statistical gradient-following algorithms for connectionist reinforcement learning, "
                      "Machine Learning 8"};
const Source greensmith{"Greensmith 2004",
                        "Variance reduction techniques for gradient estimates in reinforcement learning, JMLR 5"};

Vector logarithm(const Vector& p) { return p.array().log().matrix(); }

/// |e_j - p|^2 = |grad_z log p_j|^2 of every key.
Vector score_norms(const Vector& p) { return (1.0 + p.squaredNorm() - 2.0 * p.array()).matrix(); }

/// Total variance of the policy gradient of one drawn key, grad_z log p_j (u_j - b).
double variance(const Vector& p, const Vector& u, double b) {
  const Vector mean = p.cwiseProduct((u.array() - p.dot(u)).matrix());
  return (p.array() * score_norms(p).array() * (u.array() - b).square()).sum() - mean.squaredNorm();
}

}  // namespace

Claim kkt_claim(Rows rows) {
  return {"softmax: KKT of entropic transport", litman,
          worst(rows,
                [](const RowProblem& row) {
                  const Vector p = run_row(row.map, row.scores, row.payoffs).weights;
                  const Vector multiplier = row.scores - logarithm(p);  // one constant, that of sum p = 1
                  return std::max((multiplier.array() - multiplier.mean()).abs().maxCoeff(), std::abs(p.sum() - 1.0));
                }),
          1e-11};
}

// Exponentiated gradient (Beck & Teboulle 2003) on the transport problem, from the uniform weights.
Claim mirror_descent_claim(Rows rows) {
  return {"softmax: mirror descent ends there", litman,
          worst(rows,
                [](const RowProblem& row) {
                  constexpr double step = 0.5;
                  Vector p = Vector::Constant(row.scores.size(), 1.0 / static_cast<double>(row.scores.size()));
                  for (int i = 0; i < 100; ++i) {
                    const Vector gradient = (logarithm(p) - row.scores).array() + 1.0;
                    p = softmax(logarithm(p) - step * gradient);
                  }
                  return (run_row(row.map, row.scores, row.payoffs).weights - p).cwiseAbs().maxCoeff();
                }),
          1e-10};
}

Claim duality_gap_claim(Rows rows) {
  return {"softmax: no duality gap", litman,
          worst(rows,
                [](const RowProblem& row) {
                  const RowResult got = run_row(row.map, row.scores, row.payoffs);
                  const double primal = got.weights.dot(logarithm(got.weights) - row.scores), dual = -got.stat;
                  return std::abs(primal - dual) / std::max(1.0, std::abs(dual));
                }),
          1e-12};
}

// Second differences (of fourth order) of phi(s) = tau LSE(s / tau) along random directions, against
// tau E_p[(grad_s log p)^2]. Both are of the size 1 / tau.
Claim hessian_claim(Rows rows, std::uint64_t seed) {
  RandomSequence random(seed, hessian_stream);
  return {"Hessian of LSE = tau x Fisher", litman,
          worst(rows,
                [&](const RowProblem& row) {
                  double out = 0.0;
                  for (const double tau : {0.5, 1.0, 4.0}) {
                    const Vector s = tau * row.scores, p = softmax(row.scores);
                    Vector along(s.size());
                    for (double& x : along) x = random.normal();
                    const double h = 5e-3 * tau;
                    const auto phi = [&](double steps) {
                      return tau * map_row(row.map, (s + steps * h * along) / tau).second;
                    };
                    const double curvature =
                        (16.0 * (phi(1) + phi(-1)) - (phi(2) + phi(-2)) - 30.0 * phi(0)) / (12.0 * h * h);
                    double fisher = 0.0;
                    for (Eigen::Index j = 0; j < p.size(); ++j) {
                      const double slope = (along[j] - p.dot(along)) / tau;
                      fisher += p[j] * slope * slope;
                    }
                    out = std::max(out, tau * std::abs(curvature - tau * fisher));
                  }
                  return out;
                }),
          1e-6};
}

Claim advantage_claim(Rows rows) {
  return {"backprop = advantage policy gradient", litman,
          worst(rows,
                [](const RowProblem& row) {
                  const Vector p = softmax(row.scores), got = run_row(row.map, row.scores, row.payoffs).gradient;
                  double out = 0.0;
                  for (const double baseline : {0.0, p.dot(row.payoffs), 7.0}) {
                    Vector expected = Vector::Zero(p.size());
                    for (Eigen::Index j = 0; j < p.size(); ++j) {
                      expected += p[j] * (row.payoffs[j] - baseline) * (Vector::Unit(p.size(), j) - p);
                    }
                    out = std::max(out, (got - expected).cwiseAbs().maxCoeff());
                  }
                  return out / row.payoffs.cwiseAbs().maxCoeff();
                }),
          1e-12};
}

Claim sampled_claim(const RowProblem& row, std::uint64_t seed) {
  constexpr int draws = 200000;
  const Vector p = softmax(row.scores), u = row.payoffs;
  RandomSequence random(seed, sampled_stream);
  Vector sum = Vector::Zero(p.size());
  for (int i = 0; i < draws; ++i) {
    Eigen::Index j = 0;
    for (double rest = random.uniform() - p[0]; rest >= 0.0 && j + 1 < p.size(); rest -= p[j]) ++j;
    sum += (u[j] - p.dot(u)) * (Vector::Unit(p.size(), j) - p);
  }
  const double standard_error = std::sqrt(variance(p, u, p.dot(u)) / draws);
  const Vector gradient = run_row(row.map, row.scores, u).gradient;
  return {"policy gradient sampled, std. errors", williams, (sum / draws - gradient).norm() / standard_error, 4.0};
}

Claim baseline_claim(Rows rows, std::vector<std::string>& notes) {
  double without = 0.0, expected = 0.0, optimal = 0.0;
  int worse = 0;
  const double excess = worst(rows, [&](const RowProblem& row) {
    const Vector p = run_row(row.map, row.scores, row.payoffs).weights, size = score_norms(p), u = row.payoffs;
    const double best = p.cwiseProduct(size).dot(u) / p.dot(size);
    const double v0 = variance(p, u, 0.0), v1 = variance(p, u, p.dot(u)), v2 = variance(p, u, best);
    without += v0;
    expected += v1;
    optimal += v2;
    worse += v1 > v0 ? 1 : 0;
    return (v2 - std::min(v0, v1)) / u.squaredNorm();
  });
  const double n = static_cast<double>(rows.size());
  notes.push_back(
      fmt::format("Variance of one sampled policy gradient, mean over {} rows: {:.3g} without a baseline, "
                  "{:.3g} with E_p u, {:.3g} with the optimal one. E_p u is worse than none in {:.0f} % of "
                  "the rows.",
                  rows.size(), without / n, expected / n, optimal / n, 100.0 * worse / n));
  return {"the optimal baseline is never worse", greensmith, excess, 1e-12};
}

Claim bare_advantage_claim(Rows rows) {
  return {"pseudo-inverse gives u - mean u",
          {},
          worst(rows,
                [](const RowProblem& row) {
                  const Vector p = softmax(row.scores);
                  const Matrix fisher = Matrix(p.asDiagonal()) - p * p.transpose();
                  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(fisher);
                  Vector inverse = eigen.eigenvalues().cwiseInverse();
                  inverse[0] = 0.0;  // that of the constant vector
                  const Vector gradient = run_row(row.map, row.scores, row.payoffs).gradient;
                  const Vector natural =
                      eigen.eigenvectors() * inverse.asDiagonal() * (eigen.eigenvectors().transpose() * gradient);
                  const Vector bare = (row.payoffs.array() - row.payoffs.mean()).matrix();
                  return (natural - bare).cwiseAbs().maxCoeff() / row.payoffs.cwiseAbs().maxCoeff();
                }),
          1e-8};
}

}  // namespace monge::tools
