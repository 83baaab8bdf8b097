// The memory and pointwise kernels of a device against the reference backend.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/kernels.h"

namespace monge {
namespace {

using test::some_rows;
using test::some_widths;
using test::tested;
using Tensors = std::vector<Tensor>;

class ElementwiseKernels : public test::Kernels {};
MONGE_KERNEL_TESTS(ElementwiseKernels);

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST_P(ElementwiseKernels, CopyRoundsLikeTheScalarConversion) {
  std::vector<double> values{0.0, -0.0, inf, -inf, nan, 3.4e38, -3.39e38, 1e-40};
  for (std::uint32_t i = 0; i < 300; ++i) {  // every kind of tie and its neighbours
    values.push_back(std::bit_cast<float>(0x3f800000u + i * 0x4000u));
    values.push_back(std::bit_cast<float>(0x3f800000u + i * 0x4000u + 1));
  }
  const auto n = static_cast<std::int64_t>(values.size());
  const Tensor wide = Tensor::from(values, {n}, DType::f32, tested);
  const Tensor narrow = Tensor::empty({n}, DType::bf16, tested), back = Tensor::empty({n}, DType::f32, tested);
  backend_of(tested).copy({.from = wide, .to = narrow});
  backend_of(tested).copy({.from = narrow, .to = back});
  test::expect_rounded_copy(narrow, wide);
  const auto narrow_values = test::elements<bf16>(narrow);
  const auto back_values = test::elements<float>(back);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(back_values[i]), std::uint32_t{narrow_values[i].bits} << 16);
  }
}

TEST_P(ElementwiseKernels, CopyAndFillOfEveryLength) {
  for (const std::int64_t n : {std::int64_t{0}, std::int64_t{1}, std::int64_t{33}, std::int64_t{40001}}) {
    const Tensor x = random({n}, 1), y = blank({n});
    backend_of(tested).copy({.from = x, .to = y});
    EXPECT_EQ(x.values(), y.values());
    backend_of(tested).fill({.x = y, .value = 0.5});
    EXPECT_EQ(y.values(), std::vector<double>(static_cast<std::size_t>(n), 0.5));
    const Tensor ids = Tensor::empty({n}, DType::i32, tested), same = Tensor::empty({n}, DType::i32, tested);
    backend_of(tested).fill({.x = ids, .value = -7.0});
    backend_of(tested).copy({.from = ids, .to = same});
    EXPECT_EQ(same.values(), std::vector<double>(static_cast<std::size_t>(n), -7.0));
  }
}

TEST_P(ElementwiseKernels, AddAndMulRepeatTheSecondArgument) {
  const auto run = [&](const Shape& shape, const Shape& b_shape) {
    const Tensor a = random(shape, 1), b = random(b_shape, 2);
    compare({a, b, blank(shape)}, {2},
            [](Backend& d, const Tensors& t) { d.add({.a = t[0], .b = t[1], .out = t[2]}); });
    compare({a, b, blank(shape)}, {2},
            [](Backend& d, const Tensors& t) { d.mul({.a = t[0], .b = t[1], .out = t[2]}); });
    compare({a, b}, {0}, [](Backend& d, const Tensors& t) { d.add({.a = t[0], .b = t[1], .out = t[0]}); });
  };
  for (const std::int64_t r : some_rows) {
    for (const std::int64_t c : some_widths) {
      run({r, c}, {r, c});
      run({r, c}, {c});
      run({r, c}, {1});
    }
  }
  run({2, 3, 5, 7}, {5, 7});
  run({40001}, {40001});
  run({40001}, {1});
}

TEST(Pointwise, EveryFunctionMatchesReference) {
  const auto numbers = [](const Shape& shape, std::uint64_t seed) {
    std::vector<double> values = test::random_values(shape.numel(), seed);
    for (std::size_t i = 0; i < values.size(); i += 3) values[i] = i % 2 == 0 ? 0.0 : -0.0;
    return values;
  };
  const auto expect_same = [&](kernel::Pointwise::Function function, const Shape& shape, const Shape& b_shape) {
    std::vector<double> a_values = numbers(shape, 1);
    if (function == kernel::Pointwise::root) {
      for (double& v : a_values) v = std::abs(v);
    }
    std::vector<std::vector<double>> results;
    for (const Device device : {tested, test::reference}) {
      const DType dtype = backend_of(device).default_float();
      const Tensor a = Tensor::from(a_values, shape, dtype, device);
      const Tensor b = kernel::Pointwise{.function = function}.takes_two()
                           ? Tensor::from(numbers(b_shape, 2), b_shape, dtype, device)
                           : Tensor();
      const Tensor out = Tensor::empty(shape, dtype, device);
      backend_of(device).pointwise({.function = function, .a = a, .b = b, .out = out});
      backend_of(device).pointwise({.function = function, .a = a, .b = b, .out = a});  // in place
      EXPECT_EQ(a.values(), out.values());
      results.push_back(out.values());
    }
    EXPECT_TRUE(test::close(results[0], results[1], 1e-6)) << static_cast<int>(function) << shape.str();
  };
  for (const kernel::Pointwise::Function function :
       {kernel::Pointwise::divide, kernel::Pointwise::minimum, kernel::Pointwise::maximum, kernel::Pointwise::root,
        kernel::Pointwise::sign, kernel::Pointwise::positive}) {
    for (const std::int64_t r : some_rows) {
      for (const std::int64_t c : some_widths) {
        expect_same(function, {r, c}, {r, c});
        if (!kernel::Pointwise{.function = function}.takes_two()) continue;
        expect_same(function, {r, c}, {c});
        expect_same(function, {r, c}, {1});
      }
    }
  }
}

