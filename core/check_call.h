// Call: one call of a kernel as the checks see it. Included by the sources of check.h only.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "core/error.h"
#include "core/tensor.h"

namespace monge::check {

/// What the dtype of an argument may be.
enum class Type {
  number,       // float; shared by all numbers of a call
  wide_number,  // the same, or f32 where the numbers are bf16
  f32,          // f32 (reference: f64)
  bf16,
  i32,
  any,
};

struct Arg {
  const char* name = nullptr;
  const Tensor* tensor = nullptr;
  Type type = Type::number;
  bool optional = false;
};

inline Arg optional(const char* name, const Tensor* tensor, Type type = Type::number) {
  return {name, tensor, type, true};
}

inline DType f32_of(Device device) { return device.kind == DeviceKind::reference ? DType::f64 : DType::f32; }

inline bool is_number(DType t, Device device) {
  return device.kind == DeviceKind::reference ? t == DType::f64 : t == DType::f32 || t == DType::bf16;
}

inline bool overlap(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return false;
  const auto* const first = a.data_as<std::byte>();
  const auto* const second = b.data_as<std::byte>();
  const std::less<> before;
  return before(first, second + b.bytes()) && before(second, first + a.bytes());
}

/// One call of a kernel: its name, device and tensors. Construction checks presence, devices and dtypes.
class Call {
 public:
  Call(const char* op, Device device, std::initializer_list<Arg> args) : op_(op), device_(device), size_(args.size()) {
    std::copy(args.begin(), args.end(), args_.begin());
    DType number = DType::i32;  // until the first number is seen
    for (const Arg& arg : args) {
      if (arg.tensor->defined()) {
        need(arg.tensor->device() == device, "{} is on another device", arg.name);
        check_dtype(arg, number);
      } else {
        need(arg.optional, "{} is missing", arg.name);
      }
    }
  }

  /// Throws unless `ok`: the reason, then every tensor of the call.
  template <class... Values>
  void need(bool ok, fmt::format_string<Values...> reason, Values&&... values) const {
    if (!ok) [[unlikely]] {
      fail(fmt::format(reason, std::forward<Values>(values)...));
    }
  }

  void apart(const char* name, const Tensor& out, const Tensor& in) const {
    need(!overlap(out, in), "{} overlaps an input or another output", name);
  }
  void apart_or_same(const char* name, const Tensor& out, const Tensor& in) const {
    need(out.same_memory(in) || !overlap(out, in), "{} overlaps an input without being the same tensor", name);
  }
  void same_shape(const char* name, const Tensor& t, const Tensor& as) const {
    need(!t.defined() || t.shape() == as.shape(), "{} has the wrong shape", name);
  }
  /// `t` read as a matrix is (rows, columns).
  void matrix(const char* name, const Tensor& t, std::int64_t rows, std::int64_t columns) const {
    need(!t.defined() || (t.shape().rows() == rows && t.shape().last() == columns), "{} must be ({}, {})", name, rows,
         columns);
  }
  void count(const char* name, const Tensor& t, std::int64_t n) const {
    need(!t.defined() || t.numel() == n, "{} must have {} elements", name, n);
  }

 private:
  void check_dtype(const Arg& arg, DType& number) const {
    const DType t = arg.tensor->dtype();
    switch (arg.type) {
      case Type::number:
      case Type::wide_number:
        need(is_number(t, device_), "{} must be {}", arg.name,
             device_.kind == DeviceKind::reference ? "f64" : "f32 or bf16");
        if (number == DType::i32) number = t;
        need(t == number || (arg.type == Type::wide_number && t == f32_of(device_)), "{} must be {}", arg.name,
             name_of(number));
        return;
      case Type::f32: need(t == f32_of(device_), "{} must be {}", arg.name, name_of(f32_of(device_))); return;
      case Type::bf16:
        need(t == DType::bf16 && device_.kind != DeviceKind::reference, "{} must be bf16, or none on reference",
             arg.name);
        return;
      case Type::i32: need(t == DType::i32, "{} must be i32", arg.name); return;
      case Type::any:
        need(t == DType::i32 || is_number(t, device_), "{} has a dtype this device lacks", arg.name);
        return;
    }
  }

  [[noreturn]] void fail(const std::string& reason) const {
    std::string tensors;
    for (std::size_t i = 0; i < size_; ++i) {
      const Tensor& tensor = *args_[i].tensor;
      if (!tensor.defined()) continue;
      tensors += fmt::format("{}{} {} {}", tensors.empty() ? "" : ", ", args_[i].name, tensor.shape(),
                             name_of(tensor.dtype()));
      if (tensor.device() != device_) tensors += " on " + tensor.device().str();
    }
    throw std::invalid_argument(fmt::format("[{}] {}: {} on {}", op_, reason, tensors, device_.str()));
  }

  const char* op_;
  Device device_;
  std::array<Arg, 24> args_;
  std::size_t size_;
};

}  // namespace monge::check
