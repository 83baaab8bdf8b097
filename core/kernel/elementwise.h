// Elementwise kernels. Where two tensors are combined, `b` has the shape of `a`, a suffix of it (repeated), or one
// element.
#pragma once

#include "core/kernel/call.h"

namespace monge {

/// Functions of one number. gelu is x * Phi(x) with the exact normal distribution function, gelu_tanh its approximation
/// (Hendrycks & Gimpel 2016, arXiv:1606.08415); silu is x * sigmoid(x). The slope of relu and abs at 0 is 0.
enum class Activation : std::uint8_t {
  none,
  gelu,
  gelu_tanh,
  silu,
  relu,
  sigmoid,
  tanh,
  exp,
  log,
  sqrt,
  abs,
  reciprocal
};
inline constexpr std::size_t activation_count = 12;
std::string_view name_of(Activation activation);

}  // namespace monge

namespace monge::kernel {

/// out = a + b
struct Add {
  Tensor a, b;
  Tensor out;  // shape of a; may be a (in place)
};

/// out = a * b
struct Mul {
  Tensor a, b;
  Tensor out;  // shape of a; may be a (in place)
};

/// out = factor * x
struct Scale {
  Tensor x;
  double factor = 1.0;
  Tensor out;  // shape of x; may be x (in place)
};

/// y = y + factor * x
struct AddScaled {
  Tensor x;
  double factor = 1.0;
  Tensor y;  // shape of x; may be f32 when x is bf16
};

/// out = function(a) or function(a, b), where NaN may be passed over. What optimizers are made of.
struct Pointwise {
  enum Function : std::uint8_t {
    divide,    // a / b, 0 where b is 0
    minimum,   // min(a, b)
    maximum,   // max(a, b)
    root,      // sqrt(a)
    sign,      // 1, 0 or -1
    positive,  // 1 where a > 0, else 0
  };
  Function function = divide;
  Tensor a;
  Tensor b;    // none for functions of one number
  Tensor out;  // shape of a; may be a (in place)

  bool takes_two() const { return function <= maximum; }
};

/// y = function(x)
struct Activate {
  Activation function = Activation::none;
  Tensor x;
  Tensor y;  // shape of x; may be x (in place)
};

/// dx = function'(x) * dy
struct ActivateBackward {
  Activation function = Activation::none;
  Tensor x, dy;  // of one shape
  Tensor dx;     // may be dy (in place)
  Tensor y;      // none, or receives function(x) again; may be x (in place)
};

Call check(const Add& args, Device device);
Call check(const Mul& args, Device device);
Call check(const Scale& args, Device device);
Call check(const AddScaled& args, Device device);
Call check(const Pointwise& args, Device device);
Call check(const Activate& args, Device device);
Call check(const ActivateBackward& args, Device device);

}  // namespace monge::kernel
