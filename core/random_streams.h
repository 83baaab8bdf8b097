// Which random stream of a seed is for what: no two uses of one seed may share a stream. Each number is the first of
// the streams that its use may count up to.
#pragma once

#include <cstdint>

namespace monge {

inline constexpr std::uint32_t init_stream = 0x10000000;     // the seed is mixed with the parameter's name
inline constexpr std::uint32_t dropout_stream = 0x20000000;  // + index of the dropout site
inline constexpr std::uint32_t training_stream =
    0x30000000;  // + high word of the sequence's index; the counter's step is the low one
inline constexpr std::uint32_t validation_stream = 0x40000000;  // + window
inline constexpr std::uint32_t language_stream = 0x50000000;    // the probabilities of a synthetic language
inline constexpr std::uint32_t sampling_stream = 0x60000000;    // the tokens of a sample
inline constexpr std::uint32_t probe_stream = 0x70000000;       // + index of the attention layer; the seed is the step
inline constexpr std::uint32_t label_stream = 0x80000000;       // + index of the chunk of the head

}  // namespace monge
