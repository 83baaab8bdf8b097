// Philox in vectors: the words of core/random.h, one block for each 64-bit lane. A SIMD header, compiled for each
// instruction set like core/cpu/simd.h, which has to be included before it.
#if defined(MONGE_CORE_CPU_PHILOX_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MONGE_CORE_CPU_PHILOX_H_
#undef MONGE_CORE_CPU_PHILOX_H_
#else
#define MONGE_CORE_CPU_PHILOX_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/cpu/simd.h"
#include "core/random.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// The step that a draw belongs to.
HWY_INLINE std::uint32_t step_of(const Random& random) {
  return random.step ? static_cast<std::uint32_t>(*random.step.data_as<std::int32_t>()) : 0;
}

/// Words are drawn in whole vectors of blocks; a multiple of this on every instruction set.
inline constexpr std::int64_t words_unit = 32;

/// words[0 .. count) = the words of elements first .. first + count of a draw; `first` is a multiple of 4, `count` of
/// words_unit, and `words` is aligned for vectors.
HWY_INLINE void draw_words(const Random& random, std::uint32_t step, std::int64_t first, std::int64_t count,
                           std::uint32_t* words) {
#if HWY_TARGET == HWY_SCALAR
  for (std::int64_t i = 0; i < count; i += 4) {
    const auto block = random_words(random.seed, random.stream, step, static_cast<std::uint64_t>((first + i) / 4));
    std::copy(block.begin(), block.end(), words + i);
  }
#else
  const hn::ScalableTag<std::uint64_t> u64_tag;
  const auto spread = [&](std::uint32_t x) HWY_ATTR { return hn::Set(u64_tag, x); };
  // Only the lower half of each lane counts; MulEven multiplies these halves.
  const auto product = [&](auto x, std::uint32_t factor)
                           HWY_ATTR { return hn::MulEven(hn::BitCast(u32_tag, x), hn::Set(u32_tag, factor)); };
  const auto lower_half = spread(~std::uint32_t{0});
  const auto blocks = static_cast<std::int64_t>(hn::Lanes(u64_tag));
  for (std::int64_t i = 0; i < count; i += 4 * blocks) {
    const auto block = hn::Iota(u64_tag, static_cast<std::uint64_t>((first + i) / 4));
    auto c0 = block, c1 = hn::ShiftRight<32>(block), c2 = spread(step), c3 = spread(random.stream);
    auto key0 = static_cast<std::uint32_t>(random.seed), key1 = static_cast<std::uint32_t>(random.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const auto a = product(c0, 0xD2511F53u), b = product(c2, 0xCD9E8D57u);
      c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(b), c1), spread(key0));
      c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(a), c3), spread(key1));
      c1 = b;
      c3 = a;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    const auto words01 = hn::Or(hn::And(c0, lower_half), hn::ShiftLeft<32>(c1));
    const auto words23 = hn::Or(hn::And(c2, lower_half), hn::ShiftLeft<32>(c3));
    hn::StoreInterleaved2(words01, words23, u64_tag, reinterpret_cast<std::uint64_t*>(words + i));
  }
#endif
}

/// factors_i = what dropout with probability p multiplies an element by that drew words_i: 1 / (1 - p), or 0 where
/// to_unit(word) < p. `count` is a multiple of lanes().
HWY_INLINE void dropout_factors(const std::uint32_t* words, std::int64_t count, double p, float* factors) {
  const auto threshold = hn::Set(i32_tag, static_cast<std::int32_t>(std::ceil(p * 0x1.0p24)));  // in integers
  const Floats kept = splat(1.0 / (1.0 - p));
  for (std::int64_t i = 0; i < count; i += lanes()) {
    const auto upper = hn::BitCast(i32_tag, hn::ShiftRight<8>(hn::LoadU(u32_tag, words + i)));
    const auto drop = hn::RebindMask(f32_tag, hn::Lt(upper, threshold));
    store(hn::IfThenZeroElse(drop, kept), factors + i);
  }
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
