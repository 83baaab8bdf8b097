// The dataset `mess3`: symbols emitted by a hidden Markov chain, whose state can only be inferred.
//
// Mess3 has three states and three symbols. In each step the chain moves to each other state with probability
// `moving`; the state where it arrives emits its own symbol with probability `clarity`, each other with half the rest.
// The best prediction follows from the forward algorithm: from a law eta of the state now, the joint law of the state
// and the symbol to come is (eta T) o E; its sum over states predicts, its part at the symbol seen, normalised, is the
// next eta.
//
// Marzen & Crutchfield, "Nearly maximally predictive features and their dimensions", 2017; as a test of transformers:
// Shai et al., "Transformers represent belief state geometry in their residual stream", 2024 (arXiv:2405.15943).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "train/data/made_up/alias_table.h"
#include "train/data/made_up/language.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {

struct Mess3Options : Options {
  double moving = 0.05;
  double clarity = 0.85;
  std::int64_t validation_windows = 256;

  void fields(Fields& f) override;
};

/// A hidden Markov chain of S states and V symbols.
class HiddenMarkovLanguage : public Language {
 public:
  /// `start` (S): law of the state before the first symbol. `transition` (S, S): row i is the law of the next state.
  /// `emission` (S, V): row j is the law of the symbol on arrival in j. Every row sums to one.
  HiddenMarkovLanguage(std::string name, std::vector<double> start, const std::vector<double>& transition,
                       const std::vector<double>& emission);

  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::string description() const override;
  void generate(RandomSequence& random, std::span<std::int32_t> tokens) const override;
  double best_loss(std::span<const std::int32_t> tokens) const override;

 private:
  std::string name_;
  std::size_t states_, symbols_;  // S, V
  std::vector<double> start_;
  std::vector<double> step_;             // (V, S, S): [x][i][j] = P(to j, emitting x | in i)
  std::vector<AliasTable> first_state_;  // one
  std::vector<AliasTable> next_;         // one per state, over j * V + x
  CharTokenizer tokenizer_;
};

HiddenMarkovLanguage mess3(double moving, double clarity);

std::unique_ptr<Dataset> make_mess3_dataset(const Mess3Options& options, const DatasetContext& context);

}  // namespace monge::train
