#include "train/data/made_up/random.h"

#include <cmath>

#include "train/data/made_up/language.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {
namespace {

class RandomLanguage : public Language {
 public:
  explicit RandomLanguage(std::int32_t symbols)
      : symbols_(static_cast<std::uint64_t>(symbols)), tokenizer_(characters(symbols)) {}

  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::string description() const override { return fmt::format("random: {} equally likely symbols", symbols_); }
  std::optional<double> entropy_rate() const override { return std::log(static_cast<double>(symbols_)); }
  void generate(RandomSequence& random, std::span<std::int32_t> tokens) const override {
    for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random.below(symbols_));
  }
  double best_loss(std::span<const std::int32_t> tokens) const override {
    return *entropy_rate() * static_cast<double>(tokens.size() - 1);
  }

 private:
  /// Code points from '!' on, without the controls and the surrogates between.
  static std::u32string characters(std::int32_t n) {
    std::u32string out;
    for (char32_t c = U'!'; out.size() < static_cast<std::size_t>(n); ++c) {
      if (c == 0x7F) c = 0xA1;
      if (c == 0xD800) c = 0xE000;
      out += c;
    }
    return out;
  }

  std::uint64_t symbols_;
  CharTokenizer tokenizer_;
};

}  // namespace

void RandomOptions::fields(Fields& f) {
  f("symbols", symbols, {.doc = "size of the vocabulary", .min = 2, .max = 1 << 20});
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
}

std::unique_ptr<Dataset> make_random_dataset(const RandomOptions& options, const DatasetContext& context) {
  return make_language_dataset(std::make_unique<RandomLanguage>(options.symbols), options.validation_windows,
                               /*validation_seed=*/1, context);
}

}  // namespace monge::train
