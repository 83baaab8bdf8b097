// SavedModel: a model read back from a checkpoint, ready for evaluation and sampling.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "train/checkpoint/checkpoint.h"
#include "train/run.h"
#include "train/tokenizer/tokenizer.h"

namespace monge::train {

struct SavedModel : Run {
  std::filesystem::path checkpoint;
  CheckpointState state;
  std::unique_ptr<Tokenizer> tokenizer;
};

/// `run_or_checkpoint` and `which` as in find_checkpoint. The configuration is that of the checkpoint with `overrides`
/// ("key.path=value") applied. Throws InputError: no checkpoint there, a damaged one, overrides that change the model.
SavedModel load_model(const std::filesystem::path& run_or_checkpoint, const std::vector<std::string>& overrides = {},
                      Which which = Which::newest);

/// The data of its configuration, read with its tokenizer. Throws InputError when it is not there, or when its
/// vocabulary is not the model's.
std::unique_ptr<Dataset> data_of(const SavedModel& saved);

}  // namespace monge::train
