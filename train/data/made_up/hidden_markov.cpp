#include "train/data/made_up/hidden_markov.h"

#include <cmath>
#include <numeric>

#include "train/data/symbols.h"

namespace monge::train {

void Mess3Options::fields(Fields& f) {
  f("moving", moving,
    {.doc = "probability of moving to each of the two other states", .min = 0.0, .max = 0.5, .exclusive_min = true});
  f("clarity", clarity, {.doc = "probability that a state emits its own symbol", .min = 0.0, .max = 1.0});
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
}

HiddenMarkovLanguage::HiddenMarkovLanguage(std::string name, std::vector<double> start,
                                           const std::vector<double>& transition, const std::vector<double>& emission)
    : name_(std::move(name)),
      states_(start.size()),
      symbols_(start.empty() ? 0 : emission.size() / start.size()),
      start_(std::move(start)),
      tokenizer_(readable_symbols(symbols_)) {
  require(transition.size() == states_ * states_ && emission.size() == states_ * symbols_,
          "hidden markov: {} transition and {} emission probabilities for {} states", transition.size(),
          emission.size(), states_);
  step_.resize(symbols_ * states_ * states_);
  first_state_.emplace_back(start_);
  for (std::size_t i = 0; i < states_; ++i) {
    std::vector<double> law(states_ * symbols_);
    for (std::size_t j = 0; j < states_; ++j) {
      for (std::size_t x = 0; x < symbols_; ++x) {
        law[j * symbols_ + x] = transition[i * states_ + j] * emission[j * symbols_ + x];
        step_[(x * states_ + i) * states_ + j] = law[j * symbols_ + x];
      }
    }
    next_.emplace_back(law);
  }
}

std::string HiddenMarkovLanguage::description() const {
  return fmt::format("{}: a hidden Markov chain of {} states and {} symbols (uniform: {:.4f} nats per token)", name_,
                     states_, symbols_, std::log(static_cast<double>(symbols_)));
}

void HiddenMarkovLanguage::generate(RandomSequence& random, std::span<std::int32_t> tokens) const {
  auto state = static_cast<std::size_t>(first_state_.front().draw(random));
  for (std::int32_t& token : tokens) {
    const auto drawn = static_cast<std::size_t>(next_[state].draw(random));
    state = drawn / symbols_;
    token = static_cast<std::int32_t>(drawn % symbols_);
  }
}

double HiddenMarkovLanguage::best_loss(std::span<const std::int32_t> tokens) const {
  double loss = 0.0;
  std::vector<double> law = start_;  // of the state, given the tokens so far
  std::vector<double> joint(states_);
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    const double* const step = step_.data() + static_cast<std::size_t>(tokens[t]) * states_ * states_;
    for (std::size_t j = 0; j < states_; ++j) {
      joint[j] = 0.0;
      for (std::size_t i = 0; i < states_; ++i) joint[j] += law[i] * step[i * states_ + j];
    }
    const double probability = std::accumulate(joint.begin(), joint.end(), 0.0);
    if (t > 0) loss -= std::log(probability);
    for (std::size_t j = 0; j < states_; ++j) law[j] = joint[j] / probability;
  }
  return loss;
}

HiddenMarkovLanguage mess3(double moving, double clarity) {
  const double stay = 1.0 - 2.0 * moving, other = 0.5 * (1.0 - clarity), third = 1.0 / 3.0;
  return {"mess3",
          {third, third, third},
          {stay, moving, moving, moving, stay, moving, moving, moving, stay},
          {clarity, other, other, other, clarity, other, other, other, clarity}};
}

std::unique_ptr<Dataset> make_mess3_dataset(const Mess3Options& options, const DatasetContext& context) {
  constexpr std::uint64_t validation_seed = 0;
  return make_language_dataset(std::make_unique<HiddenMarkovLanguage>(mess3(options.moving, options.clarity)),
                               options.validation_windows, validation_seed, context);
}

}  // namespace monge::train
