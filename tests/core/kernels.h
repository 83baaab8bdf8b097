// What the tests of the kernels of a device share: every test runs for f32 and bf16, on cpu for each instruction set
// that was compiled and that this processor has, and compares with the reference backend.
#pragma once

#include <hwy/targets.h>
#include <omp.h>

#include <functional>
#include <initializer_list>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "support/tested_device.h"

namespace monge::test {

using Kernel = std::function<void(Backend&, const std::vector<Tensor>&)>;

/// The sizes that meet whole vectors, rests of vectors and both.
inline const std::vector<std::int64_t> some_rows{1, 3, 7, 65};
inline const std::vector<std::int64_t> some_widths{1, 2, 7, 16, 33, 63, 64, 65, 128, 257};

class Kernels : public testing::TestWithParam<std::tuple<DType, std::int64_t>> {
 protected:
  void SetUp() override { use_instruction_set(std::get<1>(GetParam())); }
  void TearDown() override { use_instruction_set(0); }

  static DType dtype() { return std::get<0>(GetParam()); }
  static double tolerance() { return dtype() == DType::bf16 ? 1e-2 : 1e-5; }

  static Tensor random(const Shape& shape, std::uint64_t seed, double stddev = 1.0) {
    return random_tensor(shape, seed, dtype(), tested, stddev);
  }
  static Tensor tensor(const std::vector<double>& values, const Shape& shape) {
    return Tensor::from(values, shape, dtype(), tested);
  }
  /// A tensor for a result, full of NaN.
  static Tensor blank(const Shape& shape, DType type) {
    const Tensor x = Tensor::empty(shape, type, tested);
    backend_of(tested).fill({.x = x, .value = std::numeric_limits<double>::quiet_NaN()});
    return x;
  }
  static Tensor blank(const Shape& shape) { return blank(shape, dtype()); }

  /// Runs the kernel on the tested device and, from the same values, on reference, and compares the tensors numbered
  /// `outputs`, where these are defined.
  static void compare(const std::vector<Tensor>& tensors, std::initializer_list<std::size_t> outputs,
                      const Kernel& kernel) {
    std::vector<Tensor> expected;
    for (const Tensor& x : tensors) expected.push_back(to_reference(x));
    kernel(backend_of(tested), tensors);
    kernel(backend_of(reference), expected);
    for (const std::size_t i : outputs) {
      if (!tensors[i]) continue;
      EXPECT_TRUE(close(tensors[i], expected[i], tolerance())) << "tensor " << i << ' ' << tensors[i].shape().str();
    }
  }

 private:
  /// 0: the best one.
  static void use_instruction_set(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();
  }
};

inline std::vector<std::int64_t> instruction_sets() {
  if (tested != cpu) return {0};
  std::vector<std::int64_t> out{HWY_STATIC_TARGET};
#if HWY_ARCH_X86
  for (const std::int64_t target : {HWY_AVX2, HWY_AVX3}) {
    if (hwy::SupportedTargets() & target) out.push_back(target);
  }
#endif
  return out;
}

inline std::string kernel_test_name(const testing::TestParamInfo<Kernels::ParamType>& info) {
  const auto [dtype, target] = info.param;
  return std::string(name_of(dtype)) + "_" + (target == 0 ? "device" : hwy::TargetName(target));
}

/// `run` returns values; they must be the same bits for 1, 2 and 3 threads, and in any order of the threads of a GPU.
inline void expect_same_for_any_threads(const std::function<std::vector<double>()>& run) {
  if (tested != cpu) {
    const auto once = run();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run(), once);
    return;
  }
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto one = run();
  for (const int n : {2, 3}) {
    omp_set_num_threads(n);
    EXPECT_EQ(run(), one) << n << " threads";
  }
  omp_set_num_threads(threads);
}

}  // namespace monge::test

#define MONGE_KERNEL_TESTS(name)                                                                               \
  INSTANTIATE_TEST_SUITE_P(                                                                                    \
      On, name,                                                                                                \
      testing::Combine(testing::Values(DType::f32, DType::bf16), testing::ValuesIn(test::instruction_sets())), \
      test::kernel_test_name)
