// Copies between strided views: along rows where both sides have them, else through tiles that take whole cache lines
// on both sides.
#include "core/kernel/strided_copy.h"

#include <algorithm>
#include <utility>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace monge::cpu {
namespace {

constexpr std::int64_t side = 32, longest_run = 4096;

/// Two nested loops, and their steps.
struct Plane {
  std::int64_t rows, columns;
  std::int64_t from_row, from_column, to_row, to_column;
};

template <bool accumulate, class T>
void put(T value, T& to) {
  to = accumulate ? static_cast<T>(static_cast<float>(to) + static_cast<float>(value)) : value;
}

template <bool accumulate, class T>
void copy_rows(const Plane& p, const T* from, T* to) {
  for (std::int64_t r = 0; r < p.rows; ++r, from += p.from_row, to += p.to_row) {
    for (std::int64_t c = 0; c < p.columns; ++c) put<accumulate>(from[c], to[c]);
  }
}

template <bool accumulate, class T>
void copy_tiles(const Plane& p, const T* from, T* to) {
  T tile[side][side];
  for (std::int64_t c0 = 0; c0 < p.columns; c0 += side) {
    const std::int64_t columns = std::min(side, p.columns - c0);
    for (std::int64_t c = 0; c < columns; ++c) {
      const T* const column = from + (c0 + c) * p.from_column;
      if (p.from_row == 1) {
        std::copy_n(column, p.rows, tile[c]);
      } else {
        for (std::int64_t r = 0; r < p.rows; ++r) tile[c][r] = column[r * p.from_row];
      }
    }
    for (std::int64_t r = 0; r < p.rows; ++r) {
      T* const row = to + r * p.to_row + c0 * p.to_column;
      for (std::int64_t c = 0; c < columns; ++c) put<accumulate>(tile[c][r], row[c * p.to_column]);
    }
  }
}

template <bool accumulate, class T>
void copy_all(kernel::StridedLoops loops, const T* from, T* to) {
  auto &n = loops.sizes, &x = loops.from, &y = loops.to;
  // The planes of a transpose are those of the two dimensions that are contiguous on either side.
  const auto at = static_cast<std::size_t>(std::ranges::find(x, 1) - x.begin());
  if (at < 3) std::swap(n[at], n[3]), std::swap(x[at], x[3]), std::swap(y[at], y[3]);
  const std::int64_t strips = chunk_count(n[3], side), runs = chunk_count(n[4], longest_run);
  const std::int64_t blocks = n[0] * n[1] * n[2] * strips * runs;
  parallel_rows(blocks, std::min(n[3], side) * std::min(n[4], longest_run), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      std::int64_t rest = block;
      const auto next = [&rest](std::int64_t count) { return std::exchange(rest, rest / count) % count; };
      const std::int64_t column = next(runs) * longest_run, row = next(strips) * side;
      const std::int64_t i2 = next(n[2]), i1 = next(n[1]), i0 = rest;
      const auto start = [&](const auto& steps) {
        return i0 * steps[0] + i1 * steps[1] + i2 * steps[2] + row * steps[3] + column * steps[4];
      };
      const Plane plane{std::min(side, n[3] - row), std::min(longest_run, n[4] - column), x[3], x[4], y[3], y[4]};
      const bool rows = x[4] == 1 && y[4] == 1;
      (rows ? copy_rows<accumulate, T> : copy_tiles<accumulate, T>)(plane, from + start(x), to + start(y));
    }
  });
}

template <class T>
void copy_strided(const kernel::StridedCopy& args) {
  const auto run = args.accumulate ? copy_all<true, T> : copy_all<false, T>;
  run(kernel::StridedLoops(args), args.from.data_as<T>(), args.to.data_as<T>());
}

}  // namespace

void CpuBackend::compute(const kernel::StridedCopy& args) {
  if (args.to.shape().numel() == 0) return;
  args.to.tensor().dtype() == DType::bf16 ? copy_strided<bf16>(args) : copy_strided<float>(args);
}

}  // namespace monge::cpu
