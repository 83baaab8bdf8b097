// Random draws: the streams of core/random.h, four elements from each block of Philox.
#include "core/check.h"
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

void CudaBackend::uniform(const Tensor& x, double low, double high, const Random& random) {
  check::uniform(device(), x, random);
  require_aligned({&x});
  visit_float(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(uniform_kernel<T>, elementwise_grid(x.numel(), words), elementwise_block, 0, runtime_.stream(),
           x.data_as<T>(), x.numel(), low, high, draw_of(random));
  });
}

void CudaBackend::normal(const Tensor& x, double mean, double stddev, const Random& random) {
  check::normal(device(), x, random);
  require_aligned({&x});
  visit_float(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(normal_kernel<T>, elementwise_grid(x.numel(), words), elementwise_block, 0, runtime_.stream(),
           x.data_as<T>(), x.numel(), mean, stddev, draw_of(random));
  });
}

void CudaBackend::dropout(const Tensor& x, const Tensor& y, double p, const Random& random) {
  check::dropout(device(), x, y, p, random);
  require_aligned({&x, &y});
  visit_float(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(dropout_kernel<T>, elementwise_grid(x.numel(), words), elementwise_block, 0, runtime_.stream(),
           x.data_as<T>(), y.data_as<T>(), x.numel(), dropout_of(random, p));
  });
}

}  // namespace monge::MONGE_GPU
