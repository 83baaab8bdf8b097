// Grammar: a weighted context-free grammar over characters, and the exact law of the texts it makes.
//
// A text is sentence after sentence, each derived from the first rule. The notation:
//
//   sentence = 3 noun " sleeps" end | noun " sings" end    an alternative may start with its weight (1 if it has none)
//   noun     = "cat" | "dog"                               rules are named, text is quoted, "" is nothing
//   end      = ". " | ".\n"                                \n is the one escape
//
// A line that begins with a space goes on with the rule above; a line that begins with # is a comment. Names that lack
// a rule, rules that refer to themselves before any text (left recursion) and grammars whose sentences have no finite
// mean length throw std::invalid_argument.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "train/data/made_up/alias_table.h"

namespace monge::train {

class Grammar {
 public:
  /// A character, or a rule where `rule` is not negative.
  struct Symbol {
    std::int32_t rule = -1;
    char character = 0;
    bool operator==(const Symbol&) const = default;
  };
  struct Alternative {
    double probability = 1.0;
    std::vector<Symbol> symbols;
  };
  struct Rule {
    std::string name;
    std::vector<Alternative> alternatives;
    std::vector<AliasTable> choice;  // one
  };

  explicit Grammar(std::string_view notation);

  const std::vector<Rule>& rules() const { return rules_; }  // sentences derive from the first
  /// Every character that a text may hold, in order.
  std::string characters() const;

  /// Mean number of characters of a sentence.
  double sentence_length() const { return sentence_length_; }
  /// Entropy of the derivation of a sentence in nats: where no sentence has two derivations, that of the sentence.
  double sentence_entropy() const { return sentence_entropy_; }
  /// Of an unambiguous grammar, in nats per character.
  double entropy_rate() const { return sentence_entropy_ / sentence_length_; }

 private:
  void normalise();
  void refuse_left_recursion() const;
  void find_moments();

  std::vector<Rule> rules_;
  double sentence_length_ = 0.0;
  double sentence_entropy_ = 0.0;
};

}  // namespace monge::train
