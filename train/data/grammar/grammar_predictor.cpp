#include "train/data/grammar/grammar_predictor.h"

#include <algorithm>

#include "core/error.h"

namespace monge::train {

GrammarPredictor::GrammarPredictor(const Grammar& grammar) : grammar_(grammar), stacks_(1) { restart(); }

void GrammarPredictor::restart() { readings_ = {Reading{}}; }

GrammarPredictor::StackId GrammarPredictor::push(Grammar::Symbol top, StackId rest) {
  const std::uint32_t code = top.rule >= 0 ? 256u + static_cast<std::uint32_t>(top.rule)
                                           : static_cast<std::uint32_t>(static_cast<unsigned char>(top.character));
  const std::uint64_t key = static_cast<std::uint64_t>(code) << 32 | static_cast<std::uint32_t>(rest);
  const auto [place, fresh] = ids_.try_emplace(key, static_cast<StackId>(stacks_.size()));
  if (fresh) stacks_.push_back({.top = top, .rest = rest, .expanded = false, .steps = {}});
  return place->second;
}

void GrammarPredictor::expand(StackId stack, double probability, std::vector<Step>& steps) {
  const Grammar::Symbol top = stack == 0 ? Grammar::Symbol{.rule = 0} : stacks_[static_cast<std::size_t>(stack)].top;
  const StackId rest = stacks_[static_cast<std::size_t>(stack)].rest;
  if (top.rule < 0) {
    steps.push_back({top.character, rest, probability});
    return;
  }
  for (const Grammar::Alternative& alternative : grammar_.rules()[static_cast<std::size_t>(top.rule)].alternatives) {
    StackId next = rest;
    for (std::size_t i = alternative.symbols.size(); i-- > 0;) next = push(alternative.symbols[i], next);
    expand(next, probability * alternative.probability, steps);
  }
}

const std::vector<GrammarPredictor::Step>& GrammarPredictor::steps(StackId stack) {
  const auto i = static_cast<std::size_t>(stack);
  if (!stacks_[i].expanded) {
    std::vector<Step> found;
    expand(stack, 1.0, found);
    stacks_[i].steps = std::move(found);
    stacks_[i].expanded = true;
  }
  return stacks_[i].steps;
}

double GrammarPredictor::probability(char character) {
  double sum = 0.0;
  for (const Reading& reading : readings_) {
    for (const Step& step : steps(reading.stack)) {
      if (step.character == character) sum += reading.probability * step.probability;
    }
  }
  return sum;
}

double GrammarPredictor::read(char character) {
  std::vector<Reading> next;
  double sum = 0.0;
  for (const Reading& reading : readings_) {
    for (const Step& step : steps(reading.stack)) {
      if (step.character != character) continue;
      const double probability = reading.probability * step.probability;
      sum += probability;
      const auto same = std::ranges::find(next, step.rest, &Reading::stack);
      if (same == next.end()) {
        next.push_back({step.rest, probability});
      } else {
        same->probability += probability;
      }
    }
  }
  require(sum > 0.0, "grammar: no text of it goes on with '{}' here", character);
  for (Reading& reading : next) reading.probability /= sum;
  readings_ = std::move(next);
  return sum;
}

}  // namespace monge::train
