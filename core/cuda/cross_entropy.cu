// Mean cross-entropy over rows; the gradient overwrites the logits. And targets drawn from the rows.
#include "core/cuda/cuda_backend.h"
#include "core/cuda/draw.h"
#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"

namespace monge::MONGE_GPU {
namespace {

/// One pass over the row: each thread keeps its largest logit and its sum of e^(z - largest).
template <int W, class T>
__global__ void cross_entropy_kernel(const T* logits, const std::int32_t* targets, float* losses, float* lse,
                                     std::int64_t V) {
  float* const partial = shared_memory<float>();
  const T* const z = logits + blockIdx.x * V;
  float top = -INFINITY, mass = 0.0f;
  for (std::int64_t v = static_cast<std::int64_t>(threadIdx.x) * W; v < V; v += blockDim.x * W) {
    const int count = static_cast<int>(min(V - v, std::int64_t{W}));
    const Pack<W> value = load<W>(z + v, count);
    float high = top;
    for (int k = 0; k < W; ++k) {
      if (k < count) high = fmaxf(high, value.at[k]);
    }
    if (high > top) {
      mass *= __expf(top - high);
      top = high;
    }
    for (int k = 0; k < W; ++k) {
      if (k < count) mass += value.at[k] == -INFINITY ? 0.0f : __expf(value.at[k] - top);
    }
  }
  const float highest = block_max(top, partial);
  const float total = block_sum(top == -INFINITY ? 0.0f : mass * __expf(top - highest), partial);
  if (threadIdx.x != 0) return;
  const float log_sum_exp = highest + logf(total);
  const std::int64_t target = targets[blockIdx.x];
  lse[blockIdx.x] = log_sum_exp;
  losses[blockIdx.x] = target >= 0 && target < V ? log_sum_exp - static_cast<float>(z[target]) : 0.0f;
}

/// One block: N is some ten thousand, and a count below 2^24 is exact.
__global__ void target_share_kernel(const std::int32_t* targets, std::int64_t N, std::int64_t V, float* share) {
  float rows = 0.0f;
  for (std::int64_t n = threadIdx.x; n < N; n += blockDim.x) rows += targets[n] >= 0 && targets[n] < V ? 1.0f : 0.0f;
  rows = block_sum(rows, shared_memory<float>());
  if (threadIdx.x == 0) *share = rows > 0.0f ? 1.0f / rows : 0.0f;
}

/// One warp for a row: the largest logit, the mass of all classes, then 32 classes at a time until the drawn number is
/// passed.
template <class T>
__global__ void sample_targets_kernel(const T* logits, Draw draw, std::int32_t* targets, std::int64_t V) {
  const std::int64_t target = targets[blockIdx.x];
  if (target < 0 || target >= V) return;
  const T* const z = logits + blockIdx.x * V;
  const std::int64_t lane = threadIdx.x;
  float top = -INFINITY, mass = 0.0f;
  for (std::int64_t v = lane; v < V; v += warp_width) top = fmaxf(top, static_cast<float>(z[v]));
  top = warp_max(top);
  for (std::int64_t v = lane; v < V; v += warp_width) mass += __expf(static_cast<float>(z[v]) - top);
  float left = to_unit(draw.word(blockIdx.x)) * warp_sum(mass);
  std::int64_t drawn = V - 1;
  for (std::int64_t begin = 0; begin < V; begin += warp_width) {
    const std::int64_t v = begin + lane;
    float below = v < V ? __expf(static_cast<float>(z[v]) - top) : 0.0f;  // of these classes, up to this one
    for (unsigned distance = 1; distance < warp_width; distance *= 2) {
      const float other = __shfl_up_sync(whole_warp, below, distance);
      if (lane >= distance) below += other;
    }
    const unsigned passed = __ballot_sync(whole_warp, v < V && below > left);
    if (passed != 0) {
      drawn = begin + __ffs(static_cast<int>(passed)) - 1;
      break;
    }
    left -= __shfl_sync(whole_warp, below, warp_width - 1);
  }
  if (lane == 0) targets[blockIdx.x] = static_cast<std::int32_t>(drawn);
}

/// summary = {share * sum of losses, share}; share may be in its place already.
__global__ void summary_kernel(const float* losses, std::int64_t N, const float* share, float* summary) {
  float loss = 0.0f;
  for (std::int64_t n = threadIdx.x; n < N; n += blockDim.x) loss += losses[n];
  loss = block_sum(loss, shared_memory<float>());
  if (threadIdx.x != 0) return;
  const float weight = *share;
  summary[0] = loss * weight;
  summary[1] = weight;
}

template <int W, class T>
__global__ void cross_entropy_backward_kernel(T* logits, const std::int32_t* targets, const float* lse,
                                              const float* summary, const float* dloss, std::int64_t V) {
  T* const z = logits + blockIdx.x * V;
  const std::int64_t target = targets[blockIdx.x];
  const float factor = target >= 0 && target < V ? dloss[0] * summary[1] : 0.0f, shift = lse[blockIdx.x];
  for (std::int64_t v = static_cast<std::int64_t>(threadIdx.x) * W; v < V; v += blockDim.x * W) {
    const int count = static_cast<int>(min(V - v, std::int64_t{W}));
    Pack<W> value = load<W>(z + v, count);
    for (int k = 0; k < W; ++k) {
      const float p = factor == 0.0f ? 0.0f : __expf(value.at[k] - shift);
      value.at[k] = factor * (p - (v + k == target ? 1.0f : 0.0f));
    }
    store<W>(z + v, count, value);
  }
}

/// Threads for a row of V logits.
unsigned row_threads(std::int64_t V) { return V <= 256 ? 32 : V <= 4096 ? 128 : 512; }

}  // namespace

void CudaBackend::compute(const kernel::TargetShare& args) {
  launch(target_share_kernel, 1, 1024, reduce_bytes, runtime_.stream(), args.targets.data_as<std::int32_t>(),
         args.targets.numel(), args.vocab, args.share.data_as<float>());
}

void CudaBackend::compute(const kernel::SampleTargets& args) {
  const auto N = args.logits.shape().rows(), V = args.logits.shape().last();
  visit_float(args.logits.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(sample_targets_kernel<T>, dim3(static_cast<unsigned>(N)), warp_width, 0, runtime_.stream(),
           args.logits.data_as<T>(), draw_of(args.random), args.targets.data_as<std::int32_t>(), V);
  });
}

