// The claims about attention as entropic optimal transport, each a function from problems to what was measured.
//
// One side of every comparison is what ships (a kernel of the reference backend, a row map, nn/attention/fisher.h), the
// other a dense computation from definitions that shares no code with it. The worst case over the problems is reported.
//
//   rows of softmax    KKT, mirror descent, duality gap   the weights solve the transport problem of the row
//                      Hessian of log-sum-exp             curvature of the potential = temperature x Fisher
//                      advantage form, sampled form       backpropagation is a policy gradient, whatever the baseline
//                      pseudo-inverse                     the undamped natural gradient is the bare advantage
//   rows of any kind   finite differences                 s and c of the map are its Jacobian
//                      row solve                          the damped natural gradient of a row is the dense solve
//   scores             entmax -> softmax, sparsemax; the bias of sigmoid as a prior
//   layers of softmax  covariance identity, factors, Fisher product, KL of a step, key bias
//   drawn layers       Kronecker factors against the dense Fisher: exact for a single row, close to it in general
#pragma once

#include <span>

#include "tools/verify/claim.h"
#include "tools/verify/problems.h"

namespace monge::tools {

using Rows = std::span<const RowProblem>;
using Layers = std::span<const LayerProblem>;

// --- rows of softmax (row_claims.cpp) ---
Claim kkt_claim(Rows rows);
Claim mirror_descent_claim(Rows rows);
Claim duality_gap_claim(Rows rows);
Claim hessian_claim(Rows rows, std::uint64_t seed);
Claim advantage_claim(Rows rows);
Claim sampled_claim(const RowProblem& row, std::uint64_t seed);
/// Rows of at least two keys. Adds a note with the mean variances under no baseline, E_p u and the optimal one.
Claim baseline_claim(Rows rows, std::vector<std::string>& notes);
/// Rows without tiny weights, whose pseudo-inverse would be a matter of rounding.
Claim bare_advantage_claim(Rows rows);

// --- rows of any kind (map_claims.cpp) ---
Claim finite_difference_claim(Rows rows);
/// Rows whose map has a symmetric Jacobian.
Claim row_solve_claim(Rows rows);
Claim entmax_softmax_claim(Rows rows);
Claim entmax_sparsemax_claim(Rows rows);
Claim sigmoid_prior_claim(Rows rows);

// --- layers of softmax (layer_claims.cpp) ---
Claim covariance_claim(Layers layers, std::uint64_t seed);
Claim factors_claim(Layers layers, std::uint64_t seed);
/// Layers without normalised queries and keys.
Claim product_claim(Layers layers, std::uint64_t seed);
Claim kl_claim(Layers layers, std::uint64_t seed);
/// Layers without rotations and without normalised keys.
Claim key_bias_claim(Layers layers, std::uint64_t seed);

// --- drawn layers (kronecker_claims.cpp) ---
Claim single_row_claim(std::uint64_t seed);
Claim kronecker_step_claim(std::uint64_t seed);

/// All claims that apply to these problems; notes say which do not.
Findings examine(const Problems& problems, std::uint64_t seed);
/// The claims that draw problems of their own added.
Findings examine_random(std::uint64_t seed);

}  // namespace monge::tools
