// Copies between strided views of a device against the reference backend.
#include <gtest/gtest.h>

#include "core/kernels.h"

namespace monge {
namespace {

using test::tested;
using Tensors = std::vector<Tensor>;

class StridedCopies : public test::Kernels {
 protected:
  /// Copies view(from) to view(to), each a function of its tensor, over what is there and added to it.
  template <class From, class To>
  void compare_copies(const Shape& from, const From& view, const Shape& to, const To& target) {
    SCOPED_TRACE(testing::Message() << from.str() << " to " << to.str());
    for (const bool accumulate : {false, true}) {
      compare({random(from, 1), random(to, 2)}, {1}, [&](Backend& d, const Tensors& t) {
        d.strided_copy({.from = view(t[0]), .to = target(t[1]), .accumulate = accumulate});
      });
    }
  }
};
MONGE_KERNEL_TESTS(StridedCopies);

StridedView all(const Tensor& x) { return x; }

TEST_P(StridedCopies, TransposesOfNeighbours) {
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 3, 5, 7}, Shape{1, 65, 33, 1}, Shape{3, 64, 4, 32},
                             Shape{1, 257, 129, 1}, Shape{2, 1, 7, 16}, Shape{2, 0, 7, 16}}) {
    const auto swapped = [](const Tensor& x) { return StridedView(x).transpose(1, 2); };
    const Shape out{shape[0], shape[2], shape[1], shape[3]};
    compare_copies(shape, swapped, out, all);
    compare_copies(shape, all, out, swapped);
  }
}

TEST_P(StridedCopies, TransposesOfDistantDimensions) {
  for (const auto& [a, b] : {std::pair{0, 4}, {0, 2}, {1, 4}, {1, 3}}) {
    const Shape shape{3, 5, 37, 2, 41};
    compare_copies(
        shape, [a = a, b = b](const Tensor& x) { return StridedView(x).transpose(a, b); },
        shape.with(a, shape[b]).with(b, shape[a]), all);
  }
}

// Widths on which vectors fit and do not fit, at places where they are and are not aligned.
TEST_P(StridedCopies, SlicesOfTheLastDimension) {
  for (const auto& [rows, width, begin, end] : std::vector<std::array<std::int64_t, 4>>{{1, 1, 0, 1},
                                                                                        {7, 5, 1, 4},
                                                                                        {65, 96, 32, 64},
                                                                                        {65, 96, 31, 64},
                                                                                        {3, 9001, 8, 8992},
                                                                                        {129, 24, 8, 16},
                                                                                        {129, 3, 2, 3},
                                                                                        {5, 8, 3, 3}}) {
    const auto part = [b = begin, e = end](const Tensor& x) { return StridedView(x).slice(-1, b, e); };
    compare_copies({rows, width}, part, {rows, end - begin}, all);
    compare_copies({rows, end - begin}, all, {rows, width}, part);
    compare_copies({rows, width}, part, {rows, width}, part);
  }
}

TEST_P(StridedCopies, SlicesOfInnerDimensionsOfATranspose) {
  const auto part = [](const Tensor& x) { return StridedView(x).slice(2, 5, 38).transpose(1, 2).slice(3, 1, 18); };
  compare_copies({2, 3, 40, 19}, part, {2, 33, 3, 17}, all);
  compare_copies({2, 33, 3, 17}, all, {2, 3, 40, 19}, part);
}

TEST_P(StridedCopies, BackAndForthIsExact) {
  const Tensor x = random({3, 37, 65}, 1), y = blank({65, 37, 3}), back = blank({3, 37, 65});
  backend_of(tested).strided_copy({.from = StridedView(x).transpose(0, 2), .to = y});
  backend_of(tested).strided_copy({.from = y, .to = StridedView(back).transpose(0, 2)});
  EXPECT_EQ(back.values(), x.values());
}

}  // namespace
}  // namespace monge
