// Arithmetic on the tensors of a device, so that rules read like their formulas. Every function is a kernel call or
// two; none waits for the device.
//
// A result goes into `out`, which may be an operand except in matrix products and transposes, and is a new tensor where
// `out` is left out. A scalar that the device computes is a tensor of one element.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/tensor.h"

namespace monge::optim {

// --- elementwise ---
/// Beside a tensor a: a tensor of its shape, of a suffix of it (repeated) or of one element, or a constant.
class Operand {
 public:
  Operand(const Tensor& tensor) : tensor_(tensor) {}  // NOLINT(google-explicit-constructor)
  Operand(double constant) : constant_(constant) {}   // NOLINT(google-explicit-constructor)
  /// As a tensor with the dtype and device of `a`.
  Tensor beside(const Tensor& a) const;

 private:
  Tensor tensor_;
  std::optional<double> constant_;
};

Tensor add(const Tensor& a, const Operand& b, Tensor out = {});
Tensor mul(const Tensor& a, const Operand& b, Tensor out = {});
Tensor square(const Tensor& a);
/// a / b, and 0 where b is 0. All f32 (reference: f64), as in the functions after this one.
Tensor div(const Tensor& a, const Operand& b, Tensor out = {});
Tensor min(const Tensor& a, const Operand& b, Tensor out = {});
Tensor max(const Tensor& a, const Operand& b, Tensor out = {});
Tensor sqrt(const Tensor& a, Tensor out = {});
/// 1, 0 or -1.
Tensor sign(const Tensor& a);
/// 1 where a > 0, else 0.
Tensor is_positive(const Tensor& a);
/// a where a > 0, else the constant.
Tensor positive_or(const Tensor& a, double otherwise);

// --- linear combinations ---
void copy(const Tensor& x, const Tensor& out);
void fill(const Tensor& out, double value);
/// A tensor of one element, with the dtype and device of `like`.
Tensor scalar(double value, const Tensor& like);
Tensor scale(const Tensor& x, double a, Tensor out = {});
/// y = a x + y. y must not be x, here and below.
void axpy(double a, const Tensor& x, const Tensor& y);
/// y = a x + b y.
void axpby(double a, const Tensor& x, double b, const Tensor& y);
/// The exponential moving average m = decay m + (1 - decay) x. State of a rule changes by a step instead (Guarded in
/// rule.h).
void update_average(const Tensor& m, double decay, const Tensor& x);

// --- reductions ---
Tensor dot(const Tensor& a, const Tensor& b);
/// The root of the sum of squares.
Tensor norm(const Tensor& x);
Tensor mean(const Tensor& x);
/// The root of the mean of squares.
Tensor rms(const Tensor& x);
/// min(1, most / size): what brings something of this size, a scalar, down to `most`.
Tensor clip_factor(double most, const Tensor& size);
/// The mean of each row of x (R, C), (R), and the mean and sum of each column, (C).
Tensor row_means(const Tensor& x);
Tensor column_means(const Tensor& x);
Tensor column_sums(const Tensor& x);
/// Element r of x (R) repeated over row r of (R, columns).
Tensor repeat_columns(const Tensor& x, std::int64_t columns);

// --- matrices (R, C) ---
/// A matrix in a product, or its transpose. An undefined one stands for I in a product of three.
struct Factor {
  Factor(const Tensor& of, bool transpose = false) : matrix(of), transposed(transpose) {}  // NOLINT: implicit
  Tensor matrix;
  bool transposed;
};
inline Factor transposed(const Tensor& matrix) { return {matrix, true}; }

/// out = a b, of two matrices or two batches (N, R, C) of them.
void matmul(const Factor& a, const Factor& b, const Tensor& out);
/// out = out + a b.
void add_matmul(const Factor& a, const Factor& b, const Tensor& out);
/// out = left x right.
void matmul(const Factor& left, const Tensor& x, const Factor& right, const Tensor& out);

Tensor transpose(const Tensor& x, Tensor out = {});
/// Columns [begin, end) of x; x itself when these are all.
Tensor slice_columns(const Tensor& x, std::int64_t begin, std::int64_t end);
/// The rows of x in this order.
Tensor gather_rows(const Tensor& x, const std::vector<std::int32_t>& order);
/// I of shape (n, n), or N of them (N, n, n), in the optimizer's memory.
Tensor identity(const Shape& shape, DType dtype, Device device);

}  // namespace monge::optim
