// The attention-local Fisher of W_q and W_k: how far a change of the two moves the rows of weights of one layer.
//
// With z the scores, H_i the metric of row i (core/row_map/row_map.h) and W read row by row, the mean over N rows is
//   F_q = 1/N sum_i scale^2 K^T H_i K (x) x_i x_i^T  for each query head,
//   F_k = 1/N sum_i scale^2 q_i q_i^T (x) X^T H_i X  for each key head, summed over the query heads that share it
// (derived from z_ij = scale <W_q x_i, W_k x_j>). The expectation over the weights is exact: nothing is sampled. The
// loss and the values play no part in it. Rows that see one key do not count under a map that a shift does not move:
// their metric is 0. In cross-attention the x_j and X are those of the source; the rows of padded queries count.
#pragma once

#include "nn/attention/attention.h"

namespace monge::nn {

/// The Kronecker factors: F_q ~ query_left[h] (x) query_right, F_k ~ key_left[g] (x) key_right. All f32 (reference:
/// f64).
struct FisherFactors {
  Tensor query_left;   // (H, D, D): mean of scale^2 K^T H_i K
  Tensor query_right;  // (C, C): mean of x_i x_i^T
  Tensor key_left;     // (G, D, D): mean of scale^2 q_i q_i^T, summed over the heads of the group
  Tensor key_right;    // (C, C): mean of X^T H_i X, over rows and heads
};

/// Under maps that no shift of the scores moves, keys and inputs are centred first, which changes nothing there and
/// keeps f32 accurate. With rotated queries and keys query_left and key_left are those of the rotated ones: an
/// approximation, because each row would rotate them back by its own angle.
FisherFactors fisher_factors(const AttentionCall& call);

/// F v, exact, rotation included: v and the result hold V_q on top of V_k, ((H + G) D, C), in the dtype of x.
/// Keys and queries must not be normalised (qk_norm).
Tensor fisher_product(const AttentionCall& call, const Tensor& v);

}  // namespace monge::nn
