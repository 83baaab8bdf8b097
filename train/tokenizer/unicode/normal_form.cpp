#include "train/tokenizer/unicode/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <vector>

#include "core/error.h"
#include "train/tokenizer/unicode/young_characters.h"
#include "train/tokenizer/utf8.h"

namespace monge::train {
namespace {

template <class Entry, std::size_t n>
const Entry* find(const Entry (&table)[n], char32_t character) {
  const auto* after = std::ranges::upper_bound(table, character, {}, &Entry::first);
  return after != std::begin(table) && character <= std::prev(after)->last ? std::prev(after) : nullptr;
}

/// Whether a character is the same in a normal form, whatever stands beside it, but for what follows it. Some blocks
/// that are frequent in texts; the rest is looked at closely.
bool stays(char32_t c, NormalForm form) {
  if (c < 0x80) return true;
  if (form != NormalForm::nfc) return false;
  return c < 0x300 || (c >= 0x3400 && c < 0xA000) || (c >= 0xAC00 && c < 0xD7A4) || (c >= 0x400 && c < 0x483) ||
         (c >= 0x48A && c < 0x530) || (c >= 0x2010 && c < 0x2028) || (c >= 0x3001 && c < 0x302A) ||
         (c >= 0x3041 && c < 0x3097) || (c >= 0x30A0 && c < 0x3100) || (c >= 0xFF01 && c < 0xFF61);
}

/// A piece that holds no character that `tokenizers` does not know.
void append_normalized(std::string& out, std::string_view piece, NormalForm form) {
  if (piece.empty()) return;
  int options = UTF8PROC_STABLE;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  options |= form == NormalForm::nfc || form == NormalForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (compatible) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* made = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(piece.data()), static_cast<utf8proc_ssize_t>(piece.size()),
                   &made, static_cast<utf8proc_option_t>(options));
  if (size < 0) {
    std::free(made);
    throw InputError(fmt::format("a text of {} bytes cannot be normalized: {}", piece.size(), utf8proc_errmsg(size)));
  }
  out.append(reinterpret_cast<const char*>(made), static_cast<std::size_t>(size));
  std::free(made);
}

/// The category in Unicode 16.
utf8proc_category_t category_of(char32_t c) {
  if (const StandIn* young = find(stand_ins, c)) c = young->like;
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

CharacterClass looked_up_class(char32_t c) {
  if (is_white_space(c)) return CharacterClass::space;
  switch (category_of(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return CharacterClass::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return CharacterClass::number;
    default: return CharacterClass::other;
  }
}

}  // namespace

std::string normalized(std::string_view text, NormalForm form) {
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0;  // of what has not been written
  std::size_t last = 0;   // the start of the last character that stays, to which a mark may be added
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint character = code_point_at(text, at);
    if (stays(character.value, form)) {
      last = at;
      at += character.bytes;
      continue;
    }
    out += text.substr(begin, last - begin);
    std::size_t piece = last;
    while (at < text.size()) {
      const CodePoint next = code_point_at(text, at);
      if (stays(next.value, form)) break;
      if (find(unknown_to_normal_forms, next.value) != nullptr) {
        append_normalized(out, text.substr(piece, at - piece), form);
        out += text.substr(at, next.bytes);
        piece = at + next.bytes;
      }
      at += next.bytes;
    }
    append_normalized(out, text.substr(piece, at - piece), form);
    begin = last = at;
  }
  return out += text.substr(begin);
}

std::string in_small_letters(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint character = code_point_at(text, at);
    at += character.bytes;
    if (const SmallLetter* young = find(young_small_letters, character.value)) {
      append_utf8(out, static_cast<char32_t>(static_cast<int>(character.value) + young->step));
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character.value))));
      if (character.value == 0x130) append_utf8(out, 0x307);  // the one letter that becomes two characters
    }
  }
  return out;
}

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

CharacterClass class_of(char32_t c) {
  constexpr char32_t kept = 0x10000;
  static const auto classes = [] {
    std::vector<CharacterClass> out;
    for (char32_t i = 0; i < kept; ++i) out.push_back(looked_up_class(i));
    return out;
  }();
  return c < kept ? classes[c] : looked_up_class(c);
}

bool is_number(char32_t c) { return class_of(c) == CharacterClass::number || find(young_numbers, c) != nullptr; }

bool is_word_character(char32_t c) {
  const CharacterClass kind = class_of(c);
  if (kind == CharacterClass::letter) return true;
  const auto category = category_of(c);
  if (kind == CharacterClass::number) return category != UTF8PROC_CATEGORY_NO;
  if (category == UTF8PROC_CATEGORY_PC) return true;
  // Joiners, and letters in circles and squares.
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

}  // namespace monge::train
