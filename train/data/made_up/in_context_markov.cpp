#include "train/data/made_up/in_context_markov.h"

#include <cmath>
#include <vector>

#include "train/data/symbols.h"

namespace monge::train {
namespace {

/// The law of the next symbol given the transitions so far.
class Predictor {
 public:
  Predictor(std::size_t symbols, double concentration)
      : symbols_(symbols),
        weights_(symbols * symbols, concentration),
        sums_(symbols, static_cast<double>(symbols) * concentration) {}

  double probability(std::size_t from, std::size_t to) const { return weights_[from * symbols_ + to] / sums_[from]; }

  void see(std::size_t from, std::size_t to) {
    weights_[from * symbols_ + to] += 1.0;
    sums_[from] += 1.0;
  }

  std::size_t draw(std::size_t from, RandomSequence& random) const {
    double left = random.uniform();
    std::size_t to = 0;
    while (to + 1 < symbols_ && (left -= probability(from, to)) >= 0.0) ++to;
    return to;
  }

 private:
  std::size_t symbols_;
  std::vector<double> weights_;  // (V, V): n_ij + c
  std::vector<double> sums_;     // (V): n_i + V c
};

}  // namespace

void InContextMarkovOptions::fields(Fields& f) {
  f("symbols", symbols, {.doc = "size of the vocabulary", .min = 2, .max = 128});
  f("concentration", concentration,
    {.doc = "of the Dirichlet law the rows are drawn from: small is predictable, large is uniform",
     .min = 1e-3,
     .max = 1e6});
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
}

InContextMarkovLanguage::InContextMarkovLanguage(std::int32_t symbols, double concentration)
    : symbols_(static_cast<std::size_t>(symbols)),
      concentration_(concentration),
      tokenizer_(readable_symbols(symbols_)) {}

std::string InContextMarkovLanguage::description() const {
  return fmt::format("in_context_markov: a new chain of {} symbols in every sequence, rows Dirichlet({})", symbols_,
                     concentration_);
}

void InContextMarkovLanguage::generate(RandomSequence& random, std::span<std::int32_t> tokens) const {
  // Drawing rows first and symbols by them, or each symbol by the best prediction: the same law of sequences (Polya's
  // urn), and the second needs no rows.
  Predictor predictor(symbols_, concentration_);
  std::size_t now = random.below(symbols_);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<std::int32_t>(now);
    const std::size_t next = predictor.draw(now, random);
    predictor.see(now, next);
    now = next;
  }
}

double InContextMarkovLanguage::best_loss(std::span<const std::int32_t> tokens) const {
  Predictor predictor(symbols_, concentration_);
  double loss = 0.0;
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    const auto from = static_cast<std::size_t>(tokens[i - 1]);
    const auto to = static_cast<std::size_t>(tokens[i]);
    loss -= std::log(predictor.probability(from, to));
    predictor.see(from, to);
  }
  return loss;
}

std::unique_ptr<Dataset> make_in_context_markov_dataset(const InContextMarkovOptions& options,
                                                        const DatasetContext& context) {
  constexpr std::uint64_t validation_seed = 0;
  return make_language_dataset(std::make_unique<InContextMarkovLanguage>(options.symbols, options.concentration),
                               options.validation_windows, validation_seed, context);
}

}  // namespace monge::train
