// Segments on every device against their definition.
#include <gtest/gtest.h>

#include "core/backend.h"
#include "support/spans.h"
#include "support/tested_device.h"

namespace monge::test {
namespace {

struct SegmentCase {
  std::int64_t T, S;
  Ids queries, keys;
};

void expect_spans(const SegmentCase& c, Device device) {
  const std::int64_t B = static_cast<std::int64_t>(c.queries.size()) / c.T;
  const KeySpans expected = spans_by_definition(c.queries, c.T, c.keys, c.S, reference);
  const KeySpans got{Tensor::zeros({B, c.T, 2}, DType::i32, device), Tensor::zeros({B, c.T}, DType::i32, device)};
  backend_of(device).segments({.queries = Tensor::from(c.queries, {B, c.T}, device),
                               .keys = Tensor::from(c.keys, {B, c.S}, device),
                               .spans = got});
  EXPECT_EQ(got.keys.values(), expected.keys.values());
  EXPECT_EQ(got.positions.values(), expected.positions.values());
}

const SegmentCase cases[] = {
    {3, 3, {0, 0, 0}, {0, 0, 0}},           // one sequence
    {4, 3, {0, 0, 0, 0}, {0, 0, 1}},        // padded keys
    {5, 4, {0, 0, 1, 2, 2}, {0, 1, 1, 2}},  // three in a row
    {4, 3, {0, 1, 3, 7}, {1, 1, 4}},        // ids that no key has
    {2, 2, {-5, 9, 2, 2}, {-5, 9, 0, 3}},   // two rows, any ids
    {3, 2, {2147483647, 2147483647, 2147483647}, {0, 2147483647}},
};

TEST(Segments, GiveTheSpansOfTheirDefinition) {
  for (const SegmentCase& c : cases) {
    expect_spans(c, tested);
    expect_spans(c, reference);
  }
  // Many rows and runs.
  SegmentCase big{33, 47, {}, {}};
  for (std::int32_t b = 0; b < 700; ++b) {
    for (std::int32_t i = 0; i < big.T; ++i) big.queries.push_back(i * (1 + b % 7) / 33);
    for (std::int32_t j = 0; j < big.S; ++j) big.keys.push_back(j * (1 + b % 5) / 47);
  }
  expect_spans(big, tested);
}

TEST(Segments, OfOtherShapesAreRefused) {
  const auto ids = [&](const Shape& shape) { return Tensor::zeros(shape, DType::i32, tested); };
  const KeySpans spans{ids({2, 3, 2}), ids({2, 3})};
  Backend& backend = backend_of(tested);
  EXPECT_THROW(backend.segments({ids({2, 3}), ids({3, 4}), spans}), std::invalid_argument);
  EXPECT_THROW(backend.segments({ids({2, 4}), ids({2, 4}), spans}), std::invalid_argument);
  EXPECT_THROW(backend.segments({ids({2, 3}), ids({2, 0}), spans}), std::invalid_argument);
  EXPECT_THROW(backend.segments({ids({2, 3}), ids({2, 4}), {}}), std::invalid_argument);
}

}  // namespace
}  // namespace monge::test
