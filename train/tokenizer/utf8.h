// UTF-8: code points in and out of bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace monge::train {

/// One code point and the number of bytes it takes.
struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 1;
};

/// The code point that starts at byte `at` of `text`. Throws InputError that names the byte and its offset where there
/// is none: a broken or cut sequence, an overlong form, a surrogate, a value above U+10FFFF.
CodePoint code_point_at(std::string_view text, std::size_t at);

/// The same, but the byte itself where there is none.
CodePoint code_point_or_byte(std::string_view text, std::size_t at);

/// Throws InputError, as code_point_at, where a text is no UTF-8.
void check_utf8(std::string_view text);
bool is_utf8(std::string_view text);

/// Where the last code point of `text`, which is UTF-8 and not empty, starts.
std::size_t last_code_point(std::string_view text);

/// Appends the bytes of `code_point`, which must be one that code_point_at can give.
void append_utf8(std::string& out, char32_t code_point);

}  // namespace monge::train
