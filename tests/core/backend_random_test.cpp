// The random kernels of a device draw the numbers that core/random.h defines.
#include <gtest/gtest.h>

#include <cmath>

#include "core/kernels.h"

namespace monge {
namespace {

using test::tested;
using Tensors = std::vector<Tensor>;

class RandomKernels : public test::Kernels {
 protected:
  static Random stream(std::uint64_t seed) { return {.seed = seed, .stream = 2, .step = {}}; }
  static Random random_with_step(const Backend& backend) {
    return {.seed = 0x123456789abcdef0ull,
            .stream = 17,
            .step = Tensor::from(std::vector<std::int32_t>{-5}, Shape{}, backend.device())};
  }
};
MONGE_KERNEL_TESTS(RandomKernels);

constexpr std::int64_t lengths[] = {1, 2, 3, 5, 7, 64, 1023, 1025, 16384, 16389, 40001};

TEST_P(RandomKernels, Uniform) {
  for (const std::int64_t n : lengths) {
    compare({blank({n})}, {0}, [](Backend& d, const Tensors& t) {
      d.uniform({.x = t[0], .low = -0.25, .high = 0.75, .random = random_with_step(d)});
    });
    compare({blank({n})}, {0}, [](Backend& d, const Tensors& t) { d.uniform({.x = t[0], .random = stream(3)}); });
  }
}

TEST_P(RandomKernels, Normal) {
  for (const std::int64_t n : lengths) {
    compare({blank({n})}, {0}, [](Backend& d, const Tensors& t) {
      d.normal({.x = t[0], .mean = 0.5, .stddev = 2.0, .random = random_with_step(d)});
    });
  }
}

TEST_P(RandomKernels, Dropout) {
  for (const std::int64_t n : lengths) {
    for (const double p : {0.0, 0.1, 0.5}) {
      const Tensor x = random({n}, 1);
      compare({x, blank({n})}, {1}, [&](Backend& d, const Tensors& t) {
        d.dropout({.x = t[0], .y = t[1], .p = p, .random = random_with_step(d)});
      });
      compare({x}, {0}, [&](Backend& d, const Tensors& t) {
        d.dropout({.x = t[0], .y = t[0], .p = p, .random = random_with_step(d)});
      });
    }
  }
}

// The smallest p drops exactly the words below 2^-24, the kept elements are exactly those with to_unit(word) >= p.
TEST_P(RandomKernels, DropoutKeepsWhatTheContractSays) {
  constexpr std::int64_t n = 4096;
  const Tensor x = blank({n}), y = blank({n}), u = blank({n}, DType::f32);
  backend_of(tested).fill({.x = x, .value = 1.0});
  backend_of(tested).uniform({.x = u, .random = stream(9)});
  const auto unit = u.values();
  for (const double p : {1e-9, unit[5], std::nextafter(unit[5], 1.0), 0.9}) {
    backend_of(tested).dropout({.x = x, .y = y, .p = p, .random = stream(9)});
    const auto kept = y.values();
    for (std::size_t i = 0; i < kept.size(); ++i) ASSERT_EQ(kept[i] != 0.0, unit[i] >= p) << i;
  }
}

TEST_P(RandomKernels, TheSameBitsForAnyThreads) {
  const Tensor x = blank({100003});
  test::expect_same_for_any_threads([&] {
    backend_of(tested).normal({.x = x, .random = stream(5)});
    return x.values();
  });
}

}  // namespace
}  // namespace monge
