#include "train/data/symbols.h"

#include "core/error.h"

namespace monge::train {

std::u32string readable_symbols(std::size_t n) {
  require(n <= max_symbols, "readable_symbols: {} of {}", n, max_symbols);
  std::u32string characters = U"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  // U+00C0 .. U+024F and on to U+02AF are all printable.
  for (char32_t next = 0xC0; characters.size() < n; ++next) characters += next;
  return characters.substr(0, n);
}

}  // namespace monge::train
