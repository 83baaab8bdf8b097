// Layer norm and RMS norm with the residual sum before them.
#include <algorithm>
#include <string>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/cuda/sums.h"

namespace monge::MONGE_GPU {
namespace {

constexpr unsigned norm_warps = 4;                   // rows in a block of the forward kernel
constexpr std::int64_t norm_backward_blocks = 1056;  // eight on each multiprocessor of a large device
constexpr unsigned norm_backward_threads = 512;      // most in a block of the backward kernel

template <class T>
struct NormArguments {
  const T *x, *residual, *gain, *bias;
  T *sum, *y;
  float *mean, *rstd;
  std::int64_t rows, columns;
  float eps;
};

/// A warp for each row. The row is read three times (mean, variance, result), the last two from the first-level cache.
template <int W, class T>
__global__ void norm_kernel(NormArguments<T> a) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * norm_warps + threadIdx.x / warp_width;
  if (row >= a.rows) return;
  const std::int64_t first = threadIdx.x % warp_width * W, at = row * a.columns;
  constexpr std::int64_t step = warp_width * W;
  const float width = static_cast<float>(a.columns);
  const T* x = a.x + at;
  const auto count = [&](std::int64_t c) { return static_cast<int>(min(a.columns - c, std::int64_t{W})); };

  float total = 0.0f;
  for (std::int64_t c = first; c < a.columns; c += step) {
    Pack<W> value = load<W>(x + c, count(c));
    if (a.residual != nullptr) {
      value = each<W>([](float u, float v) { return static_cast<float>(static_cast<T>(u + v)); }, value,
                      load<W>(a.residual + at + c, count(c)));
      store<W>(a.sum + at + c, count(c), value);
    }
    for (int k = 0; k < W; ++k) total += value.at[k];
  }
  if (a.residual != nullptr) x = a.sum + at;  // each lane reads back what it wrote
  const float mean = a.mean == nullptr ? 0.0f : warp_sum(total) / width;

  float squares = 0.0f;
  for (std::int64_t c = first; c < a.columns; c += step) {
    const Pack<W> value = load<W>(x + c, count(c));
    for (int k = 0; k < W; ++k) {  // to a constant, so that the pack stays in registers
      if (k < count(c)) squares += (value.at[k] - mean) * (value.at[k] - mean);
    }
  }
  const float rstd = rsqrtf(warp_sum(squares) / width + a.eps);

  for (std::int64_t c = first; c < a.columns; c += step) {
    Pack<W> value = each<W>([=](float u) { return (u - mean) * rstd; }, load<W>(x + c, count(c)));
    if (a.gain != nullptr) {
      value = each<W>([](float u, float g) { return u * g; }, value, load<W>(a.gain + c, count(c)));
    }
    if (a.bias != nullptr) {
      value = each<W>([](float u, float b) { return u + b; }, value, load<W>(a.bias + c, count(c)));
    }
    store<W>(a.y + at + c, count(c), value);
  }
  if (threadIdx.x % warp_width == 0) {
    if (a.mean != nullptr) a.mean[row] = mean;
    a.rstd[row] = rstd;
  }
}

template <class T>
struct NormBackwardArguments {
  const T *x, *gain, *dy, *dsum;
  const float *mean, *rstd;
  T* dx;
  float *dgain, *dbias;  // (blocks, C) partial sums, or null
  std::int64_t rows, columns;
};

/// A block takes every gridDim-th row, and each of its threads K packs of columns, for which it also sums dgain and
/// dbias over these rows.
template <int W, int K, class T>
__global__ void __launch_bounds__(norm_backward_threads) norm_backward_kernel(NormBackwardArguments<T> a) {
  float* const partial = shared_memory<float>();
  const float width = static_cast<float>(a.columns);
  const auto column = [&](int k) { return (static_cast<std::int64_t>(k) * blockDim.x + threadIdx.x) * W; };
  const auto count = [&](int k) {
    return static_cast<int>(max(min(a.columns - column(k), std::int64_t{W}), std::int64_t{0}));
  };
  Pack<W> dgain[K] = {}, dbias[K] = {};
  for (std::int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const std::int64_t at = row * a.columns;
    const float mean = a.mean == nullptr ? 0.0f : a.mean[row], rstd = a.rstd[row];
    Pack<W> normed[K] = {}, upstream[K] = {};
    float sum_g = 0.0f, sum_gn = 0.0f;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (count(k) == 0) continue;
      const Pack<W> x = load<W>(a.x + at + column(k), count(k));
      upstream[k] = load<W>(a.dy + at + column(k), count(k));
      const Pack<W> gain = a.gain == nullptr ? Pack<W>{} : load<W>(a.gain + column(k), count(k));
#pragma unroll
      for (int j = 0; j < W; ++j) {
        const float dy = upstream[k].at[j], n = (x.at[j] - mean) * rstd;
        const float g = a.gain == nullptr ? dy : dy * gain.at[j];
        normed[k].at[j] = n;
        upstream[k].at[j] = g;
        dgain[k].at[j] += dy * n;
        dbias[k].at[j] += dy;
        sum_g += g;
        sum_gn += g * n;  // dy is 0 past the last column
      }
    }
    const float mean_g = a.mean == nullptr ? 0.0f : block_sum(sum_g, partial) / width;
    const float mean_gn = block_sum(sum_gn, partial) / width;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (count(k) == 0) continue;
      Pack<W> dx = each<W>([=](float g, float n) { return rstd * (g - mean_g - n * mean_gn); }, upstream[k], normed[k]);
      if (a.dsum != nullptr) {
        dx = each<W>([](float u, float v) { return u + v; }, dx, load<W>(a.dsum + at + column(k), count(k)));
      }
      store<W>(a.dx + at + column(k), count(k), dx);
    }
  }
  for (int k = 0; k < K; ++k) {
    const std::int64_t at = blockIdx.x * a.columns + column(k);
    if (a.dgain != nullptr) store<W>(a.dgain + at, count(k), dgain[k]);
    if (a.dbias != nullptr) store<W>(a.dbias + at, count(k), dbias[k]);
  }
}

