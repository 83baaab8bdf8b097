// Segments: plain searches.
#include <algorithm>

#include "core/reference/reference_backend.h"

namespace monge {

void ReferenceBackend::compute(const kernel::Segments& args) {
  const std::int64_t T = args.queries.size(1), S = args.keys.size(1);
  for (std::int64_t b = 0; b < args.queries.size(0); ++b) {
    const auto* const queries = args.queries.data_as<std::int32_t>() + b * T;
    const auto* const keys = args.keys.data_as<std::int32_t>() + b * S;
    for (std::int64_t i = 0; i < T; ++i) {
      std::int64_t begin = 0, end = 0, own = 0;
      while (begin < S - 1 && keys[begin] < queries[i]) ++begin;
      while (end < S && keys[end] <= queries[i]) ++end;
      while (queries[own] < queries[i]) ++own;
      auto* const span = args.spans.keys.data_as<std::int32_t>() + 2 * (b * T + i);
      span[0] = static_cast<std::int32_t>(begin);
      span[1] = static_cast<std::int32_t>(std::max(end, begin + 1));
      args.spans.positions.data_as<std::int32_t>()[b * T + i] = static_cast<std::int32_t>(i - own);
    }
  }
}

}  // namespace monge
