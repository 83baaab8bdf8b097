// The spans of keys of several sequences in a row.
#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"

namespace monge::MONGE_GPU {
namespace {

__global__ void segments_kernel(const std::int32_t* queries, const std::int32_t* keys, std::int32_t* spans,
                                std::int32_t* positions, std::int64_t n, std::int64_t T, std::int64_t S) {
  for_each_pack<1>(n, [&](std::int64_t at, int) {
    const std::int64_t b = at / T;
    const kernel::KeySpan span = kernel::span_of(queries + b * T, at % T, keys + b * S, S);
    spans[2 * at] = static_cast<std::int32_t>(span.begin);
    spans[2 * at + 1] = static_cast<std::int32_t>(span.end);
    positions[at] = static_cast<std::int32_t>(span.position);
  });
}

}  // namespace

void CudaBackend::compute(const kernel::Segments& args) {
  const std::int64_t n = args.queries.numel();
  if (n == 0) return;
  launch(segments_kernel, elementwise_grid(n, 1), elementwise_block, 0, runtime_.stream(),
         args.queries.data_as<std::int32_t>(), args.keys.data_as<std::int32_t>(),
         args.spans.keys.data_as<std::int32_t>(), args.spans.positions.data_as<std::int32_t>(), n, args.queries.size(1),
         args.keys.size(1));
}

}  // namespace monge::MONGE_GPU
