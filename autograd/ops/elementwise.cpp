// Elementwise: arithmetic, functions of one number, dropout.
#include <array>

#include "autograd/ops.h"
#include "autograd/ops/common.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_add("add");
const Op op_mul("mul");
const Op op_scale("scale");
const Op op_maximum("maximum");
const Op op_minimum("minimum");
const Op op_dropout("dropout");
const Op op_cast("cast");

void require_suffix(const Op& op, const Shape& a, const Shape& b) {
  bool fits = b.rank() <= a.rank();
  for (int i = 1; fits && i <= b.rank(); ++i) fits = a[-i] == b[-i];
  require(fits || b.numel() == 1,
          "[{}] {} and {}: the second has the shape of the first, a suffix of it, or one element", op.name(), a, b);
}

/// Adds to the gradient of the repeated operand b: the sum over its repetitions.
void add_over_repeats(Gradients& g, std::size_t input, const Tensor& dy) {
  const auto [db, accumulate] = g.slot(input);
  const std::int64_t n = db.numel();
  dy.backend().sum({.x = dy, .n = n == 0 ? 0 : dy.numel() / n, .inner = n, .out = db, .accumulate = accumulate});
}

/// The ops of the functions of one number, by Activation; `none` is no op.
const std::array op_of_activation = [] {
  const auto op = [](Activation kind) { return Op(std::string(name_of(kind))); };
  return std::array{op(Activation::gelu),    op(Activation::gelu_tanh), op(Activation::silu),      op(Activation::relu),
                    op(Activation::sigmoid), op(Activation::tanh),      op(Activation::exp),       op(Activation::log),
                    op(Activation::sqrt),    op(Activation::abs),       op(Activation::reciprocal)};
}();
static_assert(std::tuple_size_v<decltype(op_of_activation)> + 1 == activation_count);

/// The larger (sign 1) or smaller (sign -1) of a and b: a gets (1 + sign sign(a - b)) / 2 of the gradient.
Var extreme(const Op& op, kernel::Pointwise::Function function, double sign, const Var& a, const Var& b) {
  require_suffix(op, a.shape(), b.shape());
  const Tensor x = a.value(), other = b.value(), y = Tensor::like(x);
  y.backend().pointwise({.function = function, .a = x, .b = other, .out = y});
  return Tape::record(op, y, {a, b}, [=](Gradients& g) {
    Backend& backend = g.out().backend();
    const Tensor minus = Tensor::like(other), share = Tensor::like(x);
    backend.scale({.x = other, .factor = -1.0, .out = minus});
    backend.add({.a = x, .b = minus, .out = share});
    backend.pointwise({.function = kernel::Pointwise::sign, .a = share, .out = share});
    backend.scale({.x = share, .factor = 0.5 * sign, .out = share});
    backend.mul({.a = share, .b = g.out(), .out = share});
    const auto half_plus = [&](double factor) {
      const Tensor d = Tensor::like(x);
      backend.scale({.x = g.out(), .factor = 0.5, .out = d});
      backend.add_scaled({.x = share, .factor = factor, .y = d});
      return d;
    };
    if (g.wants(1)) {
      const Tensor db = half_plus(-1.0);
      if (other.shape() == x.shape()) {
        g.add(1, db);
      } else {
        add_over_repeats(g, 1, db);
      }
    }
    if (g.wants(0)) g.add(0, half_plus(1.0));
  });
}

}  // namespace

Var add(const Var& a, const Var& b) {
  require_suffix(op_add, a.shape(), b.shape());
  const Tensor y = Tensor::like(a.value());
  y.backend().add({.a = a.value(), .b = b.value(), .out = y});
  return Tape::record(op_add, y, {a, b}, [shape = b.shape()](Gradients& g) {
    g.add(0, g.out());
    if (!g.wants(1)) return;
    if (shape == g.out().shape()) {
      g.add(1, g.out());
    } else {
      add_over_repeats(g, 1, g.out());
    }
  });
}

