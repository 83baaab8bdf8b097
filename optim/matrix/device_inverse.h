// Inverses of symmetric matrices on their device, by kernel calls alone: what a GPU uses in the place of symmetric.h.
#pragma once

#include "core/tensor.h"

namespace monge::optim {

/// out = (factor M + shift I)^-1 for each of the symmetric positive semi-definite matrices M (N, n, n), with shift =
/// `relative` times the mean diagonal element of all factor M; `eye` holds identity matrices of this shape. Does not
/// wait for the device.
///
/// By Newton's iteration X <- X (2 I - A X) (Schulz 1933), in which the residual I - A X is squared. From
/// X = I / |A|_F it takes log2(|A|_F / smallest eigenvalue) steps to fall to 1/e, and both are bounded through the
/// shift; five more bring it down to rounding, which leaves an error of some units in the last place times the
/// condition number.
void damped_inverse_on_device(const Tensor& m, const Tensor& eye, double factor, double relative, const Tensor& out);

}  // namespace monge::optim
