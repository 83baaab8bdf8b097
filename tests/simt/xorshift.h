// The random choice of what happens first where a device promises no order.
#pragma once

#include <bit>
#include <cstdint>

namespace monge::simt {

/// xorshift64* (Vigna 2016): cheap, and good enough to shuffle threads.
class Xorshift {
 public:
  explicit Xorshift(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {
    for (int i = 0; i < 8; ++i) next();
  }
  std::uint32_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32);
  }
  /// Index of one of the bits of `mask` != 0.
  int bit_of(std::uint32_t mask) {
    const int turn = static_cast<int>(next() % 32);
    return (std::countr_zero(std::rotr(mask, turn)) + turn) % 32;
  }

 private:
  std::uint64_t state_;
};

}  // namespace monge::simt
