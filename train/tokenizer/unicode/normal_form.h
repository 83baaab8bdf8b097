// What Unicode says about texts and characters: normal forms, small letters, white space, numbers, parts of words. As
// `tokenizers` 0.23 sees them, which has tables of several versions of Unicode.
#pragma once

#include <string>
#include <string_view>

namespace monge::train {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// `text` must be UTF-8.
std::string normalized(std::string_view text, NormalForm form);

/// Each character as its small letter.
std::string in_small_letters(std::string_view text);

/// Letters with marks, numbers, white space and all else.
enum class CharacterClass : unsigned char { letter, number, space, other };
CharacterClass class_of(char32_t character);

bool is_white_space(char32_t character);
/// A digit or another number.
bool is_number(char32_t character);
/// \w of Rust's regular expressions: letters, marks, decimal digits, connectors and joiners.
bool is_word_character(char32_t character);

}  // namespace monge::train
