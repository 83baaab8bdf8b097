// A random stream as kernels take it: by value, the step read on the device.
#pragma once

#include <array>
#include <cmath>

#include "core/cuda/gpu.h"
#include "core/random.h"

namespace monge::MONGE_GPU {

struct Draw {
  std::uint64_t seed;
  std::uint32_t stream;
  const std::int32_t* step;  // device scalar, or null for 0

  /// The words of elements 4 block .. 4 block + 3.
  __device__ __forceinline__ std::array<std::uint32_t, 4> words(std::int64_t block) const {
    return random_words(seed, stream, step == nullptr ? 0u : static_cast<std::uint32_t>(__ldg(step)),
                        static_cast<std::uint64_t>(block));
  }
  __device__ __forceinline__ std::uint32_t word(std::int64_t i) const { return words(i / 4)[i % 4]; }
};

inline Draw draw_of(const Random& random) {
  return {random.seed, random.stream, random.step ? random.step.data_as<std::int32_t>() : nullptr};
}

struct Dropout {
  Draw draw;
  std::uint32_t least;  // to_unit(word) >= p means word >> 8 >= least
  float keep;           // 1 / (1 - p)

  /// What an element is multiplied by.
  __device__ __forceinline__ float factor(std::uint32_t word) const { return word >> 8 >= least ? keep : 0.0f; }
};

inline Dropout dropout_of(const Random& random, double p) {
  return {draw_of(random), static_cast<std::uint32_t>(std::ceil(p * 0x1p24)), static_cast<float>(1.0 / (1.0 - p))};
}

}  // namespace monge::MONGE_GPU
