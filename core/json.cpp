#include "core/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace monge {
namespace {

constexpr std::string_view stand_in_start = "\xf4\x8f";  // of U+10FF80 .. U+10FFFF: f4 8f be 80 .. f4 8f bf bf

/// Bytes of the character at the start of `text`; 0 where no UTF-8 begins.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xc2 && first < 0xe0   ? 2
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xf0 && first < 0xf5 ? 4
                                                             : 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool beyond = (first == 0xed && second >= 0xa0) || (first == 0xf4 && second >= 0x90);
  return overlong || beyond ? 0 : length;
}

bool is_stand_in(std::string_view character) {
  return character.size() >= 4 && character.starts_with(stand_in_start) && (character[2] | 1) == '\xbf';
}

/// With stand-ins for the bytes that are not UTF-8, and for those of stand-ins, so that every text has its own form.
std::string with_stand_ins(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length > 0 && !is_stand_in(text.substr(0, length))) {
      out += text.substr(0, length);
      text.remove_prefix(length);
      continue;
    }
    const auto byte = static_cast<unsigned char>(text.front());
    out += stand_in_start;
    out += static_cast<char>(0xbe | ((byte >> 6) & 1));
    out += static_cast<char>(0x80 | (byte & 0x3f));
    text.remove_prefix(1);
  }
  return out;
}

std::string without_stand_ins(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const bool stands = is_stand_in(text);
    out += stands ? static_cast<char>(0x80 | (text[2] & 1) << 6 | (text[3] & 0x3f)) : text.front();
    text.remove_prefix(stands ? 4 : 1);
  }
  return out;
}

template <class Change>
void change_texts(Json& value, const Change& change) {
  if (value.is_structured()) {
    for (Json& inner : value) change_texts(inner, change);
  } else if (value.is_string()) {
    auto& text = value.get_ref<std::string&>();
    const auto ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
    if (!std::ranges::all_of(text, ascii)) text = change(text);
  }
}

}  // namespace

Json parse_json(std::string_view text) {
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  change_texts(value, without_stand_ins);
  return value;
}

std::string json_text(const Json& value, int indent) {
  Json copy = value;
  change_texts(copy, with_stand_ins);
  return copy.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);  // names are not changed
}

}  // namespace monge
