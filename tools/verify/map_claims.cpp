// Rows of any kind: the Jacobian and the row solve; and where the kinds meet.
#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "tools/verify/claims.h"
#include "tools/verify/row.h"
#include "tools/verify/worst.h"

namespace monge::tools {
namespace {

const Source peters{"Peters 2019", "Sparse sequence-to-sequence models, arXiv:1905.05702"};
const Source martins{"Martins 2016", "From softmax to sparsemax, arXiv:1602.02068"};
const Source ramapuram{"Ramapuram 2024",
                       "Theory, analysis, and best practices for sigmoid self-attention, "
                       "arXiv:2409.04431"};

bool same_support(const Vector& a, const Vector& b) { return ((a.array() > 0.0) == (b.array() > 0.0)).all(); }

}  // namespace

// <u, a(z)> along each score. What two step sizes disagree by is not held against the gradient, and where a key enters
// or leaves the support within a step there is no derivative to compare.
Claim finite_difference_claim(Rows rows) {
  return {"backprop = finite differences",
          {},
          worst(rows,
                [](const RowProblem& row) {
                  const Vector gradient = run_row(row.map, row.scores, row.payoffs).gradient;
                  double out = 0.0;
                  for (Eigen::Index j = 0; j < gradient.size(); ++j) {
                    const auto weights = [&](double step) {
                      Vector z = row.scores;
                      z[j] += step;
                      return map_row(row.map, z).first;
                    };
                    const auto slope = [&](double h) { return row.payoffs.dot(weights(h) - weights(-h)) / (2.0 * h); };
                    constexpr double h = 1e-5;
                    if (!same_support(weights(h), weights(-h))) continue;
                    const double wide = slope(h), narrow = slope(0.5 * h);
                    const double error = std::abs(narrow - gradient[j]) - std::abs(narrow - wide);
                    if (!(error <= out)) out = error;
                  }
                  return out / row.payoffs.cwiseAbs().maxCoeff();
                }),
          1e-7};
}

// H by columns, from the backward of unit payoffs; then a dense solve.
Claim row_solve_claim(Rows rows) {
  return {"row solve = dense solve",
          {},
          worst(rows,
                [](const RowProblem& row) {
                  const Eigen::Index n = row.scores.size();
                  Matrix metric(n, n);
                  for (Eigen::Index j = 0; j < n; ++j)
                    metric.col(j) = run_row(row.map, row.scores, Vector::Unit(n, j)).gradient;
                  double out = 0.0;
                  for (const double lambda : {1e-6, 1e-3, 0.1, 10.0}) {
                    const RowResult got = run_row(row.map, row.scores, row.payoffs, lambda);
                    const Matrix damped = metric + lambda * Matrix::Identity(n, n);
                    const Vector dense = damped.ldlt().solve(got.gradient);
                    out = std::max(out, (got.natural - dense).cwiseAbs().maxCoeff());
                  }
                  return out / row.payoffs.cwiseAbs().maxCoeff();
                }),
          1e-8};
}

Claim entmax_softmax_claim(Rows rows) {
  return {"entmax, alpha = 1.0001, is softmax", peters,
          worst(rows,
                [](const RowProblem& row) {
                  const RowMap entmax = EntmaxMap{.alpha = 1.0001};
                  return (map_row(entmax, row.scores).first - softmax(row.scores)).cwiseAbs().maxCoeff();
                }),
          1e-3};
}

Claim entmax_sparsemax_claim(Rows rows) {
  return {
      "entmax, alpha = 2, is sparsemax", martins,
      worst(rows,
            [](const RowProblem& row) {
              const RowMap entmax = EntmaxMap{.alpha = 2.0};
              return (map_row(entmax, row.scores).first - oracle::sparsemax_weights(row.scores)).cwiseAbs().maxCoeff();
            }),
      1e-12};
}

// min over a in [0, 1] of -a z + KL(a || pi), pi = 1 / (n + 1), key by key: bisection on its rising derivative.
Claim sigmoid_prior_claim(Rows rows) {
  return {"sigmoid bias = Bernoulli prior", ramapuram,
          worst(rows,
                [](const RowProblem& row) {
                  const double prior = 1.0 / (static_cast<double>(row.scores.size()) + 1.0);
                  const Vector weights = map_row(SigmoidMap(), row.scores).first;
                  double out = 0.0;
                  for (Eigen::Index j = 0; j < weights.size(); ++j) {
                    double low = 0.0, high = 1.0;
                    for (int i = 0; i < 100; ++i) {
                      const double a = 0.5 * (low + high);
                      const double slope = std::log(a / prior) - std::log((1.0 - a) / (1.0 - prior)) - row.scores[j];
                      (slope < 0.0 ? low : high) = a;
                    }
                    out = std::max(out, std::abs(weights[j] - 0.5 * (low + high)));
                  }
                  return out;
                }),
          1e-12};
}

}  // namespace monge::tools
