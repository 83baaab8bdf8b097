#include "train/checkpoint/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <vector>

#include "core/error.h"

namespace monge::train {
namespace {

/// Bytes in pieces; those of each piece but the last are a multiple of eight.
class Xxh3 {
 public:
  Xxh3() { XXH3_64bits_reset(&state_); }
  void add(std::span<const char> bytes) { XXH3_64bits_update(&state_, bytes.data(), bytes.size()); }
  std::uint64_t value() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

/// The same of checkpoints before XXH3.
class MultiplyXor {
 public:
  void add(std::span<const char> bytes) {
    size_ += bytes.size();
    for (; !bytes.empty(); bytes = bytes.subspan(std::min<std::size_t>(8, bytes.size()))) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), std::min<std::size_t>(8, bytes.size()));
      state_ = mixed(word);
    }
  }
  std::uint64_t value() const { return mixed(size_); }

 private:
  std::uint64_t mixed(std::uint64_t word) const {
    const std::uint64_t product = (state_ ^ word) * 0x9E3779B97F4A7C15ull;
    return product ^ (product >> 32);
  }

  std::uint64_t state_ = 0, size_ = 0;
};

template <class Sum>
std::uint64_t sum_of(const auto& add_to) {
  Sum sum;
  add_to(sum);
  return sum.value();
}
std::uint64_t sum_of(ChecksumAlgorithm algorithm, const auto& add_to) {
  return algorithm == ChecksumAlgorithm::xxh3 ? sum_of<Xxh3>(add_to) : sum_of<MultiplyXor>(add_to);
}

}  // namespace

std::uint64_t checksum(std::span<const char> bytes, ChecksumAlgorithm algorithm) {
  return sum_of(algorithm, [&](auto& sum) { sum.add(bytes); });
}

std::uint64_t file_checksum(const std::filesystem::path& file, ChecksumAlgorithm algorithm) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw InputError(fmt::format("cannot read '{}'", file.string()));
  const std::uint64_t value = sum_of(algorithm, [&](auto& sum) {
    std::vector<char> block(std::size_t{1} << 20);
    while (in) {
      in.read(block.data(), static_cast<std::streamsize>(block.size()));
      sum.add(std::span<const char>(block.data(), static_cast<std::size_t>(in.gcount())));
    }
  });
  if (in.bad()) throw InputError(fmt::format("cannot read '{}'", file.string()));
  return value;
}

std::string checksum_text(std::uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace monge::train
