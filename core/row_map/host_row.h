// HostRow: a row of numbers in memory as the plain Row of row_map.h, one element at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace monge {

template <class T>
class HostRow {
 public:
  using Number = T;

  HostRow(T* data, std::int64_t size) : data_(data), size_(size) {}

  T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  Number max() const {
    Number top = -std::numeric_limits<Number>::infinity();
    for (std::int64_t j = 0; j < size_; ++j) top = std::max(top, data_[j]);
    return top;
  }
  template <class F>
  Number sum(F f) const {
    Number total = 0;
    for (std::int64_t j = 0; j < size_; ++j) total += f(data_[j]);
    return total;
  }
  template <class F>
  Number apply(F f) {
    Number total = 0;
    for (std::int64_t j = 0; j < size_; ++j) total += data_[j] = f(data_[j]);
    return total;
  }

  static Number exp(Number x) { return std::exp(x); }
  static Number log(Number x) { return std::log(x); }
  static Number expm1(Number x) { return std::expm1(x); }
  static Number log1p(Number x) { return std::log1p(x); }
  static Number sqrt(Number x) { return std::sqrt(x); }
  static Number relu(Number x) { return x < 0 ? Number(0) : x; }  // NaN stays NaN
  static Number positive(Number x) { return x > 0 ? Number(1) : Number(0); }
  template <class F>
  static Number each(F f, Number x) {
    return f(x);
  }

 private:
  T* data_;
  std::int64_t size_;
};

}  // namespace monge
