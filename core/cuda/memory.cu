// Moving and setting memory.
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

void CudaBackend::compute(const kernel::CopyFromHost& args) {
  if (args.to.bytes() > 0) runtime_.upload(args.from, args.to.data(), args.to.bytes());
}

void CudaBackend::compute(const kernel::CopyToHost& args) {
  if (args.from.bytes() > 0) runtime_.download(args.from.data(), args.to, args.from.bytes());
}

void CudaBackend::compute(const kernel::Copy& args) {
  if (args.from.bytes() == 0) return;
  if (args.from.dtype() == args.to.dtype()) return runtime_.copy(args.from.data(), args.to.data(), args.from.bytes());
  visit_float(args.from.dtype(), [&](auto source) {
    visit_float(args.to.dtype(), [&](auto target) {
      using From = typename decltype(source)::type;
      using To = typename decltype(target)::type;
      visit_width<float>(aligned_to({&args.from, &args.to}, 4), [&](auto width) {
        launch(convert_kernel<From, To, width>, elementwise_grid(args.to.numel(), width), elementwise_block, 0,
               runtime_.stream(), args.from.data_as<From>(), args.to.data_as<To>(), args.to.numel());
      });
    });
  });
}

void CudaBackend::compute(const kernel::Fill& args) {
  if (args.x.bytes() == 0) return;
  if (args.value == 0.0) return runtime_.zero(args.x.data(), args.x.bytes());
  const auto set = [&](auto element) {
    using T = decltype(element);
    launch(fill_kernel<T>, elementwise_grid(args.x.numel(), 1), elementwise_block, 0, runtime_.stream(),
           args.x.data_as<T>(), args.x.numel(), element);
  };
  if (args.x.dtype() == DType::i32) return set(static_cast<std::int32_t>(args.value));
  if (args.x.dtype() == DType::bf16) return set(bf16(static_cast<float>(args.value)));
  set(static_cast<float>(args.value));
}

}  // namespace monge::MONGE_GPU
