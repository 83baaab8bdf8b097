// The dataset `grammar`: sentences of a weighted grammar, character by character.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "train/data/grammar/grammar.h"
#include "train/data/made_up/language.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {

struct GrammarOptions : Options {
  std::int64_t validation_windows = 256;
  void fields(Fields& f) override;
};

/// Sequences begin with a sentence and go on sentence after sentence; the last one is cut off.
class GrammarLanguage : public Language {
 public:
  /// `notation` as grammar.h has it; the grammar must be unambiguous.
  explicit GrammarLanguage(std::string_view notation);

  const Grammar& grammar() const { return grammar_; }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::string description() const override;
  std::optional<double> entropy_rate() const override { return grammar_.entropy_rate(); }
  void generate(RandomSequence& random, std::span<std::int32_t> tokens) const override;
  double best_loss(std::span<const std::int32_t> tokens) const override;

 private:
  Grammar grammar_;
  std::string characters_;  // by token
  CharTokenizer tokenizer_;
  std::array<std::int32_t, 256> ids_;  // by character
};

/// Sentences of `english`.
std::unique_ptr<Dataset> make_grammar_dataset(const GrammarOptions& options, const DatasetContext& context);

}  // namespace monge::train
