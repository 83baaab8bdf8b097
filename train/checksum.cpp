#include "train/checksum.h"

#include <cstring>
#include <fstream>
#include <vector>

#include "core/error.h"

namespace monge::train {
namespace {

// Every line of `mix` is a bijection of `state` for a given word, and of the word for a given state: what differs in
// one word differs in the end.
std::uint64_t mix(std::uint64_t state, std::uint64_t word) {
  state = (state ^ word) * 0x9E3779B97F4A7C15ull;
  return state ^ (state >> 32);
}

std::uint64_t mix(std::uint64_t state, std::span<const char> bytes) {
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    state = mix(state, word);
  }
  std::uint64_t tail = 0;
  if (!bytes.empty()) std::memcpy(&tail, bytes.data(), bytes.size());
  return bytes.empty() ? state : mix(state, tail);
}

}  // namespace

std::uint64_t checksum(std::span<const char> bytes) { return mix(mix(0, bytes), bytes.size()); }

std::uint64_t file_checksum(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw InputError(fmt::format("cannot read '{}'", file.string()));
  std::vector<char> block(std::size_t{1} << 20);
  std::uint64_t state = 0, size = 0;
  while (in) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    const auto n = static_cast<std::size_t>(in.gcount());
    state = mix(state, std::span<const char>(block.data(), n));
    size += n;
  }
  if (in.bad()) throw InputError(fmt::format("cannot read '{}'", file.string()));
  return mix(state, size);
}

std::string checksum_text(std::uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace monge::train
