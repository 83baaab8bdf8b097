// What random draws of the reference backend share.
#pragma once

#include <cstdint>

#include "core/random.h"

namespace monge {

/// The random word of element `i` of a draw.
inline std::uint32_t word_of(const Random& random, std::int64_t i) {
  const auto step = random.step ? static_cast<std::uint32_t>(*random.step.data_as<std::int32_t>()) : 0u;
  const auto index = static_cast<std::uint64_t>(i);
  return random_words(random.seed, random.stream, step, index / 4)[index % 4];
}

/// What dropout multiplies element `i` by: 0 with probability p, 1 / (1 - p) otherwise.
inline double dropout_factor(const Random& random, double p, std::int64_t i) {
  return to_unit(word_of(random, i)) >= p ? 1.0 / (1.0 - p) : 0.0;
}

}  // namespace monge
