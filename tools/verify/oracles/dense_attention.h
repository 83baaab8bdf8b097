// Attention by its textbook definitions, in double, with Eigen: the oracle of attention and of its Fisher matrix. It
// shares no code with core/: weights by sorting, bisection and closed forms, Jacobians as dense matrices, and the
// derivatives of scores from nothing but their definition
//   z_ij = scale <R_i W_q x_i, R_j W_k x_j> + prior_ij.
#pragma once

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "core/row_map/row_map.h"

namespace monge::oracle {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;

// --- one row ---

/// [y - t]_+^p with t such that the result sums to one: by bisection.
inline Vector threshold_weights(const Vector& y, double p) {
  const auto at = [&](double t) -> Vector { return (y.array() - t).max(0.0).pow(p).matrix(); };
  double low = y.maxCoeff() - 1.0, high = y.maxCoeff();
  for (int i = 0; i < 200; ++i) {
    const double middle = 0.5 * (low + high);
    (at(middle).sum() >= 1.0 ? low : high) = middle;
  }
  return at(0.5 * (low + high));
}

/// Sparsemax by sorting (Martins & Astudillo 2016, algorithm 1).
inline Vector sparsemax_weights(const Vector& z) {
  std::vector<double> sorted(z.begin(), z.end());
  std::ranges::sort(sorted, std::greater<>());
  double total = 0.0, threshold = 0.0;
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    total += sorted[k];
    const double candidate = (total - 1.0) / static_cast<double>(k + 1);
    if (sorted[k] > candidate) threshold = candidate;
  }
  return (z.array() - threshold).max(0.0).matrix();
}

/// 1.5-entmax by sorting (Peters, Niculae & Martins 2019, algorithm 2).
inline Vector entmax15_weights(const Vector& z) {
  std::vector<double> sorted(z.begin(), z.end());
  std::ranges::sort(sorted, std::greater<>());
  double sum = 0.0, squares = 0.0, threshold = 0.0;
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    const double y = sorted[k] / 2.0, count = static_cast<double>(k + 1);
    sum += y;
    squares += y * y;
    const double mean = sum / count, spread = (1.0 - (squares - count * mean * mean)) / count;
    const double candidate = mean - std::sqrt(std::max(spread, 0.0));
    if (spread >= 0.0 && candidate <= y) threshold = candidate;
  }
  return (z.array() / 2.0 - threshold).max(0.0).square().matrix();
}

/// The weights of the scores z of one row.
inline Vector weights(const RowMap& map, const Vector& z) {
  const double n = static_cast<double>(z.size());
  if (as<SoftmaxMap>(map)) {
    const Vector e = (z.array() - z.maxCoeff()).exp().matrix();
    return e / e.sum();
  }
  if (as<Softmax1Map>(map)) return z.array().exp().matrix() / (1.0 + z.array().exp().sum());
  if (as<SparsemaxMap>(map)) return sparsemax_weights(z);
  if (as<Entmax15Map>(map)) return entmax15_weights(z);
  if (const auto* m = as<EntmaxMap>(map)) return threshold_weights((m->alpha - 1.0) * z, 1.0 / (m->alpha - 1.0));
  if (const auto* m = as<SigmoidMap>(map)) {
    return (1.0 / (1.0 + (m->balanced ? n : 1.0) * (-z.array()).exp())).matrix();
  }
  if (as<ReluMap>(map)) return z.array().max(0.0).matrix() / n;
  if (const auto* m = as<SoftplusMap>(map)) return (1.0 + (m->beta * z.array()).exp()).log().matrix() / (m->beta * n);
  if (as<SoftpickMap>(map)) {
    const Vector gap = (z.array().exp() - 1.0).matrix();
    return gap.array().max(0.0).matrix() / (gap.array().abs().sum() + 1e-6);
  }
  throw std::invalid_argument("no textbook definition of this map");
}

/// The Jacobian da/dz of one row, for the kinds where it is symmetric.
inline Matrix jacobian(const RowMap& map, const Vector& z) {
  const Vector a = weights(map, z);
  const double n = static_cast<double>(z.size());
  const auto centred = [](const Vector& s, double c) -> Matrix {
    return Matrix(s.asDiagonal()) - s * s.transpose() / c;
  };
  const auto power_on_support = [&](double alpha) {
    Vector s = a;
    for (double& x : s) x = x > 0.0 ? std::pow(x, 2.0 - alpha) : 0.0;
    return s;
  };
  const auto entmax = [&](double alpha) {
    const Vector s = power_on_support(alpha);
    return centred(s, s.sum());
  };
  if (as<SoftmaxMap>(map) || as<Softmax1Map>(map)) return centred(a, 1.0);
  if (as<SparsemaxMap>(map)) return entmax(2.0);
  if (as<Entmax15Map>(map)) return entmax(1.5);
  if (const auto* m = as<EntmaxMap>(map)) return entmax(m->alpha);
  if (as<SigmoidMap>(map)) return (a.array() * (1.0 - a.array())).matrix().asDiagonal();
  if (as<ReluMap>(map)) return ((z.array() > 0.0).cast<double>() / n).matrix().asDiagonal();
  if (const auto* m = as<SoftplusMap>(map)) {
    return (1.0 / (1.0 + (-m->beta * z.array()).exp()) / n).matrix().asDiagonal();
  }
  throw std::invalid_argument("no symmetric Jacobian by textbook");
}

