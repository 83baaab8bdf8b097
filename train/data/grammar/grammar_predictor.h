// GrammarPredictor: the exact law of the next character of a text of a grammar, given all characters before it.
//
// Keeps every way to read the text so far as what is still to come of it, a stack of symbols, with its probability.
// Stacks share their tails and equal ones are one, so a step costs a few table look-ups per reading.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "train/data/grammar/grammar.h"

namespace monge::train {

class GrammarPredictor {
 public:
  /// At the start of a sentence. Keeps a reference to `grammar`.
  explicit GrammarPredictor(const Grammar& grammar);

  /// Back to the start of a sentence.
  void restart();
  /// Of `character` coming next.
  double probability(char character);
  /// Moves past `character` and returns the probability that it had. Throws std::invalid_argument where that is zero.
  double read(char character);
  /// In how many ways the text so far can be read.
  std::size_t readings() const { return readings_.size(); }

 private:
  using StackId = std::int32_t;  // 0: nothing to come, a sentence starts

  /// A character that a stack may give next, and what is to come after it.
  struct Step {
    char character;
    StackId rest;
    double probability;
  };
  struct Stack {
    Grammar::Symbol top;
    StackId rest = 0;
    bool expanded = false;
    std::vector<Step> steps;  // once expanded
  };
  struct Reading {
    StackId stack = 0;
    double probability = 1.0;
  };

  StackId push(Grammar::Symbol top, StackId rest);
  const std::vector<Step>& steps(StackId stack);
  void expand(StackId stack, double probability, std::vector<Step>& steps);

  const Grammar& grammar_;
  std::vector<Stack> stacks_;
  std::unordered_map<std::uint64_t, StackId> ids_;  // of (top, rest)
  std::vector<Reading> readings_;
};

}  // namespace monge::train
