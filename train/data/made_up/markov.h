// The dataset `markov`: random Markov chains of order k, the next symbol depending on the k before it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "train/data/made_up/alias_table.h"
#include "train/data/made_up/language.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {

struct MarkovOptions : Options {
  std::int32_t symbols = 16;
  std::int32_t order = 2;
  double concentration = 0.3;
  std::int64_t language_seed = 1;
  std::int64_t validation_windows = 256;

  void fields(Fields& f) override;
  void check() const override;
};

/// A chain in its stationary law. A context is the last k symbols read as a number in base V, the oldest symbol first.
class MarkovLanguage : public Language {
 public:
  /// `rows` (V^k, V): row c is the law of the next symbol after context c. Throws InputError when the stationary law
  /// cannot be found to 1e-12.
  MarkovLanguage(std::int32_t symbols, std::int32_t order, std::vector<double> rows);

  /// (V^k): the probability of each context.
  std::span<const double> stationary() const { return prefixes_.back(); }

  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::string description() const override;
  std::optional<double> entropy_rate() const override { return entropy_rate_; }
  void generate(RandomSequence& random, std::span<std::int32_t> tokens) const override;
  double best_loss(std::span<const std::int32_t> tokens) const override;

 private:
  std::span<const double> row(std::size_t context) const { return {rows_.data() + context * symbols_, symbols_}; }
  std::size_t next(std::size_t context, std::size_t symbol) const { return (context * symbols_ + symbol) % contexts_; }
  std::vector<double> find_stationary() const;

  std::size_t symbols_;   // V
  std::size_t order_;     // k
  std::size_t contexts_;  // V^k
  CharTokenizer tokenizer_;
  std::vector<double> rows_;
  std::vector<std::vector<double>> prefixes_;  // [j] (V^j), j <= k: the probability of j successive symbols
  std::vector<AliasTable> next_symbol_;        // one per context
  std::vector<AliasTable> first_context_;      // one
  double entropy_rate_ = 0.0;
};

/// Rows drawn from a symmetric Dirichlet law, (V^k, V).
std::vector<double> dirichlet_rows(const MarkovOptions& options);

std::unique_ptr<Dataset> make_markov_dataset(const MarkovOptions& options, const DatasetContext& context);

}  // namespace monge::train