TEST_P(ElementwiseKernels, ScaleAndAddScaled) {
  for (const std::int64_t n : {1, 2, 7, 16, 33, 65, 257, 40001}) {
    const Tensor x = random({n}, 1);
    compare({x, blank({n})}, {1},
            [](Backend& d, const Tensors& t) { d.scale({.x = t[0], .factor = -0.3, .out = t[1]}); });
    compare({x.clone()}, {0}, [](Backend& d, const Tensors& t) { d.scale({.x = t[0], .factor = 3.0, .out = t[0]}); });
    compare({x, random({n}, 2)}, {1},
            [](Backend& d, const Tensors& t) { d.add_scaled({.x = t[0], .factor = 0.7, .y = t[1]}); });
    const Tensor wide = test::random_tensor({n}, 3, DType::f32, tested);
    compare({x, wide}, {1}, [](Backend& d, const Tensors& t) { d.add_scaled({.x = t[0], .factor = 0.7, .y = t[1]}); });
  }
}

constexpr Activation activations[] = {Activation::none, Activation::gelu, Activation::gelu_tanh,
                                      Activation::silu, Activation::relu, Activation::sigmoid,
                                      Activation::tanh, Activation::exp,  Activation::abs,
                                      Activation::log,  Activation::sqrt, Activation::reciprocal};
/// Those that are defined for positive numbers alone, or grow without bound at 0.
bool wants_positive(Activation kind) { return kind >= Activation::log && kind != Activation::abs; }
static_assert(std::size(activations) == activation_count);

TEST_P(ElementwiseKernels, ActivationsForwardAndBackward) {
  for (const Activation kind : activations) {
    for (const std::int64_t n : {1, 2, 7, 16, 33, 65, 257, 40001}) {
      std::vector<double> values = test::random_values(n, 1, 0.0, 3.0);
      if (wants_positive(kind)) {
        for (double& v : values) v = std::abs(v) + 0.1;
      }
      const Tensor x = tensor(values, {n}), dy = random({n}, 2);
      compare({x, blank({n})}, {1},
              [&](Backend& d, const Tensors& t) { d.activate({.function = kind, .x = t[0], .y = t[1]}); });
      compare({x, dy, blank({n})}, {2}, [&](Backend& d, const Tensors& t) {
        d.activate_backward({.function = kind, .x = t[0], .dy = t[1], .dx = t[2]});
      });
      compare({x, dy.clone()}, {1}, [&](Backend& d, const Tensors& t) {
        d.activate_backward({.function = kind, .x = t[0], .dy = t[1], .dx = t[1]});
      });
      compare({x, dy, blank({n}), blank({n})}, {2, 3}, [&](Backend& d, const Tensors& t) {
        d.activate_backward({.function = kind, .x = t[0], .dy = t[1], .dx = t[2], .y = t[3]});
      });
      compare({x.clone(), dy.clone()}, {0, 1}, [&](Backend& d, const Tensors& t) {
        d.activate_backward({.function = kind, .x = t[0], .dy = t[1], .dx = t[1], .y = t[0]});
      });
    }
  }
}

