// The dataset `in_context_markov`: every sequence follows a Markov chain of its own, to be learned while it is read.
//
// A chain's rows are drawn from a symmetric Dirichlet law with concentration c, its first symbol is uniform. Given what
// was read, the best prediction is then exact (the Dirichlet law is conjugate): with n_ij the transitions from i to j
// so far and V symbols, P(next = j | now = i, past) = (n_ij + c) / (n_i + V c).
//
// After Edelman, Edelman, Goel, Malach & Tsilivis, "The evolution of statistical induction heads: in-context learning
// Markov chains", 2024 (arXiv:2402.11004).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "train/data/made_up/language.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {

struct InContextMarkovOptions : Options {
  std::int32_t symbols = 8;
  double concentration = 1.0;
  std::int64_t validation_windows = 256;

  void fields(Fields& f) override;
};

class InContextMarkovLanguage : public Language {
 public:
  InContextMarkovLanguage(std::int32_t symbols, double concentration);

  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::string description() const override;
  void generate(RandomSequence& random, std::span<std::int32_t> tokens) const override;
  double best_loss(std::span<const std::int32_t> tokens) const override;

 private:
  std::size_t symbols_;   // V
  double concentration_;  // c
  CharTokenizer tokenizer_;
};

std::unique_ptr<Dataset> make_in_context_markov_dataset(const InContextMarkovOptions& options,
                                                        const DatasetContext& context);

}  // namespace monge::train
