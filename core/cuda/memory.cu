// Moving and setting memory.
#include "core/check.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"

namespace monge::MONGE_GPU {
namespace {

template <class From, class To, int W>
__global__ void convert_kernel(const From* from, To* to, std::int64_t n) {
  for_each_pack<W>(n, [&](std::int64_t i, int count) { store<W>(to + i, count, load<W>(from + i, count)); });
}

template <class T>
__global__ void fill_kernel(T* x, std::int64_t n, T value) {
  for_each_pack<1>(n, [&](std::int64_t i, int) { x[i] = value; });
}

}  // namespace

void CudaBackend::copy_from_host(const void* from, const Tensor& to) {
  check::copy_from_host(device(), from, to);
  if (to.bytes() > 0) runtime_.upload(from, to.data(), to.bytes());
}

void CudaBackend::copy_to_host(const Tensor& from, void* to) {
  check::copy_to_host(device(), from, to);
  if (from.bytes() > 0) runtime_.download(from.data(), to, from.bytes());
}

void CudaBackend::copy(const Tensor& from, const Tensor& to) {
  check::copy(device(), from, to);
  if (from.bytes() == 0) return;
  if (from.dtype() == to.dtype()) return runtime_.copy(from.data(), to.data(), from.bytes());
  visit_float(from.dtype(), [&](auto source) {
    visit_float(to.dtype(), [&](auto target) {
      using From = typename decltype(source)::type;
      using To = typename decltype(target)::type;
      visit_width<float>(aligned_to({&from, &to}, 4), [&](auto width) {
        launch(convert_kernel<From, To, width>, elementwise_grid(to.numel(), width), elementwise_block, 0,
               runtime_.stream(), from.data_as<From>(), to.data_as<To>(), to.numel());
      });
    });
  });
}

void CudaBackend::fill(const Tensor& x, double value) {
  check::fill(device(), x);
  if (x.bytes() == 0) return;
  if (value == 0.0) return runtime_.zero(x.data(), x.bytes());
  const auto set = [&](auto element) {
    using T = decltype(element);
    launch(fill_kernel<T>, elementwise_grid(x.numel(), 1), elementwise_block, 0, runtime_.stream(), x.data_as<T>(),
           x.numel(), element);
  };
  if (x.dtype() == DType::i32) return set(static_cast<std::int32_t>(value));
  if (x.dtype() == DType::bf16) return set(bf16(static_cast<float>(value)));
  set(static_cast<float>(value));
}

}  // namespace monge::MONGE_GPU
