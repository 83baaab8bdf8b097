// Call: one call of a kernel, as its check, an error message and a profile see it.
//
// A kernel is a struct of named arguments in one of the headers of this folder, with a function
//   Call check(const Sum& args, Device device);
// that throws std::invalid_argument unless `device` can run the call:
//
//   [matmul] K is 3 in a and 4 in b: a (2, 3) f32, b (4, 5) f32, out (2, 5) f32 on cpu
//
// A check reads shapes, dtypes, devices and addresses, never elements; it allocates nothing unless it fails. The dtypes
// of floats follow from the device: f64 on reference, f32 or bf16 elsewhere; statistics and optimizer state are f32
// there. Backend (core/backend.h) checks every call before the device sees it.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/profile/profile.h"
#include "core/tensor.h"

namespace monge::kernel {

/// What the dtype of an argument may be.
enum class Type : std::uint8_t {
  number,       // float; shared by all numbers of a call
  wide_number,  // the same, or f32 where the numbers are bf16
  f32,          // f32 (reference: f64)
  bf16,
  i32,
  any,
};

/// How often each element of an argument is at least read or written, which a profile counts in bytes.
enum class Traffic : std::uint8_t {
  once,
  twice,      // updated in place
  uncounted,  // small, or read in part: a profile leaves it out
};

/// A tensor of a call and what is asked of it.
struct Arg {
  const char* name;
  const Tensor* tensor;
  Type type;
  bool optional;
  Traffic traffic;

  Arg updated(bool in_place = true) const {
    return {name, tensor, type, optional, in_place ? Traffic::twice : Traffic::once};
  }
  Arg uncounted() const { return {name, tensor, type, optional, Traffic::uncounted}; }
};

inline Arg optional(const char* name, const Tensor* tensor, Type type = Type::number) {
  return {name, tensor, type, true, Traffic::once};
}

/// Construction checks presence, devices and dtypes; core/kernel/need.h checks whatever else a kernel asks for.
class Call {
 public:
  Call(const char* name, Device device, std::initializer_list<Arg> args);

  void apart(const char* name, const Tensor& out, const Tensor& in) const;
  void apart_or_same(const char* name, const Tensor& out, const Tensor& in) const;
  void same_shape(const char* name, const Tensor& t, const Tensor& as) const;
  /// `t` read as a matrix is (rows, columns).
  void matrix(const char* name, const Tensor& t, std::int64_t rows, std::int64_t columns) const;
  void count(const char* name, const Tensor& t, std::int64_t n) const;
  /// Throws: the reason, then every tensor of the call.
  [[noreturn]] void fail(const std::string& reason) const;

  const char* name() const { return name_; }
  /// What a profile shows of the call; no FLOP.
  profile::KernelCall description() const;

 private:
  void check_dtype(const Arg& arg, DType& number) const;

  static constexpr std::size_t most_args = 24;

  const char* name_;
  Device device_;
  std::size_t size_;
  std::array<Arg, most_args> args_;  // the first size_; the rest stays uninitialised, for speed
};

/// What a profile shows of a call. Kernels of products have an overload of their own, which counts their FLOP.
template <class Args>
profile::KernelCall describe(const Call& call, const Args&) {
  return call.description();
}

}  // namespace monge::kernel
