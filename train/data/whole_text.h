// WholeText: a text to be evaluated, each of its tokens but the first predicted once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace monge::train {

/// Windows of T tokens, of which each predicts the `stride` that the ones before did not, the first all T of them: a
/// token is predicted from T - stride tokens at least, where there are so many. The last window ends with the text.
class WholeText : public Dataset {
 public:
  /// The tokenizer outlives it. Throws InputError for fewer than two tokens, and unless 1 <= stride <= context.
  WholeText(std::vector<std::int32_t> tokens, const Tokenizer& tokenizer, std::int64_t context, std::int64_t stride);

  std::int64_t vocab() const override { return tokenizer_.vocab(); }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::string description() const override;
  void train_sequence(std::uint64_t index, const Row& out) const override;
  std::int64_t validation_windows() const override;
  void validation_window(std::int64_t index, const Row& out) const override;

  /// How many tokens are predicted, and how many bytes these are.
  std::int64_t predicted() const { return std::ssize(tokens_) - 1; }
  std::int64_t bytes() const;

 private:
  std::vector<std::int32_t> tokens_;
  const Tokenizer& tokenizer_;
  std::int64_t context_, stride_;
};

}  // namespace monge::train
