// The characters that stand for bytes in byte-level vocabularies (GPT-2): visible ones for themselves, the other 68
// bytes as U+0100 and on.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace monge::train::hf {

/// The character of a byte, as UTF-8.
const std::string& byte_character(unsigned char byte);

/// The bytes that the characters of a token stand for; nothing where one of them stands for none.
std::optional<std::string> bytes_of(std::string_view token);

}  // namespace monge::train::hf
