// What rules need of the linear layers y = W x whose weights they update.
#pragma once

#include <string>
#include <vector>

#include "nn/layers.h"
#include "optim/rule.h"

namespace monge::optim {

/// The layers of which the targets are the weights, beside these. Throws KeyError, on behalf of `rule`, for a target
/// that is not the weight of an nn::Linear.
std::vector<nn::Linear*> linear_layers(const std::string& rule, nn::Module& model, const std::vector<Target>& targets);

/// x (..., K) as a matrix (N, K), in the floats of `like`.
Tensor as_matrix(const Tensor& x, const Tensor& like);

}  // namespace monge::optim
