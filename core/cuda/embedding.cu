// Embedding, and its gradient as a sum in the order of the tokens.
#include <algorithm>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"

namespace monge::MONGE_GPU {
namespace {

template <int W, class T>
__global__ void embedding_kernel(const std::int32_t* ids, const T* table, T* out, std::int64_t N, std::int64_t V,
                                 std::int64_t C) {
  for_each_pack<W>(N * C, [&](std::int64_t i, int count) {
    const std::int64_t id = ids[i / C];
    store<W>(out + i, count, id >= 0 && id < V ? load<W>(table + id * C + i % C, count) : Pack<W>{});
  });
}

constexpr unsigned rank_block = 256;

/// order[k] = the token that is k-th when tokens are sorted by id, equal ones in their order. Each token counts those
/// before it: N^2 comparisons from shared memory, 0.3 ms for N = 65536 at 10^13 comparisons a second, beside no
/// atomics, no passes and no table of the vocabulary.
__global__ void rank_kernel(const std::int32_t* ids, std::int32_t* order, std::int64_t N) {
  std::int32_t* const tile = shared_memory<std::int32_t>();
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * rank_block + threadIdx.x;
  const std::int32_t id = n < N ? ids[n] : 0;
  std::int32_t rank = 0;
  for (std::int64_t start = 0; start < N; start += rank_block) {
    __syncthreads();
    if (start + threadIdx.x < N) tile[threadIdx.x] = ids[start + threadIdx.x];
    __syncthreads();
    const int size = static_cast<int>(min(N - start, std::int64_t{rank_block}));
    const int before = static_cast<int>(max(min(n - start, std::int64_t{size}), std::int64_t{0}));
    for (int k = 0; k < before; ++k) rank += tile[k] <= id;
    for (int k = before; k < size; ++k) rank += tile[k] < id;
  }
  if (n < N) order[rank] = static_cast<std::int32_t>(n);
}

/// A block for each place in the order: where a new id begins, it sums the rows of all tokens with this id. A common id
/// has thousands, so several rows are on their way at a time.
template <int W, class T, class To>
__global__ void embedding_backward_kernel(const std::int32_t* ids, const std::int32_t* order, const T* dout, To* dtable,
                                          std::int64_t N, std::int64_t V, std::int64_t C) {
  constexpr int ahead = 8;
  const std::int64_t first = blockIdx.x;
  const std::int32_t id = ids[order[first]];
  if (id < 0 || id >= V || (first > 0 && ids[order[first - 1]] == id)) return;
  for (std::int64_t c = static_cast<std::int64_t>(threadIdx.x) * W; c < C; c += blockDim.x * W) {
    const int count = static_cast<int>(min(C - c, std::int64_t{W}));
    Pack<W> total = load<W>(dtable + id * C + c, count);
    bool more = true;
    for (std::int64_t k = first; more; k += ahead) {
      std::int64_t n[ahead];
      Pack<W> rows[ahead];
#pragma unroll
      for (int j = 0; j < ahead; ++j) n[j] = k + j < N ? order[k + j] : -1;
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
        if (n[j] >= 0 && ids[n[j]] != id) n[j] = -1;
      }
#pragma unroll
      for (int j = 0; j < ahead; ++j) rows[j] = n[j] >= 0 ? load<W>(dout + n[j] * C + c, count) : Pack<W>{};
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
        if (n[j] >= 0) total = each<W>([](float a, float b) { return a + b; }, total, rows[j]);
      }
      more = n[ahead - 1] >= 0;
    }
    store<W>(dtable + id * C + c, count, total);
  }
}

}  // namespace

void CudaBackend::compute(const kernel::Embedding& args) {
  const auto C = args.table.size(1);
  visit_float(args.table.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    visit_width<T>(aligned_to({&args.table, &args.out}, 16 / sizeof(T), C), [&](auto width) {
      launch(embedding_kernel<width, T>, elementwise_grid(args.out.numel(), width), elementwise_block, 0,
             runtime_.stream(), args.ids.data_as<std::int32_t>(), args.table.data_as<T>(), args.out.data_as<T>(),
             args.ids.numel(), args.table.size(0), C);
    });
  });
}

void CudaBackend::compute(const kernel::EmbeddingBackward& args) {
  if (!args.accumulate) compute(kernel::Fill{.x = args.dtable});
  const auto N = args.ids.numel(), V = args.dtable.size(0), C = args.dtable.size(1);
  const Tensor order = scratch({N}, DType::i32);
  launch(rank_kernel, dim3(static_cast<unsigned>(pieces<std::int64_t>(N, rank_block))), rank_block,
         rank_block * sizeof(std::int32_t), runtime_.stream(), args.ids.data_as<std::int32_t>(),
         order.data_as<std::int32_t>(), N);
  visit_float(args.dtable.dtype(), [&](auto target) {
    visit_float(args.dout.dtype(), [&](auto source) {
      using T = typename decltype(source)::type;
      using To = typename decltype(target)::type;
      visit_width<float>(aligned_to({&args.dout, &args.dtable}, 4, C), [&](auto width) {
        const auto threads = std::min<std::int64_t>(pieces<std::int64_t>(C, width * warp_width) * warp_width, 512);
        launch(embedding_backward_kernel<width, T, To>, dim3(static_cast<unsigned>(N)),
               dim3(static_cast<unsigned>(threads)), 0, runtime_.stream(), args.ids.data_as<std::int32_t>(),
               order.data_as<std::int32_t>(), args.dout.data_as<T>(), args.dtable.data_as<To>(), N, V, C);
      });
    });
  });
}

}  // namespace monge::MONGE_GPU
