// Sums and their backward of a device against the reference backend.
#include <gtest/gtest.h>

#include <cmath>

#include "core/kernels.h"

namespace monge {
namespace {

using test::tested;
using Tensors = std::vector<Tensor>;

class ReduceKernels : public test::Kernels {};
MONGE_KERNEL_TESTS(ReduceKernels);

struct Sizes {
  std::int64_t outer, n, inner;
};

// Short and long sums, over rows and over columns, below and above one chunk.
const std::vector<Sizes> sizes{{1, 1, 1},     {3, 7, 1},   {65, 33, 1},  {1, 40001, 1}, {2, 200003, 1},
                               {1, 65, 7},    {1, 5, 257}, {3, 7, 33},   {1, 700, 257}, {2, 1500, 65},
                               {1, 3, 40001}, {7, 0, 3},   {1, 70000, 2}};

TEST_P(ReduceKernels, Sum) {
  for (const auto& [outer, n, inner] : sizes) {
    SCOPED_TRACE(testing::Message() << outer << ' ' << n << ' ' << inner);
    const Tensor x = random({outer, n, inner}, 1);
    const auto sum = [&, o = outer, k = n, i = inner](bool accumulate) {
      return [=](Backend& d, const Tensors& t) {
        d.sum({.x = t[0], .outer = o, .n = k, .inner = i, .factor = 0.5, .out = t[1], .accumulate = accumulate});
      };
    };
    const Shape out{outer, inner};
    compare({x, blank(out)}, {1}, sum(false));
    compare({x, random(out, 2)}, {1}, sum(true));
    compare({x, blank(out, DType::f32)}, {1}, sum(false));
    compare({x, test::random_tensor(out, 3, DType::f32, tested)}, {1}, sum(true));
  }
}

// Two million times 0.1, added one by one into a float, would be off by some percent.
TEST_P(ReduceKernels, LongSumsKeepTheirDigits) {
  constexpr std::int64_t n = 1 << 21;
  const Tensor x = blank({n}), total = blank({1}, DType::f32);
  backend_of(tested).fill({.x = x, .value = 0.1});
  backend_of(tested).sum({.x = x, .n = n, .out = total});
  const double element = x.slice(0, 1).item();
  EXPECT_NEAR(total.item(), n * element, 4e-6 * n * element);
}

// f32 in every storage of the model; sums are in double, so huge values do not overflow on the way.
TEST_P(ReduceKernels, Dot) {
  for (const std::int64_t n : {0, 1, 7, 16, 33, 257, 40001, 200003}) {
    for (const double stddev : {1.0, 1e15}) {
      const Tensor a = test::random_tensor({n}, 1, DType::f32, tested, stddev);
      const Tensor b = test::random_tensor({n}, 2, DType::f32, tested, 1e15);
      const Tensor got = blank({1}, DType::f32), expected = Tensor::zeros({1}, DType::f64, test::reference);
      backend_of(tested).dot({.a = a, .b = b, .out = got});
      backend_of(test::reference).dot({.a = test::to_reference(a), .b = test::to_reference(b), .out = expected});
      EXPECT_TRUE(test::close(got, expected, 1e-6)) << n;
      backend_of(tested).dot({.a = b, .b = b, .out = got});
      EXPECT_TRUE(n == 0 || (got.item() > 0.0 && std::isfinite(got.item())));
    }
  }
}

TEST_P(ReduceKernels, Repeat) {
  for (const auto& [outer, n, inner] : sizes) {
    const Tensor x = random({outer, inner}, 1);
    compare({x, blank({outer, n, inner})}, {1}, [o = outer, k = n, i = inner](Backend& d, const Tensors& t) {
      d.repeat({.x = t[0], .outer = o, .n = k, .inner = i, .factor = -1.5, .out = t[1]});
    });
  }
}

TEST_P(ReduceKernels, TheSameBitsForAnyThreads) {
  const Tensor x = random({3000, 257}, 1), columns = blank({257}, DType::f32), total = blank({1}, DType::f32);
  test::expect_same_for_any_threads([&] {
    backend_of(tested).sum({.x = x, .n = 3000, .inner = 257, .out = columns});
    backend_of(tested).sum({.x = x, .n = x.numel(), .out = total});
    auto values = columns.values();
    values.push_back(total.item());
    return values;
  });
}

}  // namespace
}  // namespace monge