void CudaBackend::compute(const kernel::CrossEntropy& args) {
  const auto N = args.logits.shape().rows(), V = args.logits.shape().last();
  const auto* const targets = args.targets.data_as<std::int32_t>();
  visit_float(args.logits.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    visit_width<T>(aligned_to({&args.logits}, 16 / sizeof(T), V), [&](auto width) {
      launch(cross_entropy_kernel<width, T>, dim3(static_cast<unsigned>(N)), row_threads(V), reduce_bytes,
             runtime_.stream(), args.logits.data_as<T>(), targets, args.losses.data_as<float>(),
             args.lse.data_as<float>(), V);
    });
  });
  const Tensor share = args.share ? args.share : args.summary.slice(1, 2);
  if (!args.share) compute(kernel::TargetShare{args.targets, V, share});
  launch(summary_kernel, 1, 1024, reduce_bytes, runtime_.stream(), args.losses.data_as<float>(), N,
         share.data_as<float>(), args.summary.data_as<float>());
}

void CudaBackend::compute(const kernel::CrossEntropyBackward& args) {
  const auto N = args.logits.shape().rows(), V = args.logits.shape().last();
  visit_float(args.logits.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    visit_width<T>(aligned_to({&args.logits}, 16 / sizeof(T), V), [&](auto width) {
      launch(cross_entropy_backward_kernel<width, T>, dim3(static_cast<unsigned>(N)), row_threads(V), 0,
             runtime_.stream(), args.logits.data_as<T>(), args.targets.data_as<std::int32_t>(),
             args.lse.data_as<float>(), args.summary.data_as<float>(), args.dloss.data_as<float>(), V);
    });
  });
}

}  // namespace monge::MONGE_GPU
