// The dataset `modular_addition`: a + b modulo p, learned from some of the p^2 sums and asked for the others.
//
// A sequence is the three tokens a, b, "="; its one target, after "=", is the sum modulo p. Training draws uniformly
// from one part of all pairs (a, b), validation is the other part, in full: a model that memorises pays more than
// ln(p) there, one that found the rule nothing. Power et al., "Grokking: generalization beyond overfitting on small
// algorithmic datasets", 2022 (arXiv:2201.02177).
#pragma once

#include <cstdint>
#include <memory>

#include "train/data/dataset.h"

namespace monge::train {

struct ModularAdditionOptions : Options {
  std::int32_t modulus = 97;
  double train_fraction = 0.5;
  std::int64_t language_seed = 1;

  void fields(Fields& f) override;
};

/// Tokens 0 .. p - 1 are the numbers, token p is "=". Throws InputError unless a sequence has three tokens.
std::unique_ptr<Dataset> make_modular_addition_dataset(const ModularAdditionOptions& options,
                                                       const DatasetContext& context);

}  // namespace monge::train
