#include "train/data/made_up/language.h"

#include <algorithm>
#include <vector>

#include "core/random_streams.h"

namespace monge::train {
namespace {

class LanguageDataset : public Dataset {
 public:
  LanguageDataset(std::unique_ptr<Language> language, std::int64_t windows, std::uint64_t validation_seed,
                  const DatasetContext& context)
      : language_(std::move(language)), context_(context), windows_(windows) {
    const auto length = static_cast<std::size_t>(context.context + 1);
    for (std::size_t i = 1; i < length; ++i) asked_ += language_->asked(i) ? 1 : 0;
    require(asked_ > 0, "dataset: nothing is asked in a sequence of {} tokens", length);
    validation_.resize(static_cast<std::size_t>(windows) * length);
    best_losses_.push_back(0.0);
    for (std::int64_t i = 0; i < windows; ++i) {
      const std::span<std::int32_t> tokens(validation_.data() + static_cast<std::size_t>(i) * length, length);
      RandomSequence random(validation_seed, validation_stream + static_cast<std::uint32_t>(i));
      language_->generate(random, tokens);
      best_losses_.push_back(best_losses_.back() + language_->best_loss(tokens));
    }
  }

  std::int64_t vocab() const override { return language_->tokenizer().vocab(); }
  const Tokenizer& tokenizer() const override { return language_->tokenizer(); }
  std::string description() const override {
    return fmt::format("{}, {} validation windows of {}", language_->description(), windows_, context_.context);
  }

  void train_sequence(std::uint64_t step, std::int64_t row, const Row& out) const override {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(context_.context + 1));
    RandomSequence random(context_.seed, training_stream + static_cast<std::uint32_t>(row),
                          static_cast<std::uint32_t>(step));
    language_->generate(random, tokens);
    split(tokens, out["tokens"], out["targets"]);
  }

  std::int64_t validation_windows() const override { return windows_; }
  void validation_window(std::int64_t index, const Row& out) const override {
    require(index >= 0 && index < windows_, "validation_window: window {} of {}", index, windows_);
    const auto length = static_cast<std::size_t>(context_.context + 1);
    split({validation_.data() + static_cast<std::size_t>(index) * length, length}, out["tokens"], out["targets"]);
  }

  std::optional<double> entropy_rate() const override { return language_->entropy_rate(); }
  std::optional<double> validation_optimum(std::int64_t windows) const override {
    require(windows >= 1 && windows <= windows_, "validation_optimum: {} windows of {}", windows, windows_);
    return best_losses_[static_cast<std::size_t>(windows)] / static_cast<double>(windows * asked_);
  }

 private:
  /// T + 1 tokens as T inputs and the T tokens after them, those that are asked for.
  void split(std::span<const std::int32_t> tokens, std::span<std::int32_t> inputs,
             std::span<std::int32_t> targets) const {
    require(inputs.size() + 1 == tokens.size() && targets.size() == inputs.size(),
            "dataset: a sequence has {} inputs and targets, not {} and {}", tokens.size() - 1, inputs.size(),
            targets.size());
    std::ranges::copy(tokens.first(inputs.size()), inputs.begin());
    for (std::size_t i = 0; i < targets.size(); ++i) targets[i] = language_->asked(i + 1) ? tokens[i + 1] : -1;
  }

  std::unique_ptr<Language> language_;
  DatasetContext context_;
  std::int64_t windows_;
  std::int64_t asked_ = 0;                // targets of a sequence
  std::vector<std::int32_t> validation_;  // (windows, T + 1)
  std::vector<double> best_losses_;       // [i]: sum over the first i windows
};

}  // namespace

std::unique_ptr<Dataset> make_language_dataset(std::unique_ptr<Language> language, std::int64_t validation_windows,
                                               std::uint64_t validation_seed, const DatasetContext& context) {
  return std::make_unique<LanguageDataset>(std::move(language), validation_windows, validation_seed, context);
}

}  // namespace monge::train
