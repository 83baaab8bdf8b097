// Which random stream is for what: no two uses of one seed may share a stream.
#pragma once

#include <cstdint>

namespace monge::nn {

inline constexpr std::uint32_t init_stream = 0x10000000;     // + index of the parameter
inline constexpr std::uint32_t dropout_stream = 0x20000000;  // + index of the dropout site
inline constexpr std::uint32_t label_stream = 0x80000000;    // + index of the chunk of the head
inline constexpr std::uint32_t probe_stream = 0x70000000;    // + index of the attention layer; the seed is the step

}  // namespace monge::nn
