// The dataset `zipf`: words with the frequencies of words, each with a partner that likes to follow it.
//
// With probability `pairing` the next token is the partner of the one before it, otherwise it is token i with
// probability proportional to 1 / (i + 1)^exponent. The partners are a random permutation. Frequent pairs are learned
// early and rare ones late, which is where update rules differ: Kunstner et al., "Heavy-tailed class imbalance and why
// Adam outperforms gradient descent on language models", 2024 (arXiv:2402.19449).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "train/data/made_up/markov.h"

namespace monge::train {

struct ZipfOptions : Options {
  std::int32_t symbols = 256;
  double exponent = 1.0;
  double pairing = 0.5;
  std::int64_t language_seed = 1;
  std::int64_t validation_windows = 256;

  void fields(Fields& f) override;
};

/// (V, V): row i is the law of the token after token i.
std::vector<double> zipf_rows(const ZipfOptions& options);

/// The Markov chain of these rows, in its stationary law.
class ZipfLanguage : public MarkovLanguage {
 public:
  explicit ZipfLanguage(const ZipfOptions& options);
  std::string description() const override;

 private:
  ZipfOptions options_;
};

std::unique_ptr<Dataset> make_zipf_dataset(const ZipfOptions& options, const DatasetContext& context);

}  // namespace monge::train