Var mul(const Var& a, const Var& b) {
  require_suffix(op_mul, a.shape(), b.shape());
  const Tensor x = a.value(), factor = b.value();
  const Tensor y = Tensor::like(x);
  y.backend().mul({.a = x, .b = factor, .out = y});
  return Tape::record(op_mul, y, {a, b}, [=](Gradients& g) {
    Backend& backend = g.out().backend();
    if (g.wants(1)) {
      const Tensor db = Tensor::like(x);
      backend.mul({.a = g.out(), .b = x, .out = db});
      if (factor.shape() == x.shape()) {
        g.add(1, db);
      } else {
        add_over_repeats(g, 1, db);
      }
    }
    if (g.wants(0)) {
      const Tensor da = g.reuse_out();
      backend.mul({.a = g.out(), .b = factor, .out = da});
      g.add(0, da);
    }
  });
}

Var sub(const Var& a, const Var& b) { return add(a, scale(b, -1.0)); }
Var div(const Var& a, const Var& b) { return mul(a, reciprocal(b)); }
Var maximum(const Var& a, const Var& b) { return extreme(op_maximum, kernel::Pointwise::maximum, 1.0, a, b); }
Var minimum(const Var& a, const Var& b) { return extreme(op_minimum, kernel::Pointwise::minimum, -1.0, a, b); }

Var scale(const Var& x, double factor) {
  const Tensor y = Tensor::like(x.value());
  y.backend().scale({.x = x.value(), .factor = factor, .out = y});
  return Tape::record(op_scale, y, {x}, [=](Gradients& g) {
    const Tensor dx = g.reuse_out();
    dx.backend().scale({.x = g.out(), .factor = factor, .out = dx});
    g.add(0, dx);
  });
}

Var activation(const Var& x, Activation kind) {
  if (kind == Activation::none) return x;
  const Tensor z = x.value();
  const Tensor y = Tensor::like(z);
  y.backend().activate({.function = kind, .x = z, .y = y});
  return Tape::record(op_of_activation[static_cast<std::size_t>(kind) - 1], y, {x}, [=](Gradients& g) {
    const Tensor dx = g.reuse_out();
    dx.backend().activate_backward({.function = kind, .x = z, .dy = g.out(), .dx = dx});
    g.add(0, dx);
  });
}

Var gelu(const Var& x) { return activation(x, Activation::gelu); }
Var gelu_tanh(const Var& x) { return activation(x, Activation::gelu_tanh); }
Var silu(const Var& x) { return activation(x, Activation::silu); }
Var relu(const Var& x) { return activation(x, Activation::relu); }
Var sigmoid(const Var& x) { return activation(x, Activation::sigmoid); }
Var tanh(const Var& x) { return activation(x, Activation::tanh); }
Var exp(const Var& x) { return activation(x, Activation::exp); }
Var log(const Var& x) { return activation(x, Activation::log); }
Var sqrt(const Var& x) { return activation(x, Activation::sqrt); }
Var abs(const Var& x) { return activation(x, Activation::abs); }
Var reciprocal(const Var& x) { return activation(x, Activation::reciprocal); }

Var cast(const Var& x, DType dtype) {
  return Tape::record(op_cast, x.value().to(dtype, x.value().device()), {x},
                      [](Gradients& g) { add_converted(g, 0, g.out()); });
}

Var dropout(const Var& x, double p, const Random& random) {
  require(p >= 0.0 && p < 1.0, "[dropout] p is {}, which is not in [0, 1)", p);
  if (p == 0.0) return x;
  const Tensor y = Tensor::like(x.value());
  y.backend().dropout({.x = x.value(), .y = y, .p = p, .random = random});
  // The mask is drawn again: the stream gives the same numbers.
  return Tape::record(op_dropout, y, {x}, [=](Gradients& g) {
    const Tensor dx = g.reuse_out();
    dx.backend().dropout({.x = g.out(), .y = dx, .p = p, .random = random});
    g.add(0, dx);
  });
}

}  // namespace monge::autograd
