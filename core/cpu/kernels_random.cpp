// Random kernels: core/random.h says which number an element gets. Philox runs on one block per 64-bit lane.
#include <cmath>

#include "core/check.h"
#include "core/cpu/kernels.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/kernels_random.cpp"
#include "core/cpu/simd.h"

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// Words that are drawn at a time, into a buffer that stays in the first-level cache.
inline constexpr std::int64_t batch_size = 1024;

/// words[0 .. batch_size) = the words of elements first .. first + batch_size of a draw; first is a multiple of 4.
HWY_INLINE void draw_words(const Random& random, std::uint32_t step, std::int64_t first, std::uint32_t* words) {
#if HWY_TARGET == HWY_SCALAR
  for (std::int64_t i = 0; i < batch_size; i += 4) {
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
  for (std::int64_t i = 0; i < batch_size; i += 4 * blocks) {
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

/// f(i, count, words) for batches of elements i .. i + count, with the words of the batch.
template <class F>
void draw(std::int64_t n, const Random& random, const F& f) {
  static_assert(elements_per_chunk % batch_size == 0);
  const std::uint32_t step = random.step ? static_cast<std::uint32_t>(*random.step.data_as<std::int32_t>()) : 0;
  parallel_elements(n, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    HWY_ALIGN std::uint32_t words[batch_size];
    for (std::int64_t i = begin; i < end; i += batch_size) {
      draw_words(random, step, i, words);
      f(i, std::min(batch_size, end - i), words);
    }
  });
}

/// to_unit() of the words.
template <class V>
HWY_INLINE Floats unit(V words) {
  const auto upper = hn::BitCast(i32_tag, hn::ShiftRight<8>(words));
  return hn::Mul(hn::ConvertTo(f32_tag, upper), splat(0x1.0p-24));
}

void Uniform(const Tensor& x, double low, double high, const Random& random) {
  const Floats offset = splat(low), range = splat(high - low);
  with_storage(x.dtype(), [&](auto zero) HWY_ATTR {
    auto* p = x.data_as<decltype(zero)>();
    draw(x.numel(), random, [&](std::int64_t i, std::int64_t count, std::uint32_t* words) HWY_ATTR {
      HWY_ALIGN float values[batch_size];
      for (std::int64_t j = 0; j < batch_size; j += lanes()) {
        store(hn::MulAdd(unit(hn::Load(u32_tag, words + j)), range, offset), values + j);
      }
      map(
          count, p + i, [](Floats v) HWY_ATTR { return v; }, values);
    });
  });
}

void Normal(const Tensor& x, double mean, double stddev, const Random& random) {
  const Floats offset = splat(mean), factor = splat(stddev);
  with_storage(x.dtype(), [&](auto zero) HWY_ATTR {
    auto* p = x.data_as<decltype(zero)>();
    draw(x.numel(), random, [&](std::int64_t i, std::int64_t count, std::uint32_t* words) HWY_ATTR {
      HWY_ALIGN float values[batch_size];
      for (std::int64_t j = 0; j < batch_size; j += 2 * lanes()) {
        auto word0 = hn::Zero(u32_tag), word1 = word0;
        hn::LoadInterleaved2(u32_tag, words + j, word0, word1);
        const Floats log = hn::Log(f32_tag, hn::Sub(splat(1.0), unit(word0)));
        const Floats radius = hn::Mul(factor, hn::Sqrt(hn::Mul(splat(-2.0), log)));
        const Floats angle = hn::Mul(splat(6.283185307179586), unit(word1));
        hn::StoreInterleaved2(hn::MulAdd(radius, hn::Cos(f32_tag, angle), offset),
                              hn::MulAdd(radius, hn::Sin(f32_tag, angle), offset), f32_tag, values + j);
      }
      map(
          count, p + i, [](Floats v) HWY_ATTR { return v; }, values);
    });
  });
}

void Dropout(const Tensor& x, const Tensor& y, double p, const Random& random) {
  const Floats factor = splat(1.0 / (1.0 - p));
  // to_unit(word) >= p, in integers.
  const auto threshold = hn::Set(i32_tag, static_cast<std::int32_t>(std::ceil(p * 0x1.0p24)));
  with_storage(x.dtype(), [&](auto zero) HWY_ATTR {
    const auto* px = x.data_as<const decltype(zero)>();
    auto* py = y.data_as<decltype(zero)>();
    draw(x.numel(), random, [&](std::int64_t i, std::int64_t count, std::uint32_t* words) HWY_ATTR {
      HWY_ALIGN float mask[batch_size];
      for (std::int64_t j = 0; j < batch_size; j += lanes()) {
        const auto upper = hn::BitCast(i32_tag, hn::ShiftRight<8>(hn::Load(u32_tag, words + j)));
        const auto keep = hn::Not(hn::Lt(upper, threshold));
        store(hn::IfThenElseZero(hn::RebindMask(f32_tag, keep), factor), mask + j);
      }
      const auto apply = [](Floats v, Floats m) HWY_ATTR { return hn::Mul(v, m); };
      map(count, py + i, apply, px + i, static_cast<const float*>(mask));
    });
  });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(Uniform);
HWY_EXPORT(Normal);
HWY_EXPORT(Dropout);

void uniform(const Tensor& x, double low, double high, const Random& random) {
  check::uniform(here, x, random);
  HWY_DYNAMIC_DISPATCH(Uniform)(x, low, high, random);
}

void normal(const Tensor& x, double mean, double stddev, const Random& random) {
  check::normal(here, x, random);
  HWY_DYNAMIC_DISPATCH(Normal)(x, mean, stddev, random);
}

void dropout(const Tensor& x, const Tensor& y, double p, const Random& random) {
  check::dropout(here, x, y, p, random);
  HWY_DYNAMIC_DISPATCH(Dropout)(x, y, p, random);
}

}  // namespace monge::cpu
#endif
