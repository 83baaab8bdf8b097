// The joint block of W_q and W_k in the attention-local Fisher. Both move the scores of a head through the product
// M = W_q^T W_k, dM = V_q^T W_k + W_q^T V_k, and with R = E[x x^T] and S = E[X^T H X] (query_right and key_right of
// nn/attention/fisher.h, independent of each other) the squared length of a step is
//
//   scale^2 tr(R dM S dM^T)  =  <V_q, A V_q R> + <V_k, B V_k S> + 2 <V_q, X W_q R>,
//   A = scale^2 W_k S W_k^T,   B = scale^2 W_q R W_q^T,   X = scale^2 W_k S V_k^T
//
// Its first two terms are the blocks that `fisher` has. Damped by lambda <V_q, V_q R> + mu <V_k, V_k S>, the natural
// gradient of (G_q, G_k) is, in the eigenvectors U, Q and eigenvalues a, b of A and B (derived),
//
//   n_k = scale^2 U^T W_k G_k^T Q,    n_q = scale^2 U^T G_q W_q^T Q,    d_ij = lambda b_j + mu a_i + lambda mu
//   X = U x Q^T,  x_ij = ((a_i + lambda) n_k - a_i n_q)_ij / d_ij       V_q = (A + lambda)^-1 (G_q R^-1 - X W_q)
//   Y = U y Q^T,  y_ij = ((b_j + mu) n_q - b_j n_k)_ij / d_ij           V_k = (B + mu)^-1 (G_k S^-1 - Y^T W_k)
//
// The blocks meet in X and Y alone, D^2 of the 2 D C numbers of a head: a change of gauge, W_q -> T W_q and
// W_k -> T^-T W_k, moves no score.
#pragma once

#include <cstdint>
#include <vector>

#include "core/safetensors.h"
#include "optim/rule.h"

namespace monge::optim {

/// The heads of one layer, each with a W_q and a W_k of its own, as of the last set().
class JointBlock {
 public:
  JointBlock(std::int64_t heads, std::int64_t head_dim, std::int64_t width, DType dtype, Device device);

  /// From W_q on top of W_k, (2 H D, C), and R and S, (C, C), damped. lambda and mu are `relative` times the mean
  /// eigenvalue of all A and all B. Waits for the device. Leaves all as it is when they are not finite.
  void set(const Step& step, const Tensor& weights, const Tensor& R, const Tensor& S, double relative);
  /// Writes V_q on top of V_k from G_q on top of G_k, all (2 H D, C), and the inverses of R and S.
  void solve(const Tensor& gradient, const Tensor& R_inverse, const Tensor& S_inverse, const Tensor& v) const;

  std::vector<NamedTensor> state() const;

 private:
  struct Side {
    Tensor vectors, inverse;  // (H, D, D): U or Q; (A + lambda)^-1 or (B + mu)^-1
    Tensor own, other;        // (H, D, D): what the numbers of n_k and n_q are multiplied by in x; of n_q and n_k in y
  };

  std::int64_t heads_, head_dim_, width_;
  double scale_squared_;
  Tensor weights_;  // (2 H D, C)
  Side q_, k_;
};

}  // namespace monge::optim
