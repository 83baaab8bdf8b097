// Random kernels: core/random.h says which number an element gets.
#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/random.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/philox.h"

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// Words that are drawn at a time, into a buffer that stays in the first-level cache.
inline constexpr std::int64_t batch_size = 1024;

/// f(i, count, words) for batches of elements i .. i + count, with the words of the batch.
template <class F>
void draw(std::int64_t n, const Random& random, const F& f) {
  static_assert(elements_per_chunk % batch_size == 0 && batch_size % words_unit == 0);
  const std::uint32_t step = step_of(random);
  parallel_elements(n, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    HWY_ALIGN std::uint32_t words[batch_size];
    for (std::int64_t i = begin; i < end; i += batch_size) {
      draw_words(random, step, i, batch_size, words);
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

void Uniform(const kernel::Uniform& args) {
  const Floats offset = splat(args.low), range = splat(args.high - args.low);
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    auto* p = args.x.data_as<decltype(zero)>();
    draw(args.x.numel(), args.random, [&](std::int64_t i, std::int64_t count, std::uint32_t* words) HWY_ATTR {
      HWY_ALIGN float values[batch_size];
      for (std::int64_t j = 0; j < batch_size; j += lanes()) {
        store(hn::MulAdd(unit(hn::Load(u32_tag, words + j)), range, offset), values + j);
      }
      map(
          count, p + i, [](Floats v) HWY_ATTR { return v; }, values);
    });
  });
}

void Normal(const kernel::Normal& args) {
  const Floats offset = splat(args.mean), factor = splat(args.stddev);
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    auto* p = args.x.data_as<decltype(zero)>();
    draw(args.x.numel(), args.random, [&](std::int64_t i, std::int64_t count, std::uint32_t* words) HWY_ATTR {
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

void Dropout(const kernel::Dropout& args) {
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    const auto* px = args.x.data_as<const decltype(zero)>();
    auto* py = args.y.data_as<decltype(zero)>();
    draw(args.x.numel(), args.random, [&](std::int64_t i, std::int64_t count, std::uint32_t* words) HWY_ATTR {
      HWY_ALIGN float factors[batch_size];
      dropout_factors(words, batch_size, args.p, factors);
      const auto apply = [](Floats v, Floats m) HWY_ATTR { return hn::Mul(v, m); };
      map(count, py + i, apply, px + i, static_cast<const float*>(factors));
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

void CpuBackend::compute(const kernel::Uniform& args) { HWY_DYNAMIC_DISPATCH(Uniform)(args); }

void CpuBackend::compute(const kernel::Normal& args) { HWY_DYNAMIC_DISPATCH(Normal)(args); }

void CpuBackend::compute(const kernel::Dropout& args) { HWY_DYNAMIC_DISPATCH(Dropout)(args); }

}  // namespace monge::cpu
#endif
