// Elementwise kernels. All are bound by memory: one pass, 16 bytes for each load.
#include "core/cuda/activation.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"

namespace monge::MONGE_GPU {
namespace {

struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Multiply {
  __device__ float operator()(float a, float b) const { return a * b; }
};
struct Scale {
  float factor;
  __device__ float operator()(float x) const { return factor * x; }
};
struct AddScaled {
  float factor;
  __device__ float operator()(float x, float y) const { return y + factor * x; }
};
struct Divide {
  __device__ float operator()(float a, float b) const { return b == 0.0f ? 0.0f : a / b; }
};
struct Minimum {
  __device__ float operator()(float a, float b) const { return b < a ? b : a; }
};
struct Maximum {
  __device__ float operator()(float a, float b) const { return a < b ? b : a; }
};
struct Root {
  __device__ float operator()(float x) const { return sqrtf(x); }
};
struct Sign {
  __device__ float operator()(float x) const { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }
};
struct Positive {
  __device__ float operator()(float x) const { return x > 0.0f ? 1.0f : 0.0f; }
};
/// out_i = f(x_i)
template <int W, class T, class F>
__global__ void map_kernel(const T* x, T* out, std::int64_t n, F f) {
  for_each_pack<W>(n, [&](std::int64_t i, int count) { store<W>(out + i, count, each<W>(f, load<W>(x + i, count))); });
}

/// out_i = f(a_i, b_i). No __restrict__: out may be a or b.
template <int W, class A, class B, class F>
__global__ void combine_kernel(const A* a, const B* b, B* out, std::int64_t n, F f) {
  for_each_pack<W>(n, [&](std::int64_t i, int count) {
    store<W>(out + i, count, each<W>(f, load<W>(a + i, count), load<W>(b + i, count)));
  });
}

/// dx_i = f'(x_i) dy_i, and y_i = f(x_i) unless y is null. No __restrict__: dx may be dy, and y may be x.
template <int W, class T, class F>
__global__ void activation_backward_kernel(const T* x, const T* dy, T* dx, T* y, std::int64_t n, F f) {
  for_each_pack<W>(n, [&](std::int64_t i, int count) {
    const Pack<W> value = load<W>(x + i, count);
    const auto slope_times = [&f](float v, float d) { return f.slope(v) * d; };
    store<W>(dx + i, count, each<W>(slope_times, value, load<W>(dy + i, count)));
    if (y != nullptr) store<W>(y + i, count, each<W>(f, value));
  });
}

/// out_i = f(a_i, b_(i mod period)); the period is a multiple of W.
template <int W, class T, class F>
__global__ void broadcast_kernel(const T* a, const T* b, T* out, std::int64_t n, std::int64_t period, F f) {
  for_each_pack<W>(n, [&](std::int64_t i, int count) {
    store<W>(out + i, count, each<W>(f, load<W>(a + i, count), load<W>(b + i % period, count)));
  });
}

template <class F>
void map(Stream stream, const Tensor& x, const Tensor& out, const F& f) {
  visit_float(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    visit_width<T>(aligned_to({&x, &out}, 16 / sizeof(T)), [&](auto width) {
      launch(map_kernel<width, T, F>, elementwise_grid(x.numel(), width), elementwise_block, 0, stream, x.data_as<T>(),
             out.data_as<T>(), x.numel(), f);
    });
  });
}

template <class F>
void combine(Stream stream, const Tensor& a, const Tensor& b, const Tensor& out, const F& f) {
  const std::int64_t n = a.numel(), period = b.numel();
  if (n == 0) return;
  visit_float(a.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    visit_width<T>(aligned_to({&a, &b, &out}, 16 / sizeof(T), n == period ? 0 : period), [&](auto width) {
      if (n == period) {
        launch(combine_kernel<width, T, T, F>, elementwise_grid(n, width), elementwise_block, 0, stream, a.data_as<T>(),
               b.data_as<T>(), out.data_as<T>(), n, f);
      } else {
        launch(broadcast_kernel<width, T, F>, elementwise_grid(n, width), elementwise_block, 0, stream, a.data_as<T>(),
               b.data_as<T>(), out.data_as<T>(), n, period, f);
      }
    });
  });
}

}  // namespace

void CudaBackend::compute(const kernel::Add& args) { combine(runtime_.stream(), args.a, args.b, args.out, Add()); }

void CudaBackend::compute(const kernel::Mul& args) { combine(runtime_.stream(), args.a, args.b, args.out, Multiply()); }

void CudaBackend::compute(const kernel::Scale& args) {
  map(runtime_.stream(), args.x, args.out, Scale{static_cast<float>(args.factor)});
}

void CudaBackend::compute(const kernel::AddScaled& args) {
  const AddScaled f{static_cast<float>(args.factor)};
  if (args.x.dtype() == args.y.dtype()) return combine(runtime_.stream(), args.x, args.y, args.y, f);
  visit_width<float>(aligned_to({&args.x, &args.y}, 4), [&](auto width) {
    launch(combine_kernel<width, bf16, float, AddScaled>, elementwise_grid(args.x.numel(), width), elementwise_block, 0,
           runtime_.stream(), args.x.data_as<bf16>(), args.y.data_as<float>(), args.y.data_as<float>(), args.x.numel(),
           f);
  });
}

void CudaBackend::compute(const kernel::Pointwise& args) {
  switch (args.function) {
    case kernel::Pointwise::divide: return combine(runtime_.stream(), args.a, args.b, args.out, Divide());
    case kernel::Pointwise::minimum: return combine(runtime_.stream(), args.a, args.b, args.out, Minimum());
    case kernel::Pointwise::maximum: return combine(runtime_.stream(), args.a, args.b, args.out, Maximum());
    case kernel::Pointwise::root: return map(runtime_.stream(), args.a, args.out, Root());
    case kernel::Pointwise::sign: return map(runtime_.stream(), args.a, args.out, Sign());
    case kernel::Pointwise::positive: return map(runtime_.stream(), args.a, args.out, Positive());
  }
}

void CudaBackend::compute(const kernel::Activate& args) {
  visit_activation(args.function, [&](auto function) { map(runtime_.stream(), args.x, args.y, function); });
}

void CudaBackend::compute(const kernel::ActivateBackward& args) {
  const std::int64_t n = args.x.numel();
  visit_activation(args.function, [&](auto function) {
    visit_float(args.x.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      visit_width<T>(aligned_to({&args.x, &args.dy, &args.dx, &args.y}, 16 / sizeof(T)), [&](auto width) {
        launch(activation_backward_kernel<width, T, decltype(function)>, elementwise_grid(n, width), elementwise_block,
               0, runtime_.stream(), args.x.data_as<T>(), args.dy.data_as<T>(), args.dx.data_as<T>(),
               args.y ? args.y.data_as<T>() : nullptr, n, function);
      });
    });
  });
}

}  // namespace monge::MONGE_GPU
