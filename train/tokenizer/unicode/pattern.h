// Pattern: a regular expression over UTF-8, by PCRE2 with its just-in-time compiler.
//
// It means what it means to the `tokenizers` of Hugging Face (Oniguruma with Unicode 16): \s, \d and \p{..} are
// Unicode's, ^ and $ stand at lines. What the two libraries read differently is refused.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace monge::train {

/// Immutable; thread-safe.
class Pattern {
 public:
  /// `place` says in messages where the expression was given. Throws InputError where it is none, or not supported.
  Pattern(std::string expression, std::string place);

  /// A text as it is, for the expression of another pattern.
  static std::string escaped(std::string_view text);

  /// Calls `piece(begin, end, matches)` for the matches of `text`, which must be UTF-8, and for what lies between, in
  /// order: together they are the text. A match may be empty. Throws InputError that names the pattern where it takes
  /// too many steps.
  void split(std::string_view text, const std::function<void(std::size_t, std::size_t, bool)>& piece) const;

 private:
  struct Code;
  std::string expression_, place_;
  std::shared_ptr<const Code> code_;
};

}  // namespace monge::train
