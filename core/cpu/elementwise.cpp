// Pointwise kernels: one pass over memory, arithmetic in f32.
#include <cmath>
#include <limits>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/elementwise.cpp"
#include "core/cpu/simd.h"

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// out = f(a, b) where b has n elements for each n of a, or one.
template <class T, class F>
void binary(const Tensor& a, const Tensor& b, const Tensor& out, const F& f) {
  const T* pa = a.data_as<T>();
  const T* pb = b.data_as<T>();
  T* po = out.data_as<T>();
  const std::int64_t total = a.numel(), width = b.numel();
  if (width == total) {
    parallel_elements(total, [&](std::int64_t begin, std::int64_t end)
                                 HWY_ATTR { map(end - begin, po + begin, f, pa + begin, pb + begin); });
  } else if (width == 1) {
    const Floats vb = splat(static_cast<float>(pb[0]));
    parallel_elements(total, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      map(
          end - begin, po + begin, [&](Floats va) HWY_ATTR { return f(va, vb); }, pa + begin);
    });
  } else if (width > 0) {
    parallel_rows(total / width, width, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      for (std::int64_t r = begin; r < end; ++r) map(width, po + r * width, f, pa + r * width, pb);
    });
  }
}

void Add(const kernel::Add& args) {
  with_storage(args.a.dtype(), [&](auto zero) HWY_ATTR {
    binary<decltype(zero)>(args.a, args.b, args.out, [](Floats x, Floats y) HWY_ATTR { return hn::Add(x, y); });
  });
}

void Mul(const kernel::Mul& args) {
  with_storage(args.a.dtype(), [&](auto zero) HWY_ATTR {
    binary<decltype(zero)>(args.a, args.b, args.out, [](Floats x, Floats y) HWY_ATTR { return hn::Mul(x, y); });
  });
}

/// y = f(x...), all of the shape of y.
template <class Y, class F, class... X>
void pointwise(const Tensor& y, const F& f, const X*... x) {
  Y* py = y.data_as<Y>();
  parallel_elements(
      y.numel(), [&](std::int64_t begin, std::int64_t end) HWY_ATTR { map(end - begin, py + begin, f, x + begin...); });
}

void Scale(const kernel::Scale& args) {
  const Floats k = splat(args.factor);
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    pointwise<T>(
        args.out, [&](Floats v) HWY_ATTR { return hn::Mul(k, v); }, args.x.data_as<T>());
  });
}

void AddScaled(const kernel::AddScaled& args) {
  const Floats k = splat(args.factor);
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    using X = decltype(zero);
    with_storage(args.y.dtype(), [&](auto y_zero) HWY_ATTR {
      using Y = decltype(y_zero);
      const auto f = [&](Floats vx, Floats vy) HWY_ATTR { return hn::MulAdd(k, vx, vy); };
      pointwise<Y>(args.y, f, args.x.data_as<X>(), args.y.data_as<const Y>());
    });
  });
}

template <class T>
void calculate(const kernel::Pointwise& args) {
  const Floats zero = splat(0.0), one = splat(1.0);
  const auto of_one = [&](const auto& f) HWY_ATTR { pointwise<T>(args.out, f, args.a.data_as<const T>()); };
  switch (args.function) {
    case kernel::Pointwise::divide:
      return binary<T>(args.a, args.b, args.out,
                       [&](Floats x, Floats y) HWY_ATTR { return hn::IfThenZeroElse(hn::Eq(y, zero), hn::Div(x, y)); });
    case kernel::Pointwise::minimum:
      return binary<T>(args.a, args.b, args.out,
                       [](Floats x, Floats y) HWY_ATTR { return hn::IfThenElse(hn::Lt(y, x), y, x); });
    case kernel::Pointwise::maximum:
      return binary<T>(args.a, args.b, args.out,
                       [](Floats x, Floats y) HWY_ATTR { return hn::IfThenElse(hn::Lt(x, y), y, x); });
    case kernel::Pointwise::root: return of_one([](Floats x) HWY_ATTR { return hn::Sqrt(x); });
    case kernel::Pointwise::sign:
      return of_one([&](Floats x) HWY_ATTR {
        return hn::Sub(hn::IfThenElseZero(hn::Gt(x, zero), one), hn::IfThenElseZero(hn::Lt(x, zero), one));
      });
    case kernel::Pointwise::positive:
      return of_one([&](Floats x) HWY_ATTR { return hn::IfThenElseZero(hn::Gt(x, zero), one); });
  }
}
void Calculate(const kernel::Pointwise& args) {
  with_storage(args.a.dtype(), [&](auto zero) HWY_ATTR { calculate<decltype(zero)>(args); });
}

// --- activations ---

/// An activation and its derivative.
struct ValueAndSlope {
  Floats value, slope;
};

HWY_INLINE ValueAndSlope gelu(Floats x) {
  const NormalAt at = normal_at(x);
  return {hn::Mul(x, at.cdf), hn::MulAdd(x, at.density, at.cdf)};
}

/// (1 + tanh u) / 2 = sigmoid(2 u).
HWY_INLINE ValueAndSlope gelu_tanh(Floats x) {
  constexpr double root = 1.5957691216057308, cubic = 0.044715;  // root: sqrt(8 / pi)
  const Floats x2 = hn::Mul(x, x);
  const Floats s = sigmoid(hn::Mul(x, hn::MulAdd(splat(cubic * root), x2, splat(root))));
  const Floats slope = hn::MulAdd(splat(3.0 * cubic * root), x2, splat(root));
  const Floats bell = hn::Sub(s, hn::Mul(s, s));
  return {hn::Mul(x, s), hn::MulAdd(hn::Mul(x, bell), slope, s)};
}

