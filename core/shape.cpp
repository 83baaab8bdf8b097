#include "core/shape.h"

#include <algorithm>
#include <span>

#include "core/error.h"

namespace monge {
namespace {

/// So few that their bytes can be counted as well.
std::int64_t product(std::span<const std::int64_t> sizes, const Shape& shape) {
  constexpr std::int64_t most = std::int64_t{1} << 56;
  std::int64_t n = 1;
  for (const std::int64_t size : sizes) {
    if (__builtin_mul_overflow(n, size, &n) || n > most) [[unlikely]] {
      throw OutOfMemory(
          fmt::format("a tensor of shape {} has more elements than any machine can hold; lower the sizes "
                      "that it is made of: model.width, model.context, train.batch, the vocabulary",
                      shape));
    }
  }
  return n;
}

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> sizes) {
  require(sizes.size() <= max_rank, "a tensor has at most {} dimensions, got {}", max_rank, sizes.size());
  for (const auto size : sizes) {
    require(size >= 0, "a dimension cannot be negative, got {}", size);
    sizes_[static_cast<std::size_t>(rank_++)] = size;
  }
}

int Shape::resolve(int i) const {
  const int index = i < 0 ? i + rank_ : i;
  if (index < 0 || index >= rank_) [[unlikely]] {  // text is made only when it is needed: this is on every op's path
    throw std::invalid_argument(fmt::format("dimension {} does not exist in shape {}", i, str()));
  }
  return index;
}

std::int64_t Shape::operator[](int i) const { return sizes_[static_cast<std::size_t>(resolve(i))]; }

std::int64_t Shape::numel() const { return product(std::span(sizes_).first(static_cast<std::size_t>(rank_)), *this); }

std::int64_t Shape::rows() const {
  return product(std::span(sizes_).first(static_cast<std::size_t>(std::max(rank_ - 1, 0))), *this);
}

Shape Shape::with(int i, std::int64_t size) const {
  Shape out = *this;
  out.sizes_[static_cast<std::size_t>(resolve(i))] = size;
  return out;
}

Shape Shape::without(int i) const {
  const int drop = resolve(i);
  Shape out;
  for (int k = 0; k < rank_; ++k) {
    if (k != drop) out.sizes_[static_cast<std::size_t>(out.rank_++)] = sizes_[static_cast<std::size_t>(k)];
  }
  return out;
}

std::string Shape::str() const {
  std::string out = "(";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) out += ", ";
    out += std::to_string(sizes_[static_cast<std::size_t>(i)]);
  }
  return out + ")";
}

}  // namespace monge
