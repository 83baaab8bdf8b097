// The dataset `recall`: multi-query associative recall. A sequence lists pairs of a key and a value, then asks keys.
//
//   a 3 c 1 b 3   c 1 a 3 c 1 b 3 ...      keys a b c, values 1 2 3; asked: every value after the first three pairs
//
// The keys of the list differ from each other, the values are independent and uniform, and each question is one of the
// listed keys, uniformly. Every answer stands in the sequence: the best loss is 0, and one who ignores the context pays
// ln(values). Arora et al., "Zoology: measuring and improving recall in efficient language models", 2023
// (arXiv:2312.04927); there questions are spread among fillers, here they follow each other and may repeat.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "train/data/made_up/language.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {

struct RecallOptions : Options {
  std::int32_t keys = 16;
  std::int32_t values = 16;
  std::int32_t pairs = 4;
  std::int64_t validation_windows = 256;

  void fields(Fields& f) override;
  void check() const override;
};

/// Tokens 0 .. keys - 1 are keys, the ones after them values.
class RecallLanguage : public Language {
 public:
  explicit RecallLanguage(const RecallOptions& options);

  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::string description() const override;
  void generate(RandomSequence& random, std::span<std::int32_t> tokens) const override;
  bool asked(std::size_t i) const override { return i >= 2 * pairs_ && i % 2 == 1; }
  double best_loss(std::span<const std::int32_t>) const override { return 0.0; }

 private:
  std::size_t keys_, values_, pairs_;
  CharTokenizer tokenizer_;
};

/// Throws InputError when no question fits into the context.
std::unique_ptr<Dataset> make_recall_dataset(const RecallOptions& options, const DatasetContext& context);

}  // namespace monge::train
