#include "train/data/grammar/grammar_language.h"

#include <cmath>
#include <vector>

#include "train/data/grammar/english.h"
#include "train/data/grammar/grammar_predictor.h"

namespace monge::train {

void GrammarOptions::fields(Fields& f) {
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
}

GrammarLanguage::GrammarLanguage(std::string_view notation)
    : grammar_(notation),
      characters_(grammar_.characters()),
      tokenizer_(std::u32string(characters_.begin(), characters_.end())) {
  ids_.fill(-1);
  for (std::size_t i = 0; i < characters_.size(); ++i) {
    ids_[static_cast<unsigned char>(characters_[i])] = static_cast<std::int32_t>(i);
  }
}

std::string GrammarLanguage::description() const {
  return fmt::format("grammar: sentences of {:.1f} of {} characters, entropy rate {:.4f} nats per character",
                     grammar_.sentence_length(), characters_.size(), grammar_.entropy_rate());
}

void GrammarLanguage::generate(RandomSequence& random, std::span<std::int32_t> tokens) const {
  constexpr Grammar::Symbol sentence{.rule = 0};
  std::vector<Grammar::Symbol> to_come;  // the next symbol is the last
  for (std::size_t i = 0; i < tokens.size();) {
    if (to_come.empty()) to_come.push_back(sentence);
    const Grammar::Symbol symbol = to_come.back();
    to_come.pop_back();
    if (symbol.rule < 0) {
      tokens[i++] = ids_[static_cast<unsigned char>(symbol.character)];
      continue;
    }
    const Grammar::Rule& rule = grammar_.rules()[static_cast<std::size_t>(symbol.rule)];
    const auto choice = static_cast<std::size_t>(rule.choice.front().draw(random));
    const std::vector<Grammar::Symbol>& chosen = rule.alternatives[choice].symbols;
    to_come.insert(to_come.end(), chosen.rbegin(), chosen.rend());
  }
}

double GrammarLanguage::best_loss(std::span<const std::int32_t> tokens) const {
  GrammarPredictor predictor(grammar_);
  double loss = 0.0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const double probability = predictor.read(characters_[static_cast<std::size_t>(tokens[i])]);
    if (i > 0) loss -= std::log(probability);
  }
  return loss;
}

std::unique_ptr<Dataset> make_grammar_dataset(const GrammarOptions& options, const DatasetContext& context) {
  constexpr std::uint64_t validation_seed = 0;
  return make_language_dataset(std::make_unique<GrammarLanguage>(english), options.validation_windows, validation_seed,
                               context);
}

}  // namespace monge::train
