#include "train/data/made_up/recall.h"

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "train/data/symbols.h"

namespace monge::train {

void RecallOptions::fields(Fields& f) {
  f("keys", keys, {.doc = "how many different keys there are", .min = 1, .max = max_symbols - 2});
  f("values", values, {.doc = "how many different values there are", .min = 2, .max = max_symbols - 1});
  f("pairs", pairs, {.doc = "pairs that a sequence lists before it asks", .min = 1, .max = max_symbols - 2});
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
}

void RecallOptions::check() const {
  if (pairs > keys) {
    throw KeyError("pairs",
                   fmt::format("the keys of a sequence differ, so pairs is at most keys = {}; it is {}", keys, pairs));
  }
  if (keys + values > max_symbols) {
    throw KeyError("values",
                   fmt::format("keys + values is {} + {}; at most {} are allowed", keys, values, max_symbols));
  }
}

RecallLanguage::RecallLanguage(const RecallOptions& options)
    : keys_(static_cast<std::size_t>(options.keys)),
      values_(static_cast<std::size_t>(options.values)),
      pairs_(static_cast<std::size_t>(options.pairs)),
      tokenizer_(readable_symbols(keys_ + values_)) {}

std::string RecallLanguage::description() const {
  return fmt::format("recall: {} pairs of {} keys and {} values, then questions (guessing: {:.4f} nats per answer)",
                     pairs_, keys_, values_, std::log(static_cast<double>(values_)));
}

void RecallLanguage::generate(RandomSequence& random, std::span<std::int32_t> tokens) const {
  std::vector<std::int32_t> key(keys_), value(pairs_);
  std::iota(key.begin(), key.end(), 0);
  for (std::size_t i = 0; i < pairs_; ++i) {  // a shuffle as far as it is needed
    std::swap(key[i], key[i + random.below(keys_ - i)]);
    value[i] = static_cast<std::int32_t>(keys_ + random.below(values_));
  }
  for (std::size_t at = 0; at < tokens.size(); at += 2) {
    const std::size_t pair = at < 2 * pairs_ ? at / 2 : random.below(pairs_);
    tokens[at] = key[pair];
    if (at + 1 < tokens.size()) tokens[at + 1] = value[pair];
  }
}

std::unique_ptr<Dataset> make_recall_dataset(const RecallOptions& options, const DatasetContext& context) {
  options.check();
  if (context.context < 2 * options.pairs + 1) {
    throw InputError(
        fmt::format("data.pairs = {} leaves no room for a question in model.context = {}; allowed: model.context >= {}",
                    options.pairs, context.context, 2 * options.pairs + 1));
  }
  constexpr std::uint64_t validation_seed = 0;
  return make_language_dataset(std::make_unique<RecallLanguage>(options), options.validation_windows, validation_seed,
                               context);
}

}  // namespace monge::train
