#include "core/tensor.h"

#include "core/backend.h"
#include "core/error.h"

namespace monge {

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device, Pool pool) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.device_ = device;
  t.storage_ = backend_of(device).memory().allocate(t.bytes(), pool);
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device, Pool pool) {
  Tensor t = empty(shape, dtype, device, pool);
  t.backend().fill({.x = t});
  return t;
}

Tensor Tensor::from(std::span<const double> values, const Shape& shape, DType dtype, Device device, Pool pool) {
  require(static_cast<std::int64_t>(values.size()) == shape.numel(), "[tensor] {} values for shape {}", values.size(),
          shape);
  Tensor t = empty(shape, dtype, device, pool);
  const auto upload = [&]<class T>(T) {
    std::vector<T> host;
    host.reserve(values.size());
    for (const double v : values) {
      if constexpr (std::is_same_v<T, bf16>) {
        host.push_back(bf16(static_cast<float>(v)));
      } else {
        host.push_back(static_cast<T>(v));
      }
    }
    t.backend().copy_from_host({.from = host.data(), .to = t});
  };
  switch (dtype) {
    case DType::f32: upload(float{}); break;
    case DType::bf16: upload(bf16{}); break;
    case DType::i32: upload(std::int32_t{}); break;
    case DType::f64: upload(double{}); break;
  }
  return t;
}

Tensor Tensor::from(std::span<const std::int32_t> values, const Shape& shape, Device device, Pool pool) {
  require(static_cast<std::int64_t>(values.size()) == shape.numel(), "[tensor] {} values for shape {}", values.size(),
          shape);
  Tensor t = empty(shape, DType::i32, device, pool);
  t.backend().copy_from_host({.from = values.data(), .to = t});
  return t;
}

Tensor Tensor::like(const Tensor& other, Pool pool) {
  return empty(other.shape(), other.dtype(), other.device(), pool);
}

void Tensor::refuse_type(DType asked) const {
  throw std::invalid_argument(
      fmt::format("[data_as] elements of {} are read as {}; an op has to be written for the dtype of its tensors",
                  name_of(dtype_), name_of(asked)));
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape.numel() != numel()) [[unlikely]] {
    throw std::invalid_argument(
        fmt::format("[reshape] {} has {} elements, {} has {}", shape_, numel(), shape, shape.numel()));
  }
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::slice(std::int64_t begin, std::int64_t end) const {
  if (rank() < 1 || begin < 0 || begin > end || end > shape_[0]) [[unlikely]] {
    throw std::invalid_argument(fmt::format("[slice] rows [{}, {}) of shape {}", begin, end, shape_));
  }
  const std::int64_t row = shape_[0] == 0 ? 0 : numel() / shape_[0];
  Tensor t = *this;
  t.shape_ = shape_.with(0, end - begin);
  t.offset_ += static_cast<std::size_t>(begin * row) * size_of(dtype_);
  return t;
}

Tensor Tensor::flat_view(std::int64_t begin, const Shape& shape) const {
  if (begin < 0 || begin + shape.numel() > numel()) [[unlikely]] {
    throw std::invalid_argument(fmt::format("[flat_view] elements from {} as {} of {}", begin, shape, shape_));
  }
  Tensor t = *this;
  t.shape_ = shape;
  t.offset_ += static_cast<std::size_t>(begin) * size_of(dtype_);
  return t;
}

Tensor Tensor::to(DType dtype, Device device) const {
  Tensor out = empty(shape_, dtype, device);
  if (device == device_) {
    backend().copy({.from = *this, .to = out});
    return out;
  }
  return from(values(), shape_, dtype, device);
}

std::vector<double> Tensor::values() const {
  require(defined(), "[values] of an undefined tensor");
  std::vector<double> out(static_cast<std::size_t>(numel()));
  const auto download = [&]<class T>(T) {
    std::vector<T> host(out.size());
    backend().copy_to_host({.from = *this, .to = host.data()});
    for (std::size_t i = 0; i < host.size(); ++i) {
      if constexpr (std::is_same_v<T, bf16>) {
        out[i] = static_cast<float>(host[i]);
      } else {
        out[i] = static_cast<double>(host[i]);
      }
    }
  };
  switch (dtype_) {
    case DType::f32: download(float{}); break;
    case DType::bf16: download(bf16{}); break;
    case DType::i32: download(std::int32_t{}); break;
    case DType::f64: download(double{}); break;
  }
  return out;
}

double Tensor::item() const {
  require(numel() == 1, "[item] of a tensor of shape {}", shape_);
  return values().front();
}

}  // namespace monge
