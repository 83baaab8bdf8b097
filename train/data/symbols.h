// Characters that stand for the tokens of a synthetic language.
#pragma once

#include <cstddef>
#include <string>

namespace monge::train {

/// The largest vocabulary that can be shown.
inline constexpr int max_symbols = 512;

/// `n` <= max_symbols printable characters: letters, digits, accented Latin letters.
std::u32string readable_symbols(std::size_t n);

}  // namespace monge::train
