// Segments and spans of keys (core/kernel/segments.h) for tests, written down by their definition.
#pragma once

#include <cstdint>
#include <vector>

#include "core/kernel/attention.h"

namespace monge::test {

using Ids = std::vector<std::int32_t>;

/// Ids (B, S) of sequences of which the first `lengths` tokens are of segment 0, and all others of segment 1: padding.
inline Tensor padding_segments(const Ids& lengths, std::int64_t S, Device device) {
  Ids ids;
  for (const std::int32_t length : lengths) {
    for (std::int32_t j = 0; j < S; ++j) ids.push_back(j < length ? 0 : 1);
  }
  return Tensor::from(ids, {static_cast<std::int64_t>(lengths.size()), S}, device);
}

/// T queries that see the first `lengths` keys of their sequence.
inline KeySpans padding_spans(const Ids& lengths, std::int64_t T, Device device) {
  Ids spans;
  for (const std::int32_t length : lengths) {
    for (std::int64_t i = 0; i < T; ++i) spans.insert(spans.end(), {0, length});
  }
  return {Tensor::from(spans, {static_cast<std::int64_t>(lengths.size()), T, 2}, device), {}};
}

/// Spans and positions of queries and keys with these ids, rising along each row of T and of S. If no key has the id of
/// a query, it sees the first key whose id is larger, or the last one.
inline KeySpans spans_by_definition(const Ids& queries, std::int64_t T, const Ids& keys, std::int64_t S,
                                    Device device) {
  const std::int64_t B = static_cast<std::int64_t>(queries.size()) / T;
  Ids spans, positions;
  for (std::int64_t b = 0; b < B; ++b) {
    const auto query = [&](std::int64_t i) { return queries[static_cast<std::size_t>(b * T + i)]; };
    const auto key = [&](std::int64_t j) { return keys[static_cast<std::size_t>(b * S + j)]; };
    for (std::int64_t i = 0; i < T; ++i) {
      std::int32_t begin = -1, count = 0, larger = -1, position = 0;
      for (std::int32_t j = 0; j < S; ++j) {
        if (key(j) == query(i)) begin = count++ == 0 ? j : begin;
        if (key(j) > query(i) && larger < 0) larger = j;
      }
      for (std::int64_t before = 0; before < i; ++before) position += query(before) == query(i) ? 1 : 0;
      if (count == 0) begin = larger < 0 ? static_cast<std::int32_t>(S - 1) : larger;
      spans.insert(spans.end(), {begin, begin + (count == 0 ? 1 : count)});
      positions.push_back(position);
    }
  }
  return {Tensor::from(spans, {B, T, 2}, device), Tensor::from(positions, {B, T}, device)};
}

}  // namespace monge::test
