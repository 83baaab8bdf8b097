// StridedView: the elements of a tensor in another order, or a part of them. Making one copies nothing; the kernel
// StridedCopy reads and writes through views.
#pragma once

#include <array>

#include "core/tensor.h"

namespace monge {

/// Element (i, j, ...) of `shape` is element offset + i strides[0] + j strides[1] + ... of the tensor's memory.
class StridedView {
 public:
  StridedView() = default;
  /// All of it, as it is.
  StridedView(Tensor tensor);  // NOLINT(google-explicit-constructor): a tensor is a view of itself

  /// Indices [begin, end) of dimension `dim`. Negative dimensions count from the last, here and below.
  StridedView slice(int dim, std::int64_t begin, std::int64_t end) const;
  /// With two dimensions exchanged.
  StridedView transpose(int a, int b) const;

  const Tensor& tensor() const { return tensor_; }
  const Shape& shape() const { return shape_; }
  std::int64_t offset() const { return offset_; }
  std::int64_t stride(int dim) const { return strides_[static_cast<std::size_t>(dim)]; }
  /// Address of the first element on the device.
  template <class T>
  T* data_as() const {
    return tensor_.data_as<T>() + offset_;
  }

 private:
  int resolve(const char* op, int dim) const;

  Tensor tensor_;
  Shape shape_;
  std::int64_t offset_ = 0;
  std::array<std::int64_t, Shape::max_rank> strides_{};
};

}  // namespace monge
