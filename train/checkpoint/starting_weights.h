// StartingWeights: what a run with `train.from` begins with, the parameters and the tokenizer of another one.
#pragma once

#include <filesystem>
#include <memory>

#include "nn/parameter_store.h"
#include "train/checkpoint/checkpoint.h"
#include "train/tokenizer/tokenizer.h"

namespace monge::train {

class StartingWeights {
 public:
  /// Throws InputError when there is no checkpoint or it is damaged.
  explicit StartingWeights(const std::filesystem::path& run_or_checkpoint);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /// Loads the parameters. Tables with a row for each token may have other rows behind those: for tokens that
  /// `tokenizer`, the one of the data, has gained they keep their initial values, for those that it has not they are
  /// left out. Throws InputError when the data has another tokenizer or the model other parameters.
  void load(nn::ParameterStore& store, const Tokenizer& tokenizer) const;

 private:
  Checkpoint checkpoint_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace monge::train