/// f with the number of packs of `width` elements that each of `threads` threads takes; all have to fit in registers.
template <class F>
void visit_packs(int width, std::int64_t packs, unsigned threads, F&& f) {
  if (packs <= threads) return f(std::integral_constant<int, 1>());
  if (packs > 4 * threads) {
    throw std::invalid_argument("[norm_backward] rows of more than " + std::to_string(4 * threads * width) +
                                " elements are too wide for this device");
  }
  f(std::integral_constant<int, 4>());
}

template <class T>
T* data_of(const Tensor& x) {
  return x.defined() ? x.data_as<T>() : nullptr;
}

}  // namespace

void CudaBackend::compute(const kernel::Norm& args) {
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  visit_float(args.x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    const bool aligned =
        aligned_to({&args.x, &args.residual, &args.gain, &args.bias, &args.sum, &args.y}, 16 / sizeof(T), columns);
    visit_width<T>(aligned, [&](auto width) {
      const NormArguments<T> kernel_args{data_of<T>(args.x),
                                         data_of<T>(args.residual),
                                         data_of<T>(args.gain),
                                         data_of<T>(args.bias),
                                         data_of<T>(args.sum),
                                         data_of<T>(args.y),
                                         args.kind == NormKind::rms ? nullptr : data_of<float>(args.mean),
                                         data_of<float>(args.rstd),
                                         rows,
                                         columns,
                                         static_cast<float>(args.eps)};
      launch(norm_kernel<width, T>, dim3(static_cast<unsigned>(pieces<std::int64_t>(rows, norm_warps))),
             norm_warps * warp_width, 0, runtime_.stream(), kernel_args);
    });
  });
}

void CudaBackend::compute(const kernel::NormBackward& args) {
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(rows, norm_backward_blocks));
  const auto partial_of = [&](const Tensor& wanted) { return wanted ? scratch({blocks, columns}) : Tensor(); };
  const Tensor dgain = partial_of(args.dgain), dbias = partial_of(args.dbias);
  visit_float(args.x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    const bool aligned = aligned_to({&args.x, &args.gain, &args.dy, &args.dsum, &args.dx}, 16 / sizeof(T), columns);
    visit_width<T>(aligned, [&](auto width) {
      const NormBackwardArguments<T> kernel_args{data_of<T>(args.x),
                                                 data_of<T>(args.gain),
                                                 data_of<T>(args.dy),
                                                 data_of<T>(args.dsum),
                                                 args.kind == NormKind::rms ? nullptr : data_of<float>(args.mean),
                                                 data_of<float>(args.rstd),
                                                 data_of<T>(args.dx),
                                                 data_of<float>(dgain),
                                                 data_of<float>(dbias),
                                                 rows,
                                                 columns};
      const auto packs = pieces<std::int64_t>(columns, width);
      const auto threads = static_cast<unsigned>(
          std::min<std::int64_t>(pieces<std::int64_t>(packs, warp_width) * warp_width, norm_backward_threads));
      visit_packs(width, packs, threads, [&](auto k) {
        launch(norm_backward_kernel<width, k, T>, dim3(blocks), dim3(threads), reduce_bytes, runtime_.stream(),
               kernel_args);
      });
    });
  });
  if (dgain) sum_over(runtime_, dgain, 1, blocks, columns, 1.0f, args.dgain, args.accumulate_gain);
  if (dbias) sum_over(runtime_, dbias, 1, blocks, columns, 1.0f, args.dbias, args.accumulate_bias);
}

}  // namespace monge::MONGE_GPU
