// Inverse square roots of symmetric matrices on their device.
#pragma once

#include "core/tensor.h"

namespace monge::optim {

/// out = M^-1/2 for each of the symmetric positive definite matrices M (N, n, n); `eye` holds identity matrices of this
/// shape. A host computes them by eigenvectors, one matrix to a thread, and gives I where an M is not finite. A GPU
/// makes kernel calls alone, by the coupled iteration of Denman and Beavers in Schulz's form (Higham 2008, "Functions
/// of matrices", 6.7),
///
///   T = (3 I - Z Y) / 2      Y <- Y T      Z <- T Z,      from Y = M / |M|_F, Z = I,      Z -> (M / |M|_F)^-1/2
///
/// with |M|_F that of all of them together. Every step makes small eigenvalues of Z Y 2.25 times as large, so that
/// those above 1e-7 |M|_F become 1 up to rounding.
void inverse_roots(const Tensor& m, const Tensor& eye, const Tensor& out);

}  // namespace monge::optim
