// Gradient norm and directed steps of a device against the reference backend.
#include <gtest/gtest.h>

#include <cmath>

#include "core/kernels.h"

namespace monge {
namespace {

using test::tested;
using Tensors = std::vector<Tensor>;

/// Updates keep f32 state whatever the storage of the model; the dtype parameter says whether a bf16 copy is written.
class UpdateKernels : public test::Kernels {
 protected:
  static bool with_copy() { return dtype() == DType::bf16; }
  static Tensor f32(const Shape& shape, std::uint64_t seed, double stddev = 1.0) {
    return test::random_tensor(shape, seed, DType::f32, tested, stddev);
  }
  static Tensor control(double step, double clip = 0.7, double finite = 1.0) {
    std::vector<double> slots(Control::size);
    slots[Control::lr] = 1e-2;
    slots[Control::step] = step;
    slots[Control::clip] = clip;
    slots[Control::finite] = finite;
    return Tensor::from(slots, {Control::size}, DType::f32, tested);
  }
  /// The same tensors on reference, which keeps no bf16 copy.
  static Tensors expected_of(const Tensors& tensors, const test::Kernel& kernel) {
    Tensors expected;
    for (const Tensor& x : tensors) expected.push_back(test::to_reference(x));
    kernel(backend_of(test::reference), expected);
    return expected;
  }
};
MONGE_KERNEL_TESTS(UpdateKernels);

constexpr std::int64_t lengths[] = {1, 7, 16, 33, 257, 40001};

TEST_P(UpdateKernels, DirectedStep) {
  for (const std::int64_t n : lengths) {
    for (const double graft : {0.0, 1.0, 0.3}) {
      for (const double kl : {0.0, 1e-6, 1e6}) {
        // Two matrices: parameters after the base rule and before, directions and gradients.
        Tensors t{f32({n}, 1), f32({7}, 2), f32({n}, 3), f32({7}, 4), f32({n}, 5), f32({7}, 6), control(3.0)};
        t.insert(t.end() - 1, {t[4].clone(), t[5].clone()});  // <v, gradient> > 0, as with a gradient of descent
        const Tensor copy = with_copy() ? Tensor::zeros({n}, DType::bf16, tested) : Tensor();
        const auto directed = [&](const Tensor& narrow) {
          return [=](Backend& d, const Tensors& x) {
            kernel::DirectedStep args{.graft = graft, .kl = kl, .control = x[8]};
            args.matrices.push_back({x[0], x[2], x[4], x[6], narrow, 0.5, 0.1});
            args.matrices.push_back({x[1], x[3], x[5], x[7], {}, 1.0, 0.0});
            d.directed_step(args);
          };
        };
        const Tensors expected = expected_of(t, directed({}));
        directed(copy)(backend_of(tested), t);
        for (const std::size_t i : {0, 1}) EXPECT_TRUE(test::close(t[i], expected[i], 1e-6)) << n << ' ' << i;
        if (copy) test::expect_rounded_copy(copy, t[0]);
      }
    }
  }
}

// The rule's own step is small beside the parameters, as in training; its length is kept all the same.
TEST_P(UpdateKernels, DirectedStepGraftsTheLengthOfASmallStep) {
  constexpr std::int64_t n = 40001;
  const Tensor before = f32({n}, 1), param = before.clone(), rule = f32({n}, 2, 1e-3), direction = f32({n}, 3, 50.0);
  Backend& backend = backend_of(tested);
  backend.add_scaled({.x = rule, .y = param});
  backend.directed_step({.matrices = {{.param = param, .before = before, .direction = direction, .gradient = rule}},
                         .graft = 1.0,
                         .control = control(1.0)});
  backend.add_scaled({.x = before, .factor = -1.0, .y = param});
  const auto length = [&](const Tensor& x) {
    const Tensor square = Tensor::zeros({1}, DType::f32, tested);
    backend.dot({.a = x, .b = x, .out = square});
    return std::sqrt(square.item());
  };
  EXPECT_NEAR(length(param) / length(rule), 1.0, 1e-6);
}

TEST_P(UpdateKernels, DirectedStepChangesNothingWhenTheGradientIsNotFinite) {
  const Tensor param = f32({33}, 1), before = f32({33}, 2), direction = f32({33}, 3), gradient = f32({33}, 4);
  const Tensor copy = Tensor::zeros({33}, DType::bf16, tested);
  const auto values = param.values();
  backend_of(tested).directed_step(
      {.matrices = {{.param = param, .before = before, .direction = direction, .gradient = gradient, .copy = copy}},
       .graft = 1.0,
       .control = control(2.0, 1.0, 0.0)});
  EXPECT_EQ(param.values(), values);
  EXPECT_EQ(copy.values(), std::vector<double>(33, 0.0));
}

TEST_P(UpdateKernels, ClipFactor) {
  for (const std::int64_t n : lengths) {
    for (const double stddev : {1e-20, 1.0, 1e25}) {  // 1e25 squared overflows a float
      for (const double max_norm : {0.0, 1.0, 1e30}) {
        const Tensors t{f32({n}, 1, stddev), control(1.0)};
        const auto kernel = [=](Backend& d, const Tensors& x) {
          d.clip_factor({.grads = x[0], .max_norm = max_norm, .control = x[1]});
        };
        const auto expected = expected_of(t, kernel)[1].values();
        kernel(backend_of(tested), t);
        const auto got = t[1].values();
        for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6 * std::abs(expected[i]));
      }
    }
  }
}

TEST_P(UpdateKernels, ClipFactorFindsWhatIsNotFinite) {
  for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    for (const std::int64_t at : {0, 20000, 40000}) {
      std::vector<double> values = test::random_values(40001, 1);
      values[static_cast<std::size_t>(at)] = bad;
      const Tensor grads = Tensor::from(values, {40001}, DType::f32, tested), slots = control(1.0);
      backend_of(tested).clip_factor({.grads = grads, .max_norm = 1.0, .control = slots});
      EXPECT_EQ(slots.values()[Control::finite], 0.0);
    }
  }
}

TEST_P(UpdateKernels, TheSameBitsForAnyThreads) {
  const Tensor grads = f32({100003}, 1), before = f32({100003}, 2), after = f32({100003}, 3), slots = control(1.0);
  test::expect_same_for_any_threads([&] {
    backend_of(tested).clip_factor({.grads = grads, .max_norm = 1.0, .control = slots});
    return slots.values();
  });
  test::expect_same_for_any_threads([&] {
    const Tensor param = after.clone();
    backend_of(tested).directed_step(
        {.matrices = {{.param = param, .before = before, .direction = grads, .gradient = grads}},
         .graft = 1.0,
         .kl = 1e-3,
         .control = slots});
    return param.values();
  });
}

}  // namespace
}  // namespace monge
