#include "train/tokenizer/utf8.h"

#include <cstdint>
#include <cstring>

#include "core/error.h"

namespace monge::train {

namespace {

/// The code point at a byte beyond ASCII; of no bytes where there is none.
CodePoint decoded(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  bool valid = first >= 0xC2 && first <= 0xF4 && at + bytes <= text.size();
  char32_t value = first & (0xFFu >> (bytes + 1));
  for (std::size_t i = 1; valid && i < bytes; ++i) {
    valid = (byte(at + i) & 0xC0) == 0x80;
    value = value << 6 | (byte(at + i) & 0x3F);
  }
  const char32_t smallest = bytes == 4 ? 0x10000 : bytes == 3 ? 0x800 : 0x80;
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (!valid || value < smallest || value > 0x10FFFF || surrogate) return {0, 0};
  return {value, bytes};
}

}  // namespace

CodePoint code_point_at(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1};
  const CodePoint found = decoded(text, at);
  if (found.bytes == 0) {
    throw InputError(
        fmt::format("byte 0x{:02x} at offset {} is no valid UTF-8; save the text as UTF-8, or set data.tokenizer to "
                    "byte, which takes any bytes",
                    first, at));
  }
  return found;
}

CodePoint code_point_or_byte(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1};
  const CodePoint found = decoded(text, at);
  return found.bytes == 0 ? CodePoint{first, 1} : found;
}

void check_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    std::uint64_t eight = 0;
    if (at + sizeof(eight) <= text.size()) {
      std::memcpy(&eight, text.data() + at, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        at += sizeof(eight);
        continue;
      }
    }
    at += code_point_at(text, at).bytes;
  }
}

bool is_utf8(std::string_view text) {
  try {
    check_utf8(text);
    return true;
  } catch (const InputError&) {
    return false;
  }
}

std::size_t last_code_point(std::string_view text) {
  std::size_t at = text.size() - 1;
  while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | code_point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | code_point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace monge::train
