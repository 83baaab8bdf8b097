// Attention by its textbook definitions, in double, with Eigen: the oracle of attention and of its Fisher matrix. It
// shares no code with core/: weights by sorting, bisection and closed forms, Jacobians as dense matrices, and the
// derivatives of scores from nothing but their definition
//   z_ij = scale <R_i W_q x_i, R_j W_k x_j> + prior_ij.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/row_map/row_map.h"

namespace monge::oracle {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;

// --- one row ---

/// Sparsemax by sorting (Martins & Astudillo 2016, algorithm 1).
Vector sparsemax_weights(const Vector& z);

/// The weights of the scores z of one row.
Vector weights(const RowMap& map, const Vector& z);

/// The Jacobian da/dz of one row, for the kinds where it is symmetric.
Matrix jacobian(const RowMap& map, const Vector& z);

/// The matrix with blocks a_ij b.
Matrix kronecker(const Matrix& a, const Matrix& b);

/// sum_j p_j log(p_j / q_j).
double kl_divergence(const Vector& p, const Vector& q);

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
  bool counts(std::int64_t i) const;
  /// N: rows that count, over sequences and positions (each is one row of every head).
  std::int64_t counted_rows() const;
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
  Vector rotated(const Vector& y, std::int64_t t) const;

  /// Query i and key j of one row, as the scores read them.
  Vector query(const Matrix& wq, Row at) const;
  Vector key(const Matrix& wk, Row at, std::int64_t j) const;
  Vector value(const Matrix& wv, Row at, std::int64_t j) const;

  /// scale <query, key>, for the keys the row sees: linear in each of wq and wk.
  Vector products(const Matrix& wq, const Matrix& wk, Row at) const;
  Vector scores(const Matrix& wq, const Matrix& wk, Row at) const;
  Vector scores(Row at) const;
  Vector row_weights(const Matrix& wq, const Matrix& wk, Row at) const;
  Vector row_weights(Row at) const;
  Matrix metric(Row at) const;

  /// Output (B T, H D).
  Matrix output() const;

  /// u_j = <dO, v_j> of one row, where dout (B T, H D) is the gradient of the output.
  Vector payoffs(const Matrix& dout, Row at) const;

  std::int64_t query_parameters() const { return w_q.size(); }
  std::int64_t parameters() const { return w_q.size() + w_k.size(); }
  Vector stacked(const Matrix& wq, const Matrix& wk) const;

  /// dz/d(W_q on top of W_k) of one row, (keys, parameters). Scores are linear in each matrix, so a column is the
  /// scores with a unit matrix in its place.
  Matrix score_jacobian(Row at) const;

  /// The Fisher of W_q on top of W_k: the mean over rows, and sum over heads, of J^T H J.
  Matrix fisher() const;

  /// The Kronecker factors of the Fisher by their definitions, row by row, from queries and keys as the scores read
  /// them.
  struct Factors {
    std::vector<Matrix> query_left, key_left;
    Matrix query_right, key_right;
  };
  Factors factors() const;

  /// J^T y(row), summed over rows: the gradient of W_q on top of W_k when y is dL/dz.
  template <class RowVector>
  Vector pulled_back(RowVector y) const {
    Vector total = Vector::Zero(parameters());
    for_each_row([&](Row at) { total += score_jacobian(at).transpose() * y(at); });
    return total;
  }
  /// The gradient of sum(dout * output).
  Vector gradient(const Matrix& dout) const;
};

}  // namespace monge::oracle
