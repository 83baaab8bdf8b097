// Tensor: a dense, row-major array on a device. A value type: copying shares the storage.
//
// A view is a reshape or a slice of the leading dimension; there are no strides. No autograd state lives here.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/memory.h"
#include "core/shape.h"

namespace monge {

class Tensor {
 public:
  /// An undefined tensor: stands for "none" where an argument is optional.
  Tensor() = default;

  /// Uninitialised memory. Throws OutOfMemory.
  static Tensor empty(const Shape& shape, DType dtype, Device device, Pool pool = Pool::activations);
  static Tensor zeros(const Shape& shape, DType dtype, Device device, Pool pool = Pool::activations);
  /// Copies host values to the device, converting to `dtype`. `values.size()` must be `shape.numel()`.
  static Tensor from(std::span<const double> values, const Shape& shape, DType dtype, Device device,
                     Pool pool = Pool::activations);
  static Tensor from(std::span<const std::int32_t> values, const Shape& shape, Device device, Pool pool = Pool::data);
  /// Uninitialised, with the shape, dtype and device of another tensor.
  static Tensor like(const Tensor& other, Pool pool = Pool::activations);

  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }

  const Shape& shape() const { return shape_; }
  std::int64_t size(int i) const { return shape_[i]; }
  int rank() const { return shape_.rank(); }
  std::int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }
  Backend& backend() const { return backend_of(device_); }

  /// The same elements under another shape of equal numel.
  Tensor reshape(const Shape& shape) const;
  /// Rows [begin, end) of the leading dimension.
  Tensor slice(std::int64_t begin, std::int64_t end) const;
  /// Elements [begin, begin + shape.numel()) of the flat storage of this tensor, read as `shape`.
  Tensor flat_view(std::int64_t begin, const Shape& shape) const;
  /// A new tensor with the same values, converted.
  Tensor to(DType dtype, Device device) const;
  Tensor clone() const { return to(dtype_, device_); }

  /// Waits for the device and copies all values to the host.
  std::vector<double> values() const;
  /// The value of a one-element tensor; waits for the device.
  double item() const;

  /// Address on the device; only backends dereference it.
  void* data() const { return static_cast<std::byte*>(storage_.get()) + offset_; }
  /// Throws std::invalid_argument when the elements are not of type T (std::byte: of any).
  template <class T>
  T* data_as() const {
    if constexpr (!std::is_same_v<T, std::byte>) {
      if (dtype_ != dtype_of<std::remove_const_t<T>>() && defined()) [[unlikely]] {
        refuse_type(dtype_of<std::remove_const_t<T>>());
      }
    }
    return static_cast<T*>(data());
  }
  /// Whether no other tensor shares this storage, so that writing to it surprises nobody.
  bool sole_owner() const { return storage_.use_count() == 1; }
  /// Whether two tensors start at the same address of the same storage.
  bool same_memory(const Tensor& other) const { return defined() && other.defined() && data() == other.data(); }

 private:
  [[noreturn]] void refuse_type(DType asked) const;

  std::shared_ptr<void> storage_;
  std::size_t offset_ = 0;  // bytes
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_;
};

}  // namespace monge
