#include "optim/matrix/linear_layers.h"

#include <fmt/format.h>

#include <map>

#include "core/error.h"

namespace monge::optim {

std::vector<nn::Linear*> linear_layers(const std::string& rule, nn::Module& model, const std::vector<Target>& targets) {
  std::map<const nn::Parameter*, nn::Linear*> linear_of;  // by its weight
  model.visit([&](const std::string&, nn::Module& module) {
    if (auto* linear = dynamic_cast<nn::Linear*>(&module)) linear_of[&linear->weight()] = linear;
  });
  std::vector<nn::Linear*> out;
  for (const Target& target : targets) {
    const auto found = linear_of.find(target.entry.parameter);
    if (found == linear_of.end()) {
      throw KeyError("optimizer.name",
                     fmt::format("{} needs the inputs of every matrix, and {} is not the weight of an nn::Linear; "
                                 "give it another role than matrix",
                                 rule, target.entry.name));
    }
    out.push_back(found->second);
  }
  return out;
}

Tensor as_matrix(const Tensor& x, const Tensor& like) {
  const Tensor wide = x.dtype() == like.dtype() ? x : x.to(like.dtype(), like.device());
  return wide.reshape({x.shape().rows(), x.shape().last()});
}

}  // namespace monge::optim
