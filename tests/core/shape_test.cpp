#include "core/shape.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace monge {
namespace {

TEST(Shape, CountsElementsRowsAndLast) {
  const Shape shape{4, 3, 2};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.numel(), 24);
  EXPECT_EQ(shape.rows(), 12);
  EXPECT_EQ(shape.last(), 2);
  EXPECT_EQ(shape.str(), "(4, 3, 2)");
}

TEST(Shape, DefaultIsAScalar) {
  const Shape scalar;
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.numel(), 1);
  EXPECT_EQ(scalar.rows(), 1);
  EXPECT_EQ(scalar.last(), 1);
  EXPECT_EQ(scalar.str(), "()");
}

TEST(Shape, IndexCountsFromBothEnds) {
  const Shape shape{4, 3, 2};
  EXPECT_EQ(shape[0], 4);
  EXPECT_EQ(shape[2], 2);
  EXPECT_EQ(shape[-1], 2);
  EXPECT_EQ(shape[-3], 4);
  EXPECT_THROW(shape[3], std::invalid_argument);
  EXPECT_THROW(shape[-4], std::invalid_argument);
  EXPECT_THROW(Shape{}[0], std::invalid_argument);
}

TEST(Shape, AnEmptyDimensionEmptiesTheShape) {
  const Shape shape{0, 5};
  EXPECT_EQ(shape.numel(), 0);
  EXPECT_EQ(shape.rows(), 0);
  EXPECT_EQ(shape.last(), 5);
}

TEST(Shape, ReplacesAndDropsADimension) {
  const Shape shape{4, 3, 2};
  EXPECT_EQ(shape.with(-1, 7), (Shape{4, 3, 7}));
  EXPECT_EQ(shape.without(0), (Shape{3, 2}));
  EXPECT_EQ(shape.without(-2), (Shape{4, 2}));
  EXPECT_THROW(shape.with(3, 1), std::invalid_argument);
  EXPECT_THROW(shape.without(-4), std::invalid_argument);
}

TEST(Shape, EqualityNeedsEqualRank) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_EQ((Shape{2, 3, 1}.without(2)), (Shape{2, 3}));
}

TEST(Shape, RefusesTooManyDimensionsAndNegativeSizes) {
  EXPECT_NO_THROW((Shape{1, 1, 1, 1, 1}));
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1}), std::invalid_argument);
  EXPECT_THROW((Shape{2, -1}), std::invalid_argument);
}

}  // namespace
}  // namespace monge