// The tails decay over many orders of magnitude; each value is right on its own, not only next to the largest.
TEST_P(ElementwiseKernels, ActivationsAreAccurateInTheTails) {
  for (const Activation kind : activations) {
    std::vector<double> values;
    for (int i = wants_positive(kind) ? 1 : -1200; i <= 1200; ++i) values.push_back(i * 0.01);
    const auto n = static_cast<std::int64_t>(values.size());
    const Tensor x = tensor(values, {n}), one = blank({n}), y = blank({n}), dx = blank({n});
    backend_of(tested).fill({.x = one, .value = 1.0});
    const Tensor ref_x = test::to_reference(x), ref_one = test::to_reference(one);
    const Tensor ref_y = Tensor::like(ref_x), ref_dx = Tensor::like(ref_x);
    backend_of(tested).activate({.function = kind, .x = x, .y = y});
    backend_of(tested).activate_backward({.function = kind, .x = x, .dy = one, .dx = dx});
    backend_of(test::reference).activate({.function = kind, .x = ref_x, .y = ref_y});
    backend_of(test::reference).activate_backward({.function = kind, .x = ref_x, .dy = ref_one, .dx = ref_dx});
    const auto got = y.values(), want = ref_y.values(), got_slope = dx.values(), want_slope = ref_dx.values();
    const double relative = dtype() == DType::bf16 ? 1e-2 : 2e-5;        // e^-72 from a float exponent: 72 * 2^-24
    const double slack = kind == Activation::gelu_tanh ? 1e-14 : 1e-30;  // the reference forms 1 + tanh
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], relative * std::abs(want[i]) + slack) << name_of(kind) << " at " << values[i];
      ASSERT_NEAR(got_slope[i], want_slope[i], relative * (std::abs(want_slope[i]) + 0.01))
          << name_of(kind) << " slope at " << values[i];
    }
  }
}

TEST_P(ElementwiseKernels, ActivationsOfExtremeValues) {
  const Tensor x = tensor({1e4, -1e4, 1e30, -1e30, 1e-30, 0.0, nan}, {7}), y = blank({7}), dx = blank({7});
  const Tensor one = tensor({1, 1, 1, 1, 1, 1, 1}, {7});
  const auto xs = x.values();
  for (const Activation kind : {Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
    backend_of(tested).activate({.function = kind, .x = x, .y = y});
    backend_of(tested).activate_backward({.function = kind, .x = x, .dy = one, .dx = dx});
    const auto v = y.values(), slope = dx.values();
    EXPECT_EQ(v[0], xs[0]);
    EXPECT_EQ(v[1], 0.0);
    EXPECT_EQ(v[2], xs[2]);
    EXPECT_EQ(v[3], 0.0);
    EXPECT_NEAR(v[4], 0.5 * xs[4], 1e-2 * xs[4]);
    EXPECT_EQ(v[5], 0.0);
    EXPECT_TRUE(std::isnan(v[6]));
    EXPECT_EQ(slope[0], 1.0);
    EXPECT_EQ(slope[1], 0.0);
    EXPECT_EQ(slope[5], 0.5);
    EXPECT_TRUE(std::isnan(slope[6]));
  }
}

TEST_P(ElementwiseKernels, FunctionsOfOneNumberAtTheirEdges) {
  const auto at = [&](Activation kind, double value) {
    const Tensor x = tensor({value}, {1}), y = blank({1});
    backend_of(tested).activate({.function = kind, .x = x, .y = y});
    return y.values()[0];
  };
  for (const Activation kind : activations) EXPECT_TRUE(std::isnan(at(kind, nan))) << name_of(kind);
  EXPECT_EQ(at(Activation::relu, -1e30), 0.0);
  EXPECT_EQ(at(Activation::sigmoid, 1e4), 1.0);
  EXPECT_EQ(at(Activation::sigmoid, -1e4), 0.0);
  EXPECT_EQ(at(Activation::tanh, 1e4), 1.0);
  EXPECT_EQ(at(Activation::tanh, -inf), -1.0);
  EXPECT_EQ(at(Activation::exp, 1e4), inf);
  EXPECT_EQ(at(Activation::exp, -1e4), 0.0);
  EXPECT_EQ(at(Activation::log, 0.0), -inf);
  EXPECT_EQ(at(Activation::log, 1.0), 0.0);
  EXPECT_EQ(at(Activation::log, inf), inf);
  EXPECT_TRUE(std::isnan(at(Activation::log, -1.0)));
  EXPECT_TRUE(std::isnan(at(Activation::sqrt, -1.0)));
  EXPECT_EQ(at(Activation::sqrt, 0.0), 0.0);
  EXPECT_EQ(at(Activation::abs, -inf), inf);
  EXPECT_EQ(at(Activation::reciprocal, 0.0), inf);
  EXPECT_EQ(at(Activation::reciprocal, -inf), 0.0);
}

TEST_P(ElementwiseKernels, TheSameBitsForAnyThreads) {
  const Tensor x = random({100003}, 1), y = blank({100003});
  test::expect_same_for_any_threads([&] {
    backend_of(tested).activate({.function = Activation::gelu, .x = x, .y = y});
    return y.values();
  });
}

TEST(ElementwiseChecks, NameTheOpTheShapesAndTheDtypes) {
  const Tensor a = Tensor::empty({2, 3}, DType::f32, tested), b = Tensor::empty({2}, DType::f32, tested);
  try {
    backend_of(tested).add({.a = a, .b = b, .out = a});
    FAIL() << "accepted";
  } catch (const std::invalid_argument& e) {
    EXPECT_NE(std::string(e.what()).find("[add]"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("(2, 3) f32"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace monge
