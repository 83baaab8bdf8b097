#include "train/tokenizer/hf/byte_characters.h"

#include <array>

#include "train/tokenizer/utf8.h"

namespace monge::train::hf {
namespace {

struct Tables {
  std::array<std::string, 256> characters;
  std::array<int, 0x144> bytes;  // of a code point; -1: none

  Tables() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
      const char32_t character = visible ? byte : next++;
      bytes[character] = static_cast<int>(byte);
      append_utf8(characters[byte], character);
    }
  }
};

const Tables& tables() {
  static const Tables made;
  return made;
}

}  // namespace

const std::string& byte_character(unsigned char byte) { return tables().characters[byte]; }

std::optional<std::string> bytes_of(std::string_view token) {
  std::string out;
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint character = code_point_at(token, at);
    if (character.value >= tables().bytes.size() || tables().bytes[character.value] < 0) return std::nullopt;
    out += static_cast<char>(tables().bytes[character.value]);
    at += character.bytes;
  }
  return out;
}

}  // namespace monge::train::hf
