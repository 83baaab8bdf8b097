// Parallel loops over fixed chunks (OpenMP).
//
// The chunks depend on the size of the work only, never on the number of threads, so a result that is put together
// from per-chunk parts in chunk order has the same bits on every machine. A loop of one chunk runs in the caller.
// The loop bodies must not throw.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace monge::cpu {

/// How many threads a parallel loop uses at most.
inline int thread_count() { return omp_get_max_threads(); }

/// Elements of simple work (a few operations each) that make a chunk: some microseconds, well above the cost of
/// starting a parallel region.
inline constexpr std::int64_t elements_per_chunk = 16384;

/// Rows per chunk for rows of `width` elements.
inline std::int64_t rows_per_chunk(std::int64_t width) {
  return std::max<std::int64_t>(1, elements_per_chunk / std::max<std::int64_t>(1, width));
}

inline std::int64_t chunk_count(std::int64_t n, std::int64_t chunk) { return (n + chunk - 1) / chunk; }

/// f(begin, end) for the chunks [0, chunk), [chunk, 2 chunk), ... of [0, n). Each thread takes neighbouring chunks.
template <class F>
void parallel_chunks(std::int64_t n, std::int64_t chunk, F&& f) {
  const std::int64_t count = chunk_count(n, chunk);
  if (count == 1) return f(std::int64_t{0}, n);
#pragma omp parallel for schedule(static)
  for (std::int64_t c = 0; c < count; ++c) f(c * chunk, std::min(n, (c + 1) * chunk));
}

/// f(begin, end) over the elements of a flat array.
template <class F>
void parallel_elements(std::int64_t n, F&& f) {
  parallel_chunks(n, elements_per_chunk, f);
}

/// f(begin, end) over rows of `width` elements.
template <class F>
void parallel_rows(std::int64_t rows, std::int64_t width, F&& f) {
  parallel_chunks(rows, rows_per_chunk(width), f);
}

/// f(item, worker) for each of `n` large items of uneven cost; `worker` < thread_count() names the thread's scratch.
template <class F>
void parallel_items(std::int64_t n, F&& f) {
  if (n == 1) return f(std::int64_t{0}, 0);
#pragma omp parallel for schedule(dynamic, 1)
  for (std::int64_t i = 0; i < n; ++i) f(i, omp_get_thread_num());
}

}  // namespace monge::cpu
