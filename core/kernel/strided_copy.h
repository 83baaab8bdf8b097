// Copies between strided views: transposes, slices and concatenations of tensors.
#pragma once

#include <array>

#include "core/kernel/call.h"
#include "core/strided_view.h"

namespace monge::kernel {

/// to = [to +] from. Equal shapes and dtypes, in memory that does not overlap.
struct StridedCopy {
  StridedView from, to;
  bool accumulate = false;
};

Call check(const StridedCopy& args, Device device);
profile::KernelCall describe(const Call& call, const StridedCopy& args);

/// The same as five nested loops, the last one innermost, with the steps of both sides in elements. They go over `to`
/// in the order of its memory; dimensions that are contiguous in each other on both sides are one loop. Loops that are
/// not needed have size 1 and come first.
struct StridedLoops {
  using Five = std::array<std::int64_t, Shape::max_rank>;
  Five sizes{1, 1, 1, 1, 1}, from{}, to{};

  explicit StridedLoops(const StridedCopy& args);
  /// Both sides step by one element in the innermost loop.
  bool contiguous() const { return from[4] == 1 && to[4] == 1; }
};

}  // namespace monge::kernel