HWY_INLINE ValueAndSlope silu(Floats x) {
  const Floats s = sigmoid(x);
  return {hn::Mul(x, s), hn::MulAdd(hn::Mul(x, s), hn::Sub(splat(1.0), s), s)};
}

HWY_INLINE Floats relu(Floats x) { return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(f32_tag)), x); }
HWY_INLINE Floats one_if(decltype(hn::Lt(Floats(), Floats())) condition) {
  return hn::IfThenElseZero(condition, splat(1.0));
}
HWY_INLINE Floats reciprocal(Floats x) { return hn::Div(splat(1.0), x); }

/// Highway's logarithm is for numbers > 0.
HWY_INLINE Floats log(Floats x) {
  const Floats zero = hn::Zero(f32_tag), infinity = splat(std::numeric_limits<double>::infinity());
  const Floats inside = hn::IfThenElse(hn::Eq(x, infinity), x, hn::Log(f32_tag, x));
  const Floats outside = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), splat(std::nan("")));
  return hn::IfThenElse(hn::Gt(x, zero), inside, outside);
}

HWY_INLINE ValueAndSlope sigmoid_function(Floats x) { return {sigmoid(x), hn::Mul(sigmoid(x), sigmoid(hn::Neg(x)))}; }

HWY_INLINE ValueAndSlope tanh_function(Floats x) {
  const Floats twice = hn::Add(x, x);
  return {hn::Tanh(f32_tag, x), hn::Mul(splat(4.0), hn::Mul(sigmoid(twice), sigmoid(hn::Neg(twice))))};
}

HWY_INLINE ValueAndSlope abs_function(Floats x) {
  const Floats zero = hn::Zero(f32_tag);
  return {hn::Abs(x), hn::Sub(one_if(hn::Gt(x, zero)), one_if(hn::Lt(x, zero)))};
}

/// Calls f with the function of the kind.
template <class F>
HWY_INLINE void with_activation(Activation kind, const F& f) {
  switch (kind) {
    case Activation::none: return f([](Floats x) HWY_ATTR { return ValueAndSlope{x, splat(1.0)}; });
    case Activation::gelu: return f([](Floats x) HWY_ATTR { return gelu(x); });
    case Activation::gelu_tanh: return f([](Floats x) HWY_ATTR { return gelu_tanh(x); });
    case Activation::silu: return f([](Floats x) HWY_ATTR { return silu(x); });
    case Activation::relu:
      return f([](Floats x) HWY_ATTR { return ValueAndSlope{relu(x), one_if(hn::Gt(x, hn::Zero(f32_tag)))}; });
    case Activation::sigmoid: return f([](Floats x) HWY_ATTR { return sigmoid_function(x); });
    case Activation::tanh: return f([](Floats x) HWY_ATTR { return tanh_function(x); });
    case Activation::exp: return f([](Floats x) HWY_ATTR { return ValueAndSlope{exp(x), exp(x)}; });
    case Activation::log: return f([](Floats x) HWY_ATTR { return ValueAndSlope{log(x), reciprocal(x)}; });
    case Activation::sqrt:
      return f([](Floats x) HWY_ATTR { return ValueAndSlope{hn::Sqrt(x), hn::Div(splat(0.5), hn::Sqrt(x))}; });
    case Activation::abs: return f([](Floats x) HWY_ATTR { return abs_function(x); });
    case Activation::reciprocal:
      return f([](Floats x) HWY_ATTR { return ValueAndSlope{reciprocal(x), hn::Neg(reciprocal(hn::Mul(x, x)))}; });
  }
}

void Activate(const kernel::Activate& args) {
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    with_activation(args.function, [&](auto function) HWY_ATTR {
      pointwise<T>(
          args.y, [&](Floats v) HWY_ATTR { return function(v).value; }, args.x.data_as<const T>());
    });
  });
}

void ActivateBackward(const kernel::ActivateBackward& args) {
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const T *const px = args.x.data_as<T>(), *const pdy = args.dy.data_as<T>();
    T *const pdx = args.dx.data_as<T>(), *const py = args.y ? args.y.data_as<T>() : nullptr;
    with_activation(args.function, [&](auto function) HWY_ATTR {
      parallel_elements(args.x.numel(), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
        each_vector(begin, end, [&](auto read, auto write) HWY_ATTR {
          const ValueAndSlope at = function(read(px));
          write(hn::Mul(at.slope, read(pdy)), pdx);
          if (py != nullptr) write(at.value, py);
        });
      });
    });
  });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(Add);
HWY_EXPORT(Mul);
HWY_EXPORT(Scale);
HWY_EXPORT(AddScaled);
HWY_EXPORT(Calculate);
HWY_EXPORT(Activate);
HWY_EXPORT(ActivateBackward);

void CpuBackend::compute(const kernel::Add& args) { HWY_DYNAMIC_DISPATCH(Add)(args); }

void CpuBackend::compute(const kernel::Mul& args) { HWY_DYNAMIC_DISPATCH(Mul)(args); }

void CpuBackend::compute(const kernel::Scale& args) { HWY_DYNAMIC_DISPATCH(Scale)(args); }

void CpuBackend::compute(const kernel::AddScaled& args) { HWY_DYNAMIC_DISPATCH(AddScaled)(args); }

void CpuBackend::compute(const kernel::Pointwise& args) { HWY_DYNAMIC_DISPATCH(Calculate)(args); }

void CpuBackend::compute(const kernel::Activate& args) { HWY_DYNAMIC_DISPATCH(Activate)(args); }

void CpuBackend::compute(const kernel::ActivateBackward& args) { HWY_DYNAMIC_DISPATCH(ActivateBackward)(args); }

}  // namespace monge::cpu
#endif
