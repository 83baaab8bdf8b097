#include "core/kernel/segments.h"

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace monge::cpu {

void CpuBackend::compute(const kernel::Segments& args) {
  const std::int64_t T = args.queries.size(1), S = args.keys.size(1);
  const auto *const queries = args.queries.data_as<std::int32_t>(), *const keys = args.keys.data_as<std::int32_t>();
  auto* const spans = args.spans.keys.data_as<std::int32_t>();
  auto* const positions = args.spans.positions.data_as<std::int32_t>();
  parallel_elements(args.queries.numel(), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t at = first; at < last; ++at) {
      const std::int64_t b = at / T;
      const kernel::KeySpan span = kernel::span_of(queries + b * T, at % T, keys + b * S, S);
      spans[2 * at] = static_cast<std::int32_t>(span.begin);
      spans[2 * at + 1] = static_cast<std::int32_t>(span.end);
      positions[at] = static_cast<std::int32_t>(span.position);
    }
  });
}

}  // namespace monge::cpu
