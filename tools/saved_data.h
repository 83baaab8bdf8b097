// The data of a saved model's run.
#pragma once

#include <memory>

#include "train/data/dataset.h"
#include "train/saved_model.h"

namespace monge::tools {

/// Throws InputError when it is not there, or when its vocabulary is not the model's.
std::unique_ptr<train::Dataset> data_of(const train::SavedModel& saved);

}  // namespace monge::tools
