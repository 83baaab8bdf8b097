// SavedModel: a model read back from a checkpoint, ready for evaluation and sampling.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "nn/gpt.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data/tokenizer.h"

namespace monge::train {

struct SavedModel {
  std::filesystem::path checkpoint;
  CheckpointState state;
  Config config;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<nn::Gpt> model;
  std::unique_ptr<nn::ParameterStore> store;  // without gradients
};

/// `run_or_checkpoint` as in find_checkpoint. The configuration is that of the checkpoint with `overrides`
/// ("key.path=value") applied. Throws InputError: no checkpoint there, a damaged one, overrides that change the model.
SavedModel load_model(const std::filesystem::path& run_or_checkpoint, const std::vector<std::string>& overrides = {});

}  // namespace monge::train
