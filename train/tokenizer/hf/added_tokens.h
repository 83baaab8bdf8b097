// The section `added_tokens` of a tokenizer.json: texts that are tokens of their own wherever they stand.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "train/tokenizer/hf/bpe_model.h"
#include "train/tokenizer/hf/json_place.h"
#include "train/tokenizer/hf/normalizer.h"

namespace monge::train::hf {

/// Finds the longest of some words at the leftmost place.
class WordFinder {
 public:
  /// Of equal words the first counts.
  void add(std::string_view word, std::size_t index);
  bool empty() const { return nodes_.empty(); }
  struct Found {
    std::size_t begin, end, index;
  };
  /// The next word at or behind `from`; begin is the size of the text where there is none.
  Found find(std::string_view text, std::size_t from) const;

 private:
  struct Node {
    std::vector<std::pair<char, std::size_t>> next;
    std::size_t index = none;
  };
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  std::size_t child(std::size_t node, char c) const;

  std::vector<Node> nodes_;
  std::array<std::size_t, 256> first_{};  // the node of a first byte; 0: no word starts with it
};

/// Immutable; thread-safe.
class AddedTokens {
 public:
  struct Token {
    std::string content;  // as it is looked for: normalized where `normalized` says so
    std::int32_t id = 0;
    bool single_word = false, lstrip = false, rstrip = false, normalized = false;
  };

  AddedTokens() = default;
  /// `normalizer` may be null. Throws InputError with the place of what is wrong, an id for one, which follows from the
  /// vocabulary and the tokens before.
  AddedTokens(const JsonPlace& place, const BpeModel& model, const Normalizer* normalizer);

  const std::vector<Token>& tokens() const { return tokens_; }

  /// Calls `part(begin, end, token)` for the tokens in `text` and what lies between them (null), in order. Those with
  /// `normalized` are looked for in normalized texts, the others in the text as it was given.
  using Part = std::function<void(std::size_t begin, std::size_t end, const Token* token)>;
  void split(std::string_view text, bool normalized, const Part& part) const;

 private:
  std::vector<Token> tokens_;
  WordFinder as_given_, in_normalized_;
};

}  // namespace monge::train::hf
