// Softmax over rows: a block for each row.
#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"

namespace monge::MONGE_GPU {
namespace {

constexpr unsigned row_block = 256;

template <class T>
__global__ void softmax_kernel(const T* x, T* y, std::int64_t columns) {
  float* const partial = shared_memory<float>();
  x += blockIdx.x * columns;
  y += blockIdx.x * columns;
  float top = -INFINITY;
  for (std::int64_t j = threadIdx.x; j < columns; j += blockDim.x) top = fmaxf(top, static_cast<float>(x[j]));
  top = block_max(top, partial);
  float total = 0.0f;
  for (std::int64_t j = threadIdx.x; j < columns; j += blockDim.x) total += __expf(static_cast<float>(x[j]) - top);
  const float share = 1.0f / block_sum(total, partial);
  for (std::int64_t j = threadIdx.x; j < columns; j += blockDim.x) {
    y[j] = static_cast<T>(__expf(static_cast<float>(x[j]) - top) * share);
  }
}

template <class T>
__global__ void softmax_backward_kernel(const T* y, const T* dy, T* dx, std::int64_t columns) {
  const std::int64_t at = blockIdx.x * columns;
  float mean = 0.0f;
  for (std::int64_t j = threadIdx.x; j < columns; j += blockDim.x) {
    mean += static_cast<float>(y[at + j]) * static_cast<float>(dy[at + j]);
  }
  mean = block_sum(mean, shared_memory<float>());
  for (std::int64_t j = threadIdx.x; j < columns; j += blockDim.x) {
    dx[at + j] = static_cast<T>(static_cast<float>(y[at + j]) * (static_cast<float>(dy[at + j]) - mean));
  }
}

}  // namespace

void CudaBackend::compute(const kernel::Softmax& args) {
  visit_float(args.x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(softmax_kernel<T>, dim3(static_cast<unsigned>(args.x.shape().rows())), row_block, reduce_bytes,
           runtime_.stream(), args.x.data_as<T>(), args.y.data_as<T>(), args.x.shape().last());
  });
}

void CudaBackend::compute(const kernel::SoftmaxBackward& args) {
  visit_float(args.y.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    launch(softmax_backward_kernel<T>, dim3(static_cast<unsigned>(args.y.shape().rows())), row_block, reduce_bytes,
           runtime_.stream(), args.y.data_as<T>(), args.dy.data_as<T>(), args.dx.data_as<T>(), args.y.shape().last());
  });
}

}  // namespace monge::MONGE_GPU
