// Random draws: the streams of core/random.h, four elements from each block of Philox.
#include "core/cuda/cuda_backend.h"
#include "core/cuda/draw.h"
#include "core/cuda/pack.h"

namespace monge::MONGE_GPU {
namespace {

constexpr int words = 4;  // of one Philox block

template <class T>
__global__ void uniform_kernel(T* x, std::int64_t n, double low, double high, Draw draw) {
  for_each_pack<words>(n, [&](std::int64_t i, int count) {
    const auto word = draw.words(i / words);
    Pack<words> out;
    for (int k = 0; k < words; ++k) out.at[k] = static_cast<float>(low + (high - low) * to_unit(word[k]));
    store<words>(x + i, count, out);
  });
}

template <class T>
__global__ void normal_kernel(T* x, std::int64_t n, double mean, double stddev, Draw draw) {
  for_each_pack<words>(n, [&](std::int64_t i, int count) {
    const auto word = draw.words(i / words);
    Pack<words> out;
    for (int k = 0; k < words; k += 2) {
      const auto pair = normal_pair(word[k], word[k + 1]);
      out.at[k] = static_cast<float>(mean + stddev * pair[0]);
      out.at[k + 1] = static_cast<float>(mean + stddev * pair[1]);
    }
    store<words>(x + i, count, out);
  });
}

template <class T>
__global__ void dropout_kernel(const T* x, T* y, std::int64_t n, Dropout dropout) {
  for_each_pack<words>(n, [&](std::int64_t i, int count) {
    const auto word = dropout.draw.words(i / words);
    Pack<words> out = load<words>(x + i, count);
    for (int k = 0; k < words; ++k) out.at[k] *= dropout.factor(word[k]);
    store<words>(y + i, count, out);
  });
}

/// Four elements are moved at once.
void require_aligned(std::initializer_list<const Tensor*> tensors) {
  if (!aligned_to(tensors, words)) throw std::invalid_argument("[random] a tensor does not start at a multiple of 4");
}

}  // namespace

void CudaBackend::compute(const kernel::Uniform& args) {
  require_aligned({&args.x});
  visit_float(args.x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(uniform_kernel<T>, elementwise_grid(args.x.numel(), words), elementwise_block, 0, runtime_.stream(),
           args.x.data_as<T>(), args.x.numel(), args.low, args.high, draw_of(args.random));
  });
}

void CudaBackend::compute(const kernel::Normal& args) {
  require_aligned({&args.x});
  visit_float(args.x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(normal_kernel<T>, elementwise_grid(args.x.numel(), words), elementwise_block, 0, runtime_.stream(),
           args.x.data_as<T>(), args.x.numel(), args.mean, args.stddev, draw_of(args.random));
  });
}

void CudaBackend::compute(const kernel::Dropout& args) {
  require_aligned({&args.x, &args.y});
  visit_float(args.x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(dropout_kernel<T>, elementwise_grid(args.x.numel(), words), elementwise_block, 0, runtime_.stream(),
           args.x.data_as<T>(), args.y.data_as<T>(), args.x.numel(), dropout_of(args.random, args.p));
  });
}

}  // namespace monge::MONGE_GPU
