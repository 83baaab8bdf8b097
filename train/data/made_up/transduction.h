// The dataset `transduction`: random words to rewrite by a rule that has to be found. Every letter of the target, and
// where it ends, follows from the source: the best loss is 0.
//
//   reverse   abca -> acba
//   sort      caba -> aabc
//   cipher    the first letter is a key, added to each of the others modulo the alphabet: baac -> bbd, with a = 0. What
//             is enciphered is a Markov chain: half of the letters follow the one before them in the alphabet.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "train/data/dataset.h"

namespace monge::train {

struct TransductionOptions : Options {
  std::string task = "reverse";
  std::int32_t letters = 16;
  std::int32_t shortest = 4;
  std::int32_t longest = 12;
  std::int64_t validation_windows = 1024;

  void fields(Fields& f) override;
  void check() const override;
};

/// Token 0 is a line break, token 1 a tab, then the letters: see PairLayout. Throws InputError when the longest word
/// does not fit the model.
std::unique_ptr<Dataset> make_transduction_dataset(const TransductionOptions& options, const DatasetContext& context);

}  // namespace monge::train
