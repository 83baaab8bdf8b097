// Whether data is what a checkpoint was trained on.
#pragma once

#include <string>

#include "train/checkpoint/checkpoint.h"
#include "train/config/config.h"
#include "train/data/dataset.h"

namespace monge::train {

/// Dataset::content of the data of a configuration, as a checkpoint keeps it.
std::string content_text(const Config& config, const Dataset& dataset);

/// What differs between the data of `config`, opened as `dataset`, and that of the checkpoint's run, for people:
/// "data.path: a.txt -> b.txt"; empty when nothing does. A checkpoint of before contents were kept knows the vocabulary
/// alone.
std::string data_difference(const Checkpoint& checkpoint, const Config& config, const Dataset& dataset);

}  // namespace monge::train
