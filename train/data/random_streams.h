// Which random stream of a seed is for what in data; continues nn/random_streams.h.
#pragma once

#include <cstdint>

namespace monge::train {

inline constexpr std::uint32_t training_stream = 0x30000000;    // + row of the batch; the counter's step is the step
inline constexpr std::uint32_t validation_stream = 0x40000000;  // + window
inline constexpr std::uint32_t language_stream = 0x50000000;    // the probabilities of a synthetic language

}  // namespace monge::train
