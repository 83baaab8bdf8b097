#include "core/strided_view.h"

#include <utility>

#include "core/error.h"

namespace monge {

StridedView::StridedView(Tensor tensor) : tensor_(std::move(tensor)), shape_(tensor_.shape()) {
  std::int64_t stride = 1;
  for (int i = shape_.rank() - 1; i >= 0; --i) {
    strides_[static_cast<std::size_t>(i)] = stride;
    stride *= shape_[i];
  }
}

int StridedView::resolve(const char* op, int dim) const {
  const int position = dim < 0 ? dim + shape_.rank() : dim;
  require(position >= 0 && position < shape_.rank(), "[{}] {} has no dimension {}", op, shape_, dim);
  return position;
}

StridedView StridedView::slice(int dim, std::int64_t begin, std::int64_t end) const {
  dim = resolve("slice", dim);
  require(0 <= begin && begin <= end && end <= shape_[dim], "[slice] [{}, {}) is not a part of dimension {} of {}",
          begin, end, dim, shape_);
  StridedView out = *this;
  out.offset_ += begin * stride(dim);
  out.shape_ = shape_.with(dim, end - begin);
  return out;
}

StridedView StridedView::transpose(int a, int b) const {
  a = resolve("transpose", a);
  b = resolve("transpose", b);
  StridedView out = *this;
  out.shape_ = shape_.with(a, shape_[b]).with(b, shape_[a]);
  std::swap(out.strides_[static_cast<std::size_t>(a)], out.strides_[static_cast<std::size_t>(b)]);
  return out;
}

}  // namespace monge
