#include "core/kernel/call.h"

#include <algorithm>
#include <functional>
#include <stdexcept>

#include "core/kernel/need.h"

namespace monge::kernel {
namespace {

DType f32_of(Device device) { return device.kind == DeviceKind::reference ? DType::f64 : DType::f32; }

bool is_number(DType t, Device device) {
  return device.kind == DeviceKind::reference ? t == DType::f64 : t == DType::f32 || t == DType::bf16;
}

bool overlap(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return false;
  const auto* const first = a.data_as<std::byte>();
  const auto* const second = b.data_as<std::byte>();
  const std::less<> before;
  return before(first, second + b.bytes()) && before(second, first + a.bytes());
}

}  // namespace

Call::Call(const char* name, Device device, std::initializer_list<Arg> args)
    : name_(name), device_(device), size_(args.size()) {
  std::copy(args.begin(), args.end(), args_.begin());
  DType number = DType::i32;  // until the first number is seen
  for (const Arg& arg : args) {
    if (arg.tensor->defined()) {
      need(*this, arg.tensor->device() == device, "{} is on another device", arg.name);
      check_dtype(arg, number);
    } else {
      need(*this, arg.optional, "{} is missing", arg.name);
    }
  }
}

void Call::apart(const char* name, const Tensor& out, const Tensor& in) const {
  need(*this, !overlap(out, in), "{} overlaps an input or another output", name);
}

void Call::apart_or_same(const char* name, const Tensor& out, const Tensor& in) const {
  need(*this, out.same_memory(in) || !overlap(out, in), "{} overlaps an input without being the same tensor", name);
}

void Call::same_shape(const char* name, const Tensor& t, const Tensor& as) const {
  need(*this, !t.defined() || t.shape() == as.shape(), "{} has the wrong shape", name);
}

void Call::matrix(const char* name, const Tensor& t, std::int64_t rows, std::int64_t columns) const {
  need(*this, !t.defined() || (t.shape().rows() == rows && t.shape().last() == columns), "{} must be ({}, {})", name,
       rows, columns);
}

void Call::count(const char* name, const Tensor& t, std::int64_t n) const {
  need(*this, !t.defined() || t.numel() == n, "{} must have {} elements", name, n);
}

profile::KernelCall Call::description() const {
  profile::KernelCall call{.name = name_, .operands = {}, .flops = 0.0};
  call.operands.reserve(size_);
  for (std::size_t i = 0; i < size_; ++i) {
    const auto& [name, tensor, type, optional, traffic] = args_[i];
    if (!tensor->defined() || traffic == Traffic::uncounted) continue;
    call.operands.push_back({name, tensor->shape(), tensor->dtype(), traffic == Traffic::twice ? 2 : 1});
  }
  return call;
}

void Call::check_dtype(const Arg& arg, DType& number) const {
  const DType t = arg.tensor->dtype();
  switch (arg.type) {
    case Type::number:
    case Type::wide_number:
      need(*this, is_number(t, device_), "{} must be {}", arg.name,
           device_.kind == DeviceKind::reference ? "f64" : "f32 or bf16");
      if (number == DType::i32) number = t;
      need(*this, t == number || (arg.type == Type::wide_number && t == f32_of(device_)), "{} must be {}", arg.name,
           name_of(number));
      return;
    case Type::f32: need(*this, t == f32_of(device_), "{} must be {}", arg.name, name_of(f32_of(device_))); return;
    case Type::bf16:
      need(*this, t == DType::bf16 && device_.kind != DeviceKind::reference, "{} must be bf16, or none on reference",
           arg.name);
      return;
    case Type::i32: need(*this, t == DType::i32, "{} must be i32", arg.name); return;
    case Type::any:
      need(*this, t == DType::i32 || is_number(t, device_), "{} has a dtype this device lacks", arg.name);
      return;
  }
}

void Call::fail(const std::string& reason) const {
  std::string tensors;
  for (std::size_t i = 0; i < size_; ++i) {
    const Tensor& tensor = *args_[i].tensor;
    if (!tensor.defined()) continue;
    tensors +=
        fmt::format("{}{} {} {}", tensors.empty() ? "" : ", ", args_[i].name, tensor.shape(), name_of(tensor.dtype()));
    if (tensor.device() != device_) tensors += " on " + tensor.device().str();
  }
  throw std::invalid_argument(fmt::format("[{}] {}: {} on {}", name_, reason, tensors, device_.str()));
}

}  // namespace monge::kernel