/// The matrix with blocks a_ij b.
inline Matrix kronecker(const Matrix& a, const Matrix& b) {
  Matrix out(a.rows() * b.rows(), a.cols() * b.cols());
  for (Eigen::Index i = 0; i < a.rows(); ++i) {
    for (Eigen::Index j = 0; j < a.cols(); ++j) out.block(i * b.rows(), j * b.cols(), b.rows(), b.cols()) = a(i, j) * b;
  }
  return out;
}

/// sum_j p_j log(p_j / q_j).
inline double kl_divergence(const Vector& p, const Vector& q) {
  double total = 0.0;
  for (Eigen::Index j = 0; j < p.size(); ++j) {
    if (p[j] > 0.0) total += p[j] * std::log(p[j] / q[j]);
  }
  return total;
}

// --- one layer ---

/// The attention of a layer as a function of its weights. Empty matrices and vectors stand for "none".
struct DenseAttention {
  std::int64_t batch = 1, tokens = 0, heads = 1, kv_heads = 1, head_dim = 0, width = 0;
  bool causal = true;
  double scale = 1.0;
  RowMap map;
  double rope_base = 0.0;            // 0: not rotated
  Matrix distance_prior, key_prior;  // (H, T)
  Vector head_prior, slopes;         // (H)
  Matrix x;                          // (B T, C)
  Matrix w_q, w_k, w_v;              // (H D, C), (G D, C), (G D, C)

  struct Row {
    std::int64_t b, h, i;
  };

