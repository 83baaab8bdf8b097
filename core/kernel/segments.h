// Segments: several sequences in one row of a batch, each a run of neighbouring tokens with an id of its own.
#pragma once

#include "core/kernel/attention.h"

namespace monge::kernel {

/// Query i of row b, of id s, is to see the keys of id s alone: the spans of such a call of attention. Ids rise along
/// a row. A query stands where it is among the queries of its id; if no key has this id, it sees one key, any.
struct Segments {
  Tensor queries;  // (B, T) i32: ids
  Tensor keys;     // (B, S) i32: ids, S > 0
  KeySpans spans;  // written
};

Call check(const Segments& args, Device device);

/// The first place in rising ids x[0] .. x[n - 1] whose id is not below `id`; n if there is none.
MONGE_HD inline std::int64_t first_not_below(const std::int32_t* x, std::int64_t n, std::int64_t id) {
  std::int64_t begin = 0;
  while (n > 0) {
    const std::int64_t half = n / 2;
    const bool below = x[begin + half] < id;
    begin = below ? begin + half + 1 : begin;
    n = below ? n - half - 1 : half;
  }
  return begin;
}

/// The span of query i of a row, from the ids of its queries and of its `all_keys` keys.
MONGE_HD inline KeySpan span_of(const std::int32_t* queries, std::int64_t i, const std::int32_t* keys,
                                std::int64_t all_keys) {
  const std::int64_t id = queries[i], begin = first_not_below(keys, all_keys, id);
  const std::int64_t end = first_not_below(keys, all_keys, id + 1), position = i - first_not_below(queries, i, id);
  if (begin < end) return {begin, end, position};
  const std::int64_t any = begin < all_keys ? begin : all_keys - 1;
  return {any, any + 1, position};
}

}  // namespace monge::kernel
