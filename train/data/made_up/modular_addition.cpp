#include "train/data/made_up/modular_addition.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "core/random.h"
#include "core/random_streams.h"
#include "train/data/symbols.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {
namespace {

constexpr std::size_t length = 3;  // a, b and =

class ModularAddition : public Dataset {
 public:
  ModularAddition(const ModularAdditionOptions& options, std::uint64_t seed)
      : modulus_(options.modulus),
        seed_(seed),
        tokenizer_(readable_symbols(static_cast<std::size_t>(options.modulus)) + U'='),
        pairs_(static_cast<std::size_t>(modulus_) * static_cast<std::size_t>(modulus_)) {
    std::iota(pairs_.begin(), pairs_.end(), 0);
    RandomSequence random(static_cast<std::uint64_t>(options.language_seed), language_stream);
    for (std::size_t i = pairs_.size(); i > 1; --i) std::swap(pairs_[i - 1], pairs_[random.below(i)]);
    const auto share = std::llround(options.train_fraction * static_cast<double>(pairs_.size()));
    trained_ = std::clamp(static_cast<std::size_t>(share), std::size_t{1}, pairs_.size() - 1);
  }

  std::int64_t vocab() const override { return tokenizer_.vocab(); }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::string description() const override {
    return fmt::format(
        "modular_addition: a + b modulo {}, {} pairs to learn from, the {} others asked (guessing: {:.4f} "
        "nats per answer)",
        modulus_, trained_, validation_windows(), std::log(modulus_));
  }

  void train_sequence(std::uint64_t index, const Row& out) const override {
    RandomSequence random = training_random(seed_, index);
    write(pairs_[random.below(trained_)], out["tokens"], out["targets"]);
  }

  std::int64_t validation_windows() const override { return static_cast<std::int64_t>(pairs_.size() - trained_); }
  void validation_window(std::int64_t index, const Row& out) const override {
    require(index >= 0 && index < validation_windows(), "validation_window: window {} of {}", index,
            validation_windows());
    write(pairs_[trained_ + static_cast<std::size_t>(index)], out["tokens"], out["targets"]);
  }

  std::optional<double> validation_optimum(std::int64_t windows) const override {
    require(windows >= 1 && windows <= validation_windows(), "validation_optimum: {} windows of {}", windows,
            validation_windows());
    return 0.0;
  }

 private:
  void write(std::int32_t pair, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) const {
    require(inputs.size() == length && targets.size() == length,
            "dataset: a sequence has {} inputs and targets, not {} and {}", length, inputs.size(), targets.size());
    const std::int32_t a = pair / modulus_, b = pair % modulus_;
    std::ranges::copy(std::array{a, b, modulus_}, inputs.begin());
    std::ranges::copy(std::array{-1, -1, (a + b) % modulus_}, targets.begin());
  }

  std::int32_t modulus_;  // p
  std::uint64_t seed_;
  CharTokenizer tokenizer_;
  std::vector<std::int32_t> pairs_;  // a p + b, shuffled: first those to learn from
  std::size_t trained_ = 0;          // how many
};

}  // namespace

void ModularAdditionOptions::fields(Fields& f) {
  f("modulus", modulus, {.doc = "p: the numbers are 0 .. p - 1", .min = 2, .max = max_symbols});
  f("train_fraction", train_fraction,
    {.doc = "share of the p^2 pairs to learn from; the rest validates", .min = 0.01, .max = 0.99});
  f("language_seed", language_seed, {.doc = "which pairs are learned from", .min = 0, .max = any_integer});
}

std::unique_ptr<Dataset> make_modular_addition_dataset(const ModularAdditionOptions& options,
                                                       const DatasetContext& context) {
  if (context.context != length) {
    throw InputError(fmt::format(
        "a sequence of data.kind = modular_addition is the {} tokens a, b and =: set model.context to {}; it is {}",
        length, length, context.context));
  }
  return std::make_unique<ModularAddition>(options, context.seed);
}

}  // namespace monge::train
