// Shape: the sizes of a dense row-major tensor, at most five dimensions, held by value.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace monge {

/// Sizes from the slowest to the fastest dimension. A default Shape is a scalar: no dimensions, one element.
class Shape {
 public:
  static constexpr int max_rank = 5;

  Shape() = default;
  /// Throws std::invalid_argument for more than five dimensions or a negative size.
  Shape(std::initializer_list<std::int64_t> sizes);

  int rank() const { return rank_; }
  /// Size of dimension `i`; negative `i` counts from the last. Throws std::invalid_argument when out of range.
  std::int64_t operator[](int i) const;
  std::int64_t numel() const;
  /// Product of all sizes but the last: the number of rows when the tensor is read as a matrix.
  std::int64_t rows() const;
  /// The last size (1 for a scalar).
  std::int64_t last() const { return rank_ == 0 ? 1 : sizes_[rank_ - 1]; }
  /// The same shape with dimension `i` replaced (negative counts from the last).
  Shape with(int i, std::int64_t size) const;
  /// The shape without dimension `i`.
  Shape without(int i) const;

  bool operator==(const Shape&) const = default;
  /// "(4, 64, 128)"
  std::string str() const;

 private:
  int resolve(int i) const;

  std::array<std::int64_t, max_rank> sizes_{};
  int rank_ = 0;
};

}  // namespace monge
