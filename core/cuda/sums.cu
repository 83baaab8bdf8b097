// Reductions. Long ones run twice: many blocks sum pieces into f32 partial sums, and the same kernel sums these.
#include <algorithm>
#include <cmath>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/cuda/sums.h"

namespace monge::MONGE_GPU {
namespace {

/// Where a sum goes: out = [out +] factor * sum.
template <class T>
struct Output {
  T* out;
  float factor;
  bool accumulate;

  __device__ __forceinline__ void operator()(std::int64_t i, float sum) const {
    out[i] = static_cast<T>(factor * sum + (accumulate ? static_cast<float>(out[i]) : 0.0f));
  }
};

/// x (outer, n, inner) in pieces of n: piece p of pieces sums [p n / pieces, (p + 1) n / pieces).
struct SumPlan {
  std::int64_t outer, n, inner, pieces;

  __device__ std::int64_t begin(std::int64_t piece) const { return piece * n / pieces; }
};

inline constexpr unsigned sum_lanes = 32, sum_rows = 8;

/// inner > 1: a thread of a block of 32 x 8 owns W columns and every eighth row of a piece; the eight meet in shared
/// memory. Output (pieces, outer, inner).
template <int W, class T, class To>
__global__ void column_sum_kernel(const T* x, SumPlan plan, Output<To> output) {
  float* const shared = shared_memory<float>();  // (8, 32 W)
  const unsigned lane = threadIdx.x, row = threadIdx.y;
  const std::int64_t tiles = pieces<std::int64_t>(plan.inner, sum_lanes * W), block = blockIdx.x;
  const std::int64_t tile = block % tiles, o = block / tiles % plan.outer, piece = block / (tiles * plan.outer);
  const std::int64_t column = (tile * sum_lanes + lane) * W;
  const int count = static_cast<int>(column + W <= plan.inner ? W : max(plan.inner - column, std::int64_t{0}));
  Pack<W> total{};
  if (count > 0) {
    const std::int64_t end = plan.begin(piece + 1);
#pragma unroll 4
    for (std::int64_t k = plan.begin(piece) + row; k < end; k += sum_rows) {
      const Pack<W> value = load<W>(x + (o * plan.n + k) * plan.inner + column, count);
      for (int j = 0; j < W; ++j) total.at[j] += value.at[j];
    }
  }
  for (int j = 0; j < W; ++j) shared[(row * W + j) * sum_lanes + lane] = total.at[j];
  __syncthreads();
  if (row != 0) return;
  for (int j = 0; j < count; ++j) {
    float sum = 0.0f;
    for (unsigned r = 0; r < sum_rows; ++r) sum += shared[(r * W + j) * sum_lanes + lane];
    output((piece * plan.outer + o) * plan.inner + column + j, sum);
  }
}

/// inner = 1: a block for each piece of a row. Output (pieces, outer).
template <int W, class T, class To>
__global__ void row_sum_kernel(const T* x, SumPlan plan, Output<To> output) {
  const std::int64_t o = blockIdx.x % plan.outer, piece = blockIdx.x / plan.outer;
  const std::int64_t begin = pieces<std::int64_t>(plan.begin(piece), W) * W;
  const std::int64_t end = min(pieces<std::int64_t>(plan.begin(piece + 1), W) * W, plan.n);
  float total = 0.0f;
  for (std::int64_t i = begin + static_cast<std::int64_t>(threadIdx.x) * W; i < end; i += blockDim.x * W) {
    const Pack<W> value = load<W>(x + o * plan.n + i, static_cast<int>(min(end - i, std::int64_t{W})));
    float sum = 0.0f;
    for (int j = 0; j < W; ++j) sum += value.at[j];
    total += sum;
  }
  total = block_sum(total, shared_memory<float>());
  if (threadIdx.x == 0) output(piece * plan.outer + o, total);
}

/// In double: gradients of 1e25 have no square in f32.
template <int W>
__global__ void dot_kernel(const float* a, const float* b, std::int64_t n, double* partial) {
  double total = 0.0;
  for_each_pack<W>(n, [&](std::int64_t i, int count) {
    const Pack<W> x = load<W>(a + i, count), y = load<W>(b + i, count);
    for (int k = 0; k < W; ++k) total += static_cast<double>(x.at[k]) * static_cast<double>(y.at[k]);
  });
  total = block_sum(total, shared_memory<double>());
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

/// One block; every thread gets the sum.
__device__ double sum_of(const double* partial, int n) {
  double total = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) total += partial[i];
  return block_sum(total, shared_memory<double>());
}

__global__ void finish_dot_kernel(const double* partial, int n, float* out) {
  const double total = sum_of(partial, n);
  if (threadIdx.x == 0) *out = static_cast<float>(total);
}

__global__ void clip_kernel(const double* partial, int n, double max_norm, float* control) {
  const double norm = sqrt(sum_of(partial, n));
  if (threadIdx.x != 0) return;
  control[Control::grad_norm] = static_cast<float>(norm);
  control[Control::clip] = max_norm > 0.0 && norm > max_norm ? static_cast<float>(max_norm / norm) : 1.0f;
  control[Control::finite] = std::isfinite(norm) ? 1.0f : 0.0f;
}

/// (blocks) f64 partial sums of <a, b>.
Tensor partial_dot(Runtime& runtime, const Tensor& a, const Tensor& b) {
  Tensor partial;
  visit_width<float>(aligned_to({&a, &b}, 4), [&](auto width) {
    const dim3 grid = elementwise_grid(std::max<std::int64_t>(a.numel(), 1), width);
    partial = Tensor::empty({grid.x}, DType::f64, a.device(), Pool::scratch);
    launch(dot_kernel<width>, grid, elementwise_block, reduce_bytes, runtime.stream(), a.data_as<float>(),
           b.data_as<float>(), a.numel(), partial.data_as<double>());
  });
  return partial;
}

template <class T, class To>
void sum_pieces(Runtime& runtime, const Tensor& x, const SumPlan& plan, const Output<To>& output) {
  constexpr int wide = 16 / static_cast<int>(sizeof(T));
  if (plan.inner == 1) {
    visit_width<T>(aligned_to({&x}, wide, plan.outer == 1 ? 0 : plan.n), [&](auto width) {
      launch(row_sum_kernel<width, T, To>, dim3(static_cast<unsigned>(plan.outer * plan.pieces)), 256, reduce_bytes,
             runtime.stream(), x.data_as<T>(), plan, output);
    });
    return;
  }
  visit_width<T>(aligned_to({&x}, wide, plan.inner), [&](auto width) {
    const auto tiles = pieces<std::int64_t>(plan.inner, sum_lanes * width);
    launch(column_sum_kernel<width, T, To>, dim3(static_cast<unsigned>(tiles * plan.outer * plan.pieces)),
           dim3(sum_lanes, sum_rows), sum_lanes * sum_rows * width * sizeof(float), runtime.stream(), x.data_as<T>(),
           plan, output);
  });
}

}  // namespace

void sum_over(Runtime& runtime, const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, float factor,
              const Tensor& out, bool accumulate) {
  if (out.numel() == 0) return;
  // Enough blocks to fill a large device, and pieces of some length; the same for every device, as are the bits.
  constexpr std::int64_t wanted = 512, least_piece = 64;
  const std::int64_t elements = inner == 1 ? 256 : sum_lanes * 4;
  const std::int64_t blocks = outer * pieces(inner, elements);
  const std::int64_t least = inner == 1 ? 16 * elements : least_piece;
  const std::int64_t count = std::clamp<std::int64_t>(wanted / blocks, 1, std::max<std::int64_t>(n / least, 1));
  visit_float(out.dtype(), [&](auto target) {
    using To = typename decltype(target)::type;
    const Output<To> output{out.data_as<To>(), factor, accumulate};
    visit_float(x.dtype(), [&](auto source) {
      using T = typename decltype(source)::type;
      if (count == 1) return sum_pieces<T>(runtime, x, {outer, n, inner, 1}, output);
      const Tensor partial = Tensor::empty({count, outer * inner}, DType::f32, x.device(), Pool::scratch);
      sum_pieces<T>(runtime, x, {outer, n, inner, count}, Output<float>{partial.data_as<float>(), 1.0f, false});
      if (outer * inner > 1) return sum_pieces<float>(runtime, partial, {1, count, outer * inner, 1}, output);
      sum_pieces<float>(runtime, partial, {1, count, 1, 1}, output);
    });
  });
}

void CudaBackend::compute(const kernel::Sum& args) {
  sum_over(runtime_, args.x, args.outer, args.n, args.inner, static_cast<float>(args.factor), args.out,
           args.accumulate);
}

void CudaBackend::compute(const kernel::Dot& args) {
  const Tensor partial = partial_dot(runtime_, args.a, args.b);
  launch(finish_dot_kernel, 1, 1024, reduce_bytes, runtime_.stream(), partial.data_as<double>(),
         static_cast<int>(partial.numel()), args.out.data_as<float>());
}

void CudaBackend::compute(const kernel::ClipFactor& args) {
  const Tensor partial = partial_dot(runtime_, args.grads, args.grads);
  launch(clip_kernel, 1, 1024, reduce_bytes, runtime_.stream(), partial.data_as<double>(),
         static_cast<int>(partial.numel()), args.max_norm, args.control.data_as<float>());
}

}  // namespace monge::MONGE_GPU
