// Helpers shared by all tests: reproducible random tensors, moving tensors between devices and comparing their values.
//
//   const Tensor x = random_tensor({3, 65}, 1, DType::bf16, cpu);
//   backend_of(cpu).softmax({.x = x, .y = y});
//   reference.softmax({.x = to_reference(x), .y = expected});       // the same rounded values, in double
//   EXPECT_TRUE(close(y, expected, 1e-2));
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/backend.h"

namespace monge::test {

inline constexpr Device cpu{DeviceKind::cpu, 0};
inline constexpr Device reference{DeviceKind::reference, 0};

/// `n` values of N(mean, stddev), a function of `seed` only.
inline std::vector<double> random_values(std::int64_t n, std::uint64_t seed, double mean = 0.0, double stddev = 1.0) {
  RandomSequence sequence(seed, 0);
  std::vector<double> out(static_cast<std::size_t>(n));
  for (double& x : out) x = mean + stddev * sequence.normal();
  return out;
}

inline Tensor random_tensor(const Shape& shape, std::uint64_t seed, DType dtype = DType::f64, Device device = reference,
                            double stddev = 1.0) {
  return Tensor::from(random_values(shape.numel(), seed, 0.0, stddev), shape, dtype, device);
}

/// i32 values, uniform in [0, n).
inline Tensor random_ids(const Shape& shape, std::int64_t n, std::uint64_t seed, Device device = reference) {
  RandomSequence sequence(seed, 0);
  std::vector<std::int32_t> out(static_cast<std::size_t>(shape.numel()));
  for (auto& x : out) x = static_cast<std::int32_t>(sequence.below(static_cast<std::uint64_t>(n)));
  return Tensor::from(out, shape, device);
}

/// A copy on `device`; floats become `dtype`, integers stay integers, an undefined tensor stays undefined.
inline Tensor on(Device device, DType dtype, const Tensor& x) {
  if (!x.defined()) return x;
  return x.to(is_floating(x.dtype()) ? dtype : x.dtype(), device);
}

/// A copy on the reference device: the same values in double.
inline Tensor to_reference(const Tensor& x) { return on(reference, DType::f64, x); }

/// The elements as they are stored, wherever that is.
template <class T>
std::vector<T> elements(const Tensor& x) {
  std::vector<T> out(static_cast<std::size_t>(x.numel()));
  x.backend().copy_to_host({.from = x, .to = out.data()});
  return out;
}

/// Expects in each element of `copy` (bf16) that of `x` (f32), rounded.
inline void expect_rounded_copy(const Tensor& copy, const Tensor& x) {
  const auto wide = elements<float>(x);
  const auto narrow = elements<bf16>(copy);
  ASSERT_EQ(narrow.size(), wide.size());
  for (std::size_t i = 0; i < wide.size(); ++i) ASSERT_EQ(narrow[i].bits, bf16(wide[i]).bits) << i << ": " << wide[i];
}

/// max |got - expected| / max |expected|, over finite expected values (over 1 when all expected values are zero).
/// Infinite when the sizes differ or when a NaN or infinity stands where the other has none.
inline double max_relative_error(const std::vector<double>& got, const std::vector<double>& expected) {
  constexpr double worst = std::numeric_limits<double>::infinity();
  if (got.size() != expected.size()) return worst;
  double difference = 0.0, largest = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == expected[i] || (std::isnan(got[i]) && std::isnan(expected[i]))) {
      if (std::isfinite(expected[i])) largest = std::max(largest, std::abs(expected[i]));
      continue;
    }
    if (!std::isfinite(got[i]) || !std::isfinite(expected[i])) return worst;
    difference = std::max(difference, std::abs(got[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  return largest == 0.0 ? difference : difference / largest;
}

inline double max_relative_error(const Tensor& got, const Tensor& expected) {
  if (got.shape() != expected.shape()) return std::numeric_limits<double>::infinity();
  return max_relative_error(got.values(), expected.values());
}

/// For EXPECT_TRUE: success when max_relative_error is at most `tolerance`; otherwise names the worst element.
inline testing::AssertionResult close(const std::vector<double>& got, const std::vector<double>& expected,
                                      double tolerance) {
  const double error = max_relative_error(got, expected);
  if (error <= tolerance) return testing::AssertionSuccess();
  auto result = testing::AssertionFailure();
  result << "relative error " << error << " > " << tolerance;
  if (got.size() != expected.size()) return result << ": " << got.size() << " values, expected " << expected.size();
  std::size_t at = 0;
  double largest = -1.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == expected[i]) continue;
    const double difference = std::abs(got[i] - expected[i]);
    const double rank = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
    if (rank > largest) {
      largest = rank;
      at = i;
    }
  }
  return result << " at element " << at << " of " << got.size() << ": got " << got[at] << ", expected " << expected[at];
}

inline testing::AssertionResult close(const Tensor& got, const Tensor& expected, double tolerance) {
  if (got.shape() != expected.shape()) {
    return testing::AssertionFailure() << "shape " << got.shape().str() << ", expected " << expected.shape().str();
  }
  return close(got.values(), expected.values(), tolerance);
}

}  // namespace monge::test
