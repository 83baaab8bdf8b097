// Tables for people: what the start banner of a run and `monge info` say about a model.
#pragma once

#include <string>

#include "nn/module.h"
#include "optim/optimizer.h"
#include "train/memory_plan.h"

namespace monge::train {

/// "825,088 parameters: matrix 786,432, embedding 16,512, gain 1,152"
std::string parameters_text(const nn::Module& model);
/// "memory: parameters 3.1 MiB, gradients 3.1 MiB, optimizer 6.3 MiB, activations 21.5 MiB, together 34.0 MiB"
std::string memory_text(const MemoryPlan& plan);
/// One line for each set of equal settings: "group: lr x 1, weight decay 0.1: 18 tensors, 802,944 parameters".
std::string groups_text(const optim::Optimizer& optimizer);

/// "825,088"
std::string thousands(std::int64_t n);

}  // namespace monge::train
