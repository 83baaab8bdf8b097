#include "train/console/summary.h"

#include <fmt/format.h>

#include <array>
#include <map>

#include "train/console/progress.h"

namespace monge::train {

std::string thousands(std::int64_t n) {
  std::string text = std::to_string(n);
  for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<std::size_t>(at), ",");
  }
  return text;
}

std::string parameters_text(const nn::Module& model) {
  std::array<std::int64_t, nn::role_count> counts{};
  for (const auto& [name, parameter] : model.parameters()) {
    counts[static_cast<std::size_t>(parameter->role())] += parameter->shape().numel();
  }
  std::string text = thousands(model.parameter_count()) + " parameters:";
  const char* separator = " ";
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    text += fmt::format("{}{} {}", separator, nn::name_of(static_cast<nn::Role>(i)), thousands(counts[i]));
    separator = ", ";
  }
  return text;
}

std::string memory_text(const MemoryPlan& plan) {
  const auto bytes = [](std::size_t n) { return bytes_text(static_cast<double>(n)); };
  return fmt::format("memory: parameters {}, gradients {}, optimizer {}, activations {}, together {}",
                     bytes(plan.parameters), bytes(plan.gradients), bytes(plan.optimizer), bytes(plan.activations),
                     bytes(plan.total()));
}

std::string groups_text(const optim::Optimizer& optimizer) {
  struct Group {
    std::int64_t tensors = 0, parameters = 0;
  };
  std::map<std::pair<double, double>, Group> groups;  // by learning rate scale and weight decay
  for (const optim::Target& target : optimizer.targets()) {
    Group& group = groups[{target.lr_scale, target.weight_decay}];
    ++group.tensors;
    group.parameters += target.entry.shape.numel();
  }
  std::string text;
  for (const auto& [settings, group] : groups) {
    text += fmt::format("{}group: lr x {}, weight decay {}: {} tensors, {} parameters", text.empty() ? "" : "\n",
                        settings.first, settings.second, group.tensors, thousands(group.parameters));
  }
  return text;
}

}  // namespace monge::train
