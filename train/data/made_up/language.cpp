#include "train/data/made_up/language.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "core/random_streams.h"
#include "train/console/interrupt.h"

namespace monge::train {
namespace {

class LanguageDataset : public Dataset {
 public:
  LanguageDataset(std::unique_ptr<Language> language, std::int64_t windows, std::uint64_t validation_seed,
                  const DatasetContext& context)
      : language_(std::move(language)), context_(context), windows_(windows), validation_seed_(validation_seed) {
    const auto length = static_cast<std::size_t>(context.context + 1);
    for (std::size_t i = 1; i < length; ++i) asked_ += language_->asked(i) ? 1 : 0;
    require(asked_ > 0, "dataset: nothing is asked in a sequence of {} tokens", length);
  }

  std::int64_t vocab() const override { return language_->tokenizer().vocab(); }
  const Tokenizer& tokenizer() const override { return language_->tokenizer(); }
  std::string description() const override {
    return fmt::format("{}, {} validation windows of {}", language_->description(), windows_, context_.context);
  }

  void train_sequence(std::uint64_t index, const Row& out) const override {
    RandomSequence random = training_random(context_.seed, index);
    split(generated(random), out["tokens"], out["targets"]);
  }

  std::int64_t validation_windows() const override { return windows_; }
  void validation_window(std::int64_t index, const Row& out) const override {
    require(index >= 0 && index < windows_, "validation_window: window {} of {}", index, windows_);
    split(validation_tokens(index), out["tokens"], out["targets"]);
  }

  std::optional<double> entropy_rate() const override { return language_->entropy_rate(); }
  std::optional<double> validation_optimum(std::int64_t windows) const override {
    require(windows >= 1 && windows <= windows_, "validation_optimum: {} windows of {}", windows, windows_);
    const std::scoped_lock lock(best_losses_mutex_);
    while (std::ssize(best_losses_) <= windows) {
      stop_here_if_interrupted();
      const double loss = language_->best_loss(validation_tokens(std::ssize(best_losses_) - 1));
      best_losses_.push_back(best_losses_.back() + loss);
    }
    return best_losses_[static_cast<std::size_t>(windows)] / static_cast<double>(windows * asked_);
  }

 private:
  /// T + 1 tokens.
  std::vector<std::int32_t> generated(RandomSequence& random) const {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(context_.context + 1));
    language_->generate(random, tokens);
    return tokens;
  }

  std::vector<std::int32_t> validation_tokens(std::int64_t index) const {
    RandomSequence random(validation_seed_, validation_stream + static_cast<std::uint32_t>(index));
    return generated(random);
  }

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
  std::uint64_t validation_seed_;
  std::int64_t asked_ = 0;  // targets of a sequence
  mutable std::mutex best_losses_mutex_;
  mutable std::vector<double> best_losses_{0.0};  // [i]: sum over the first i windows, as far as it was asked for
};

}  // namespace

std::unique_ptr<Dataset> make_language_dataset(std::unique_ptr<Language> language, std::int64_t validation_windows,
                                               std::uint64_t validation_seed, const DatasetContext& context) {
  return std::make_unique<LanguageDataset>(std::move(language), validation_windows, validation_seed, context);
}

}  // namespace monge::train
