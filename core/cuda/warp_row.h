// The Rows of core/row_map in a kernel: WarpRow, numbers in memory shared by the lanes of a warp, and OneOfRow, a
// single number of a row whose statistic is known.
#pragma once

#include "core/cuda/reduce.h"
#include "core/row_map/row_map.h"

namespace monge::MONGE_GPU {

/// What both may do with an element.
struct DeviceRow {
  using Number = float;

  __device__ static Number exp(Number x) { return expf(x); }
  __device__ static Number log(Number x) { return logf(x); }
  __device__ static Number expm1(Number x) { return expm1f(x); }
  __device__ static Number log1p(Number x) { return log1pf(x); }
  __device__ static Number sqrt(Number x) { return sqrtf(x); }
  __device__ static Number relu(Number x) { return x < 0.0f ? 0.0f : x; }  // NaN stays NaN
  __device__ static Number positive(Number x) { return x > 0.0f ? 1.0f : 0.0f; }
};

class WarpRow : public DeviceRow {
 public:
  /// All lanes of a warp make one, of the same row. Lane l owns the elements l, l + 32, ...: it may read and write
  /// these between the calls.
  __device__ WarpRow(float* data, std::int64_t size) : data_(data), size_(size), lane_(threadIdx.x % warp_width) {}

  __device__ std::int64_t size() const { return size_; }
  __device__ Number max() const {
    Number top = -INFINITY;
    for (std::int64_t j = lane_; j < size_; j += warp_width) top = fmaxf(top, data_[j]);
    return warp_max(top);
  }
  template <class F>
  __device__ Number sum(F f) const {
    Number total = 0.0f;
    for (std::int64_t j = lane_; j < size_; j += warp_width) total += f(data_[j]);
    return warp_sum(total);
  }
  template <class F>
  __device__ Number apply(F f) {
    Number total = 0.0f;
    for (std::int64_t j = lane_; j < size_; j += warp_width) total += data_[j] = f(data_[j]);
    return warp_sum(total);
  }
  /// Calls f(j) for the elements of this lane.
  template <class F>
  __device__ void each_index(F f) const {
    for (std::int64_t j = lane_; j < size_; j += warp_width) f(j);
  }

 private:
  float* data_;
  std::int64_t size_;
  unsigned lane_;
};

/// From its statistic, a map's weights are elementwise: this is the Row of one of `size` elements.
struct OneOfRow : DeviceRow {
  float value;
  std::int64_t count;

  __device__ OneOfRow(float x, std::int64_t size) : value(x), count(size) {}
  __device__ std::int64_t size() const { return count; }
  template <class F>
  __device__ Number apply(F f) {
    return value = f(value);
  }
};

/// The weight of score z in a row of n keys with this statistic.
template <class Map>
__device__ float weight_of(const Map& map, float z, float stat, std::int64_t n) {
  OneOfRow row(z, n);
  map.recompute(row, stat);
  return row.value;
}

}  // namespace monge::MONGE_GPU
