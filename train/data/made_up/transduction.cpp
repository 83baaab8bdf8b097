#include "train/data/made_up/transduction.h"

#include <algorithm>

#include "train/data/pair_layout.h"
#include "train/data/symbols.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {
namespace {

constexpr std::int32_t first_letter = 2;

class Transduction : public Dataset {
 public:
  Transduction(const TransductionOptions& options, const DatasetContext& context)
      : options_(options),
        seed_(context.seed),
        tokenizer_(U"\n\t" + readable_symbols(static_cast<std::size_t>(options.letters))),
        layout_(context, tokenizer_) {
    const std::vector<std::int32_t> longest(static_cast<std::size_t>(options.longest), first_letter);
    const std::string misfit = layout_.misfit({longest, rewritten(longest)});
    if (!misfit.empty()) throw InputError(fmt::format("data.longest = {}: {}", options.longest, misfit));
  }

  std::int64_t vocab() const override { return tokenizer_.vocab(); }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::vector<std::string> fields() const override { return layout_.fields(); }
  bool has_answers() const override { return true; }
  std::string description() const override {
    return fmt::format("transduction: {} words of {} to {} of {} letters, {} validation windows", options_.task,
                       options_.shortest, options_.longest, options_.letters, options_.validation_windows);
  }

  void train_sequence(std::uint64_t index, const Row& out) const override {
    RandomSequence random = training_random(seed_, index);
    write(random, out);
  }
  std::int64_t validation_windows() const override { return options_.validation_windows; }
  void validation_window(std::int64_t index, const Row& out) const override {
    require(index >= 0 && index < validation_windows(), "validation_window: window {} of {}", index,
            validation_windows());
    constexpr std::uint64_t validation_seed = 0;
    RandomSequence random(validation_seed, validation_stream + static_cast<std::uint32_t>(index));
    write(random, out);
  }
  std::optional<double> validation_optimum(std::int64_t windows) const override {
    require(windows >= 1 && windows <= validation_windows(), "validation_optimum: {} windows of {}", windows,
            validation_windows());
    return 0.0;
  }

 private:
  void write(RandomSequence& random, const Row& out) const {
    const auto spread = static_cast<std::uint64_t>(options_.longest - options_.shortest + 1);
    Pair pair;
    pair.source.resize(static_cast<std::size_t>(options_.shortest) + random.below(spread));
    for (std::size_t i = 0; i < pair.source.size(); ++i) {
      const bool follows = options_.task == "cipher" && i > 1 && random.below(2) == 0;
      pair.source[i] =
          follows
              ? shifted(pair.source[i - 1], 1)
              : first_letter + static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(options_.letters)));
    }
    pair.target = rewritten(pair.source);
    layout_.write({&pair}, out);
  }

  std::int32_t shifted(std::int32_t letter, std::int32_t by) const {
    return first_letter + (letter - first_letter + by) % options_.letters;
  }

  std::vector<std::int32_t> rewritten(std::vector<std::int32_t> word) const {
    if (options_.task == "reverse") {
      std::ranges::reverse(word);
    } else if (options_.task == "sort") {
      std::ranges::sort(word);
    } else {
      const std::int32_t key = word.front() - first_letter;
      word.erase(word.begin());
      for (std::int32_t& letter : word) letter = shifted(letter, key);
    }
    return word;
  }

  TransductionOptions options_;
  std::uint64_t seed_;
  CharTokenizer tokenizer_;
  PairLayout layout_;
};

}  // namespace

void TransductionOptions::fields(Fields& f) {
  f("task", task, {.doc = "how a word is rewritten", .choices = {"reverse", "sort", "cipher"}});
  f("letters", letters, {.doc = "size of the alphabet", .min = 2, .max = max_symbols - 2});
  f("shortest", shortest, {.doc = "letters of the shortest word", .min = 2, .max = 1 << 20});
  f("longest", longest, {.doc = "letters of the longest word", .min = 2, .max = 1 << 20});
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
}

void TransductionOptions::check() const {
  if (longest < shortest) {
    throw KeyError("longest", fmt::format("is {}, below shortest = {}", longest, shortest));
  }
}

std::unique_ptr<Dataset> make_transduction_dataset(const TransductionOptions& options, const DatasetContext& context) {
  options.check();
  return std::make_unique<Transduction>(options, context);
}

}  // namespace monge::train