  std::int64_t group(std::int64_t h) const { return h / (heads / kv_heads); }
  std::int64_t visible(std::int64_t i) const { return causal ? i + 1 : tokens; }
  /// Whether a row can move: one that sees a single key has weight 1 there under the maps whose weights sum to one.
  bool counts(std::int64_t i) const {
    const bool shift_invariant =
        as<SoftmaxMap>(map) || as<SparsemaxMap>(map) || as<Entmax15Map>(map) || as<EntmaxMap>(map);
    return !shift_invariant || visible(i) > 1;
  }
  /// N: rows that count, over sequences and positions (each is one row of every head).
  std::int64_t counted_rows() const {
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < tokens; ++i) n += counts(i) ? batch : 0;
    return n;
  }
  template <class F>
  void for_each_row(F f) const {
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t i = 0; i < tokens; ++i) f(Row{b, h, i});
      }
    }
  }

  Vector token(std::int64_t b, std::int64_t t) const { return x.row(b * tokens + t); }

  /// R_t y: pairs (y[i], y[i + D/2]) turned by the angle t base^(-2i/D).
  Vector rotated(const Vector& y, std::int64_t t) const {
    if (rope_base == 0.0) return y;
    Vector out = y;
    const Eigen::Index half = y.size() / 2;
    for (Eigen::Index i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(t) * std::pow(rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(y.size()));
      out[i] = std::cos(angle) * y[i] - std::sin(angle) * y[i + half];
      out[i + half] = std::sin(angle) * y[i] + std::cos(angle) * y[i + half];
    }
    return out;
  }

  /// Query i and key j of one row, as the scores read them.
  Vector query(const Matrix& wq, Row at) const {
    return rotated(wq.middleRows(at.h * head_dim, head_dim) * token(at.b, at.i), at.i);
  }
  Vector key(const Matrix& wk, Row at, std::int64_t j) const {
    return rotated(wk.middleRows(group(at.h) * head_dim, head_dim) * token(at.b, j), j);
  }
  Vector value(const Matrix& wv, Row at, std::int64_t j) const {
    return wv.middleRows(group(at.h) * head_dim, head_dim) * token(at.b, j);
  }

  /// scale <query, key>, for the keys the row sees: linear in each of wq and wk.
  Vector products(const Matrix& wq, const Matrix& wk, Row at) const {
    const Vector q = query(wq, at);
    Vector z(visible(at.i));
    for (Eigen::Index j = 0; j < z.size(); ++j) z[j] = scale * q.dot(key(wk, at, j));
    return z;
  }
  Vector scores(const Matrix& wq, const Matrix& wk, Row at) const {
    Vector z = products(wq, wk, at);
    for (Eigen::Index j = 0; j < z.size(); ++j) {
      const std::int64_t distance = at.i - j;
      if (distance_prior.size() > 0) z[j] += distance_prior(at.h, std::abs(distance));
      if (key_prior.size() > 0) z[j] += key_prior(at.h, j);
      if (head_prior.size() > 0) z[j] += head_prior[at.h];
      if (slopes.size() > 0) z[j] -= slopes[at.h] * static_cast<double>(distance);
    }
    return z;
  }
  Vector scores(Row at) const { return scores(w_q, w_k, at); }
  Vector row_weights(const Matrix& wq, const Matrix& wk, Row at) const { return weights(map, scores(wq, wk, at)); }
  Vector row_weights(Row at) const { return row_weights(w_q, w_k, at); }
  Matrix metric(Row at) const { return jacobian(map, scores(at)); }

  /// Output (B T, H D).
  Matrix output() const {
    Matrix out = Matrix::Zero(x.rows(), heads * head_dim);
    for_each_row([&](Row at) {
      const Vector a = row_weights(at);
      for (Eigen::Index j = 0; j < a.size(); ++j) {
        out.row(at.b * tokens + at.i).segment(at.h * head_dim, head_dim) += a[j] * value(w_v, at, j).transpose();
      }
    });
    return out;
  }

  /// u_j = <dO, v_j> of one row, where dout (B T, H D) is the gradient of the output.
  Vector payoffs(const Matrix& dout, Row at) const {
    Vector u(visible(at.i));
    const Vector d = dout.row(at.b * tokens + at.i).segment(at.h * head_dim, head_dim);
    for (Eigen::Index j = 0; j < u.size(); ++j) u[j] = d.dot(value(w_v, at, j));
    return u;
  }

  std::int64_t query_parameters() const { return w_q.size(); }
  std::int64_t parameters() const { return w_q.size() + w_k.size(); }
  Vector stacked(const Matrix& wq, const Matrix& wk) const {
    Vector v(parameters());
    v << Eigen::Map<const Vector>(wq.data(), wq.size()), Eigen::Map<const Vector>(wk.data(), wk.size());
    return v;
  }

  /// dz/d(W_q on top of W_k) of one row, (keys, parameters). Scores are linear in each matrix, so a column is the
  /// scores with a unit matrix in its place.
  Matrix score_jacobian(Row at) const {
    Matrix j = Matrix::Zero(visible(at.i), parameters());
    const auto fill = [&](std::int64_t first_row, std::int64_t offset, bool is_query) {
      Matrix unit = Matrix::Zero(is_query ? w_q.rows() : w_k.rows(), width);
      for (std::int64_t e = first_row * width; e < (first_row + head_dim) * width; ++e) {
        unit.data()[e] = 1.0;
        j.col(offset + e) = is_query ? products(unit, w_k, at) : products(w_q, unit, at);
        unit.data()[e] = 0.0;
      }
    };
    fill(at.h * head_dim, 0, true);
    fill(group(at.h) * head_dim, query_parameters(), false);
    return j;
  }

  /// The Fisher of W_q on top of W_k: the mean over rows, and sum over heads, of J^T H J.
  Matrix fisher() const {
    Matrix f = Matrix::Zero(parameters(), parameters());
    for_each_row([&](Row at) {
      if (!counts(at.i)) return;
      const Matrix j = score_jacobian(at);
      f += j.transpose() * metric(at) * j;
    });
    return f / static_cast<double>(counted_rows());
  }

  /// The Kronecker factors of the Fisher by their definitions, row by row, from queries and keys as the scores read
  /// them.
  struct Factors {
    std::vector<Matrix> query_left, key_left;
    Matrix query_right, key_right;
  };
  Factors factors() const {
    const Matrix square = Matrix::Zero(head_dim, head_dim), wide = Matrix::Zero(width, width);
    Factors f{.query_left = std::vector<Matrix>(static_cast<std::size_t>(heads), square),
              .key_left = std::vector<Matrix>(static_cast<std::size_t>(kv_heads), square),
              .query_right = wide,
              .key_right = wide};
    const double share = 1.0 / static_cast<double>(counted_rows()), share_of_head = share / static_cast<double>(heads);
    for_each_row([&](Row at) {
      if (!counts(at.i)) return;
      const Matrix m = metric(at);
      Matrix keys(m.rows(), head_dim), inputs(m.rows(), width);
      for (Eigen::Index j = 0; j < m.rows(); ++j) {
        keys.row(j) = key(w_k, at, j);
        inputs.row(j) = token(at.b, j);
      }
      const Vector q = query(w_q, at), input = token(at.b, at.i);
      f.query_left[static_cast<std::size_t>(at.h)] += share * scale * scale * keys.transpose() * m * keys;
      f.key_left[static_cast<std::size_t>(group(at.h))] += share * scale * scale * q * q.transpose();
      f.query_right += share_of_head * input * input.transpose();
      f.key_right += share_of_head * inputs.transpose() * m * inputs;
    });
    return f;
  }

  /// J^T y(row), summed over rows: the gradient of W_q on top of W_k when y is dL/dz.
  template <class RowVector>
  Vector pulled_back(RowVector y) const {
    Vector total = Vector::Zero(parameters());
    for_each_row([&](Row at) { total += score_jacobian(at).transpose() * y(at); });
    return total;
  }
  /// The gradient of sum(dout * output).
  Vector gradient(const Matrix& dout) const {
    return pulled_back([&](Row at) -> Vector { return metric(at) * payoffs(dout, at); });
  }
};

}  // namespace monge::oracle
