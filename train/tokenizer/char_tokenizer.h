// The tokenizer `char`: one token per Unicode code point.
#pragma once

#include <array>
#include <string>
#include <unordered_map>

#include "train/tokenizer/tokenizer.h"

namespace monge::train {

class CharTokenizer : public Tokenizer {
 public:
  /// The id of a character is its place in `vocabulary`. Throws InputError when that is empty or repeats a character.
  explicit CharTokenizer(std::u32string vocabulary);

  std::string kind() const override { return "char"; }
  std::int64_t vocab() const override { return static_cast<std::int64_t>(vocabulary_.size()); }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<std::int32_t>& ids) const override;
  std::string save() const override;
  /// New characters come behind the others, in code point order.
  std::unique_ptr<Tokenizer> grown(std::string_view text) const override;

 private:
  std::int32_t id(char32_t character) const;  // -1 where it is not in the vocabulary

  std::u32string vocabulary_;
  std::array<std::int32_t, 128> ascii_{};
  std::unordered_map<char32_t, std::int32_t> others_;
};

/// The vocabulary is the sorted set of the characters of `text`. Throws InputError when it is empty or no UTF-8.
std::unique_ptr<Tokenizer> make_char_tokenizer(const NoOptions& options, std::string_view text);

/// From {"kind": "char", "vocabulary": "abc"}.
std::unique_ptr<Tokenizer> load_char_tokenizer(const NoOptions& options, std::string_view json);

}  // namespace monge::train
