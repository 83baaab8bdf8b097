// Elementwise kernels. All are bound by memory: one pass, 16 bytes for each load.
#include "core/check.h"
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

void CudaBackend::add(const Tensor& a, const Tensor& b, const Tensor& out) {
  check::add(device(), a, b, out);
  combine(runtime_.stream(), a, b, out, Add());
}

void CudaBackend::mul(const Tensor& a, const Tensor& b, const Tensor& out) {
  check::mul(device(), a, b, out);
  combine(runtime_.stream(), a, b, out, Multiply());
}

void CudaBackend::scale(const Tensor& x, double factor, const Tensor& out) {
  check::scale(device(), x, out);
  map(runtime_.stream(), x, out, Scale{static_cast<float>(factor)});
}

void CudaBackend::add_scaled(const Tensor& x, double factor, const Tensor& y) {
  check::add_scaled(device(), x, y);
  const AddScaled f{static_cast<float>(factor)};
  if (x.dtype() == y.dtype()) return combine(runtime_.stream(), x, y, y, f);
  visit_width<float>(aligned_to({&x, &y}, 4), [&](auto width) {
    launch(combine_kernel<width, bf16, float, AddScaled>, elementwise_grid(x.numel(), width), elementwise_block, 0,
           runtime_.stream(), x.data_as<bf16>(), y.data_as<float>(), y.data_as<float>(), x.numel(), f);
  });
}

void CudaBackend::pointwise(Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out) {
  check::pointwise(device(), function, a, b, out);
  switch (function) {
    case Pointwise::divide: return combine(runtime_.stream(), a, b, out, Divide());
    case Pointwise::minimum: return combine(runtime_.stream(), a, b, out, Minimum());
    case Pointwise::maximum: return combine(runtime_.stream(), a, b, out, Maximum());
    case Pointwise::root: return map(runtime_.stream(), a, out, Root());
    case Pointwise::sign: return map(runtime_.stream(), a, out, Sign());
    case Pointwise::positive: return map(runtime_.stream(), a, out, Positive());
  }
}

void CudaBackend::activation(Activation kind, const Tensor& x, const Tensor& y) {
  check::activation(device(), x, y);
  visit_activation(kind, [&](auto function) { map(runtime_.stream(), x, y, function); });
}

void CudaBackend::activation_backward(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                                      const Tensor& y) {
  check::activation_backward(device(), x, dy, dx, y);
  const std::int64_t n = x.numel();
  visit_activation(kind, [&](auto function) {
    visit_float(x.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      visit_width<T>(aligned_to({&x, &dy, &dx, &y}, 16 / sizeof(T)), [&](auto width) {
        launch(activation_backward_kernel<width, T, decltype(function)>, elementwise_grid(n, width), elementwise_block,
               0, runtime_.stream(), x.data_as<T>(), dy.data_as<T>(), dx.data_as<T>(), y ? y.data_as<T>() : nullptr, n,
               function);
      });
    });
  });
}

}  // namespace monge::MONGE_GPU
