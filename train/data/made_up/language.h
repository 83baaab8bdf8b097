// Language: a random source of tokens whose law is known, so that the best possible loss is known as well.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/random.h"
#include "train/data/dataset.h"

namespace monge::train {

/// Immutable after construction; all members are thread-safe.
class Language {
 public:
  virtual ~Language() = default;
  virtual const Tokenizer& tokenizer() const = 0;
  /// One line for people.
  virtual std::string description() const = 0;
  /// Exact, in nats per token, where it is known.
  virtual std::optional<double> entropy_rate() const { return std::nullopt; }
  /// Fills `tokens` with one fresh sequence.
  virtual void generate(RandomSequence& random, std::span<std::int32_t> tokens) const = 0;
  /// Whether token `i` >= 1 of a sequence is one that the model is asked for; where it is not, the target is -1.
  virtual bool asked(std::size_t i) const {
    (void)i;
    return true;
  }
  /// Nats that the predictor who knows the language pays for the asked ones of tokens 1, 2, ... of a generated
  /// sequence, each given all before it; token 0 is free.
  virtual double best_loss(std::span<const std::int32_t> tokens) const = 0;
};

/// A fresh sequence of the language for every row of every step, and `validation_windows` fixed ones that depend on
/// `validation_seed` alone. Throws std::invalid_argument when no token of a sequence is asked for.
std::unique_ptr<Dataset> make_language_dataset(std::unique_ptr<Language> language, std::int64_t validation_windows,
                                               std::uint64_t validation_seed, const DatasetContext& context);

}  // namespace monge::train
