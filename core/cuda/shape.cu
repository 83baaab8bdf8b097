// Kernels that move elements: strided_copy, repeat, rope.
#include <numeric>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"

namespace monge::MONGE_GPU {
namespace {

/// to = [to +] from
template <int W, class T>
__global__ void strided_copy_kernel(kernel::StridedLoops loops, const T* from, T* to, std::int64_t n, bool accumulate) {
  for_each_pack<W>(n, [&](std::int64_t i, int count) {
    std::int64_t x = 0, y = 0;
#pragma unroll
    for (int d = Shape::max_rank - 1; d >= 0; --d) {
      const std::int64_t index = i % loops.sizes[d];
      i /= loops.sizes[d];
      x += index * loops.from[d];
      y += index * loops.to[d];
    }
    const Pack<W> value = load<W>(from + x, count);
    if (accumulate) {
      store<W>(to + y, count, each<W>([](float a, float b) { return a + b; }, load<W>(to + y, count), value));
    } else {
      store<W>(to + y, count, value);
    }
  });
}

/// out (outer, n, inner) = factor x (outer, inner)
template <int W, class T>
__global__ void repeat_kernel(const T* x, T* out, std::int64_t size, std::int64_t n, std::int64_t inner, float factor) {
  for_each_pack<W>(size, [&](std::int64_t i, int count) {
    const Pack<W> value = load<W>(x + i / (n * inner) * inner + i % inner, count);
    store<W>(out + i, count, each<W>([factor](float a) { return factor * a; }, value));
  });
}

struct RopePlan {
  std::int64_t tokens, width, heads, half, start;
  double rate;  // -2 log(base) / head_dim: frequency i is exp(rate i)
  float sign;   // of the angle
};

/// A thread takes one pair of x; those past the rotated heads are copied. The angle is reduced in double: in float it
/// would be off by 1e-4 at positions of some thousands.
template <class T>
__global__ void rope_kernel(const T* x, T* y, std::int64_t rows, RopePlan plan) {
  const std::int64_t pairs = plan.heads * plan.half, rest = plan.width - 2 * pairs, per_row = pairs + rest;
  for_each_pack<1>(rows * per_row, [&](std::int64_t index, int) {
    const std::int64_t row = index / per_row, k = index % per_row, at = row * plan.width;
    if (k >= pairs) {
      y[at + pairs + k] = x[at + pairs + k];
      return;
    }
    const std::int64_t i = k % plan.half, first = at + k / plan.half * 2 * plan.half + i, second = first + plan.half;
    const double angle = static_cast<double>(plan.start + row % plan.tokens) * exp(plan.rate * static_cast<double>(i));
    constexpr double turn = 6.283185307179586;
    float sine, cosine;
    sincosf(plan.sign * static_cast<float>(angle - turn * floor(angle / turn)), &sine, &cosine);
    const float a = static_cast<float>(x[first]), b = static_cast<float>(x[second]);
    y[first] = static_cast<T>(a * cosine - b * sine);
    y[second] = static_cast<T>(a * sine + b * cosine);
  });
}

}  // namespace

void CudaBackend::compute(const kernel::StridedCopy& args) {
  const kernel::StridedLoops loops(args);
  const std::int64_t n = args.to.shape().numel();
  // Vectors need all steps but the innermost to be multiples of theirs.
  std::int64_t step = loops.sizes[4];
  for (int d = 0; d < 4; ++d) step = std::gcd(step, std::gcd(loops.from[d], loops.to[d]));
  step = std::gcd(step, std::gcd(args.from.offset(), args.to.offset()));
  visit_float(args.to.tensor().dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    const bool aligned = aligned_to({&args.from.tensor(), &args.to.tensor()}, 16 / sizeof(T), step);
    visit_width<T>(loops.contiguous() && aligned, [&](auto width) {
      launch(strided_copy_kernel<width, T>, elementwise_grid(n, width), elementwise_block, 0, runtime_.stream(), loops,
             args.from.data_as<const T>(), args.to.data_as<T>(), n, args.accumulate);
    });
  });
}

void CudaBackend::compute(const kernel::Repeat& args) {
  visit_float(args.x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    visit_width<T>(aligned_to({&args.x, &args.out}, 16 / sizeof(T), args.inner), [&](auto width) {
      launch(repeat_kernel<width, T>, elementwise_grid(args.out.numel(), width), elementwise_block, 0,
             runtime_.stream(), args.x.data_as<T>(), args.out.data_as<T>(), args.out.numel(), args.n, args.inner,
             static_cast<float>(args.factor));
    });
  });
}

void CudaBackend::compute(const kernel::Rope& args) {
  const auto rows = args.x.size(0) * args.x.size(1), width = args.x.size(2);
  const RopePlan plan{args.x.size(1),
                      width,
                      args.heads,
                      args.head_dim / 2,
                      args.start,
                      -2.0 * std::log(args.base) / static_cast<double>(args.head_dim),
                      args.inverse ? -1.0f : 1.0f};
  visit_float(args.x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(rope_kernel<T>, elementwise_grid(rows * width, 1), elementwise_block, 0, runtime_.stream(),
           args.x.data_as<T>(), args.y.data_as<T>(), rows, plan);
  });
}

}  // namespace monge::MONGE_GPU
