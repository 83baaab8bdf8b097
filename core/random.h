// Random streams: a value depends on (seed, stream, step, index) only, so that every device, any number of threads
// and a resumed run draw the same numbers.
//
// Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "core/tensor.h"

namespace monge {

/// Four random words of counter `counter` under key `key`.
MONGE_HD inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                    std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = 0xD2511F53ull * counter[0];
    const std::uint64_t b = 0xCD9E8D57ull * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

/// Uniform in [0, 1) with 24 bits, exact in float.
MONGE_HD inline float to_unit(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1.0p-24f; }

/// Two independent standard normals from two words (Box & Muller, 1958). The radius is finite: it takes the logarithm
/// of a multiple of 2^-24 in (0, 1]. The normals of elements 2j and 2j + 1 of a draw come from the words of these
/// elements.
MONGE_HD inline std::array<double, 2> normal_pair(std::uint32_t word0, std::uint32_t word1) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - to_unit(word0)));
  const double angle = 6.283185307179586 * to_unit(word1);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

/// One stream of random numbers. Element `i` of a draw uses word i % 4 of the block with counter
/// {low(i / 4), high(i / 4), step, stream} under key = seed.
struct Random {
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;
  /// Optional i32 device scalar, the third counter word: lets a recorded step draw fresh numbers each time.
  Tensor step;
};

/// The four words that elements 4 * block .. 4 * block + 3 of a draw use.
MONGE_HD inline std::array<std::uint32_t, 4> random_words(std::uint64_t seed, std::uint32_t stream, std::uint32_t step,
                                                          std::uint64_t block) {
  return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), step, stream},
                {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

/// Host-side sequence over one stream, for shuffles, sampling and synthetic data.
class RandomSequence {
 public:
  RandomSequence(std::uint64_t seed, std::uint32_t stream, std::uint32_t step = 0)
      : seed_(seed), stream_(stream), step_(step) {}

  std::uint32_t word() {
    if (next_ % 4 == 0) words_ = random_words(seed_, stream_, step_, next_ / 4);
    return words_[next_++ % 4];
  }
  /// Uniform in [0, 1) with 53 bits.
  double uniform() {
    const std::uint64_t high = word() >> 5;
    const std::uint64_t low = word() >> 6;
    return static_cast<double>((high << 26) | low) * 0x1.0p-53;
  }
  /// Uniform integer in [0, n), n >= 1, without modulo bias.
  std::uint64_t below(std::uint64_t n) {
    const std::uint64_t limit = ~std::uint64_t{0} - ~std::uint64_t{0} % n;
    for (;;) {
      const std::uint64_t high = word();
      const std::uint64_t x = (high << 32) | word();
      if (x < limit) return x % n;
    }
  }
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

 private:
  std::uint64_t seed_;
  std::uint32_t stream_;
  std::uint32_t step_;
  std::uint64_t next_ = 0;
  std::array<std::uint32_t, 4> words_{};
};

}  // namespace monge
