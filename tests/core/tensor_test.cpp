#include "core/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "support/compare.h"

namespace monge {
namespace {

using test::reference;

/// 0, 1, 2, ... on the reference device.
Tensor counting(const Shape& shape) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0.0);
  return Tensor::from(values, shape, DType::f64, reference);
}

TEST(Tensor, DefaultIsUndefined) {
  const Tensor none;
  EXPECT_FALSE(none.defined());
  EXPECT_FALSE(none);
  EXPECT_THROW(none.values(), std::invalid_argument);
}

TEST(Tensor, KeepsTheValuesItWasMadeFrom) {
  const std::vector<double> values{1.5, -2.0, 3.25, 0.0, 1e300, -1e-300};
  const Tensor x = Tensor::from(values, {2, 3}, DType::f64, reference);
  EXPECT_EQ(x.values(), values);
  EXPECT_EQ(x.bytes(), 48u);
  EXPECT_EQ(x.device(), reference);

  const std::vector<std::int32_t> ids{7, -1, 2147483647};
  const Tensor i = Tensor::from(ids, {3}, reference);
  EXPECT_EQ(i.dtype(), DType::i32);
  EXPECT_EQ(i.values(), (std::vector<double>{7, -1, 2147483647}));
}

TEST(Tensor, RefusesAWrongNumberOfValues) {
  EXPECT_THROW(Tensor::from(std::vector<double>{1.0, 2.0}, {3}, DType::f64, reference), std::invalid_argument);
  EXPECT_THROW(Tensor::from(std::vector<std::int32_t>{1, 2}, {1}, reference), std::invalid_argument);
}

TEST(Tensor, ZerosAreZero) {
  { const Tensor dirty = test::random_tensor({8}, 1); }  // so that the block is likely to be reused
  EXPECT_EQ(Tensor::zeros({8}, DType::f64, reference).values(), std::vector<double>(8, 0.0));
}

TEST(Tensor, ReshapeSharesMemory) {
  const Tensor x = counting({2, 6});
  const Tensor y = x.reshape({3, 4});
  EXPECT_EQ(y.shape(), (Shape{3, 4}));
  EXPECT_TRUE(y.same_memory(x));
  y.backend().fill({.x = y, .value = 9.0});
  EXPECT_EQ(x.values(), std::vector<double>(12, 9.0));
  EXPECT_THROW(x.reshape({5}), std::invalid_argument);
}

TEST(Tensor, SliceIsAViewOfRows) {
  const Tensor x = counting({4, 3});
  const Tensor middle = x.slice(1, 3);
  EXPECT_EQ(middle.shape(), (Shape{2, 3}));
  EXPECT_EQ(middle.values(), (std::vector<double>{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(middle.slice(1, 2).values(), (std::vector<double>{6, 7, 8}));
  middle.backend().fill({.x = middle.slice(0, 1), .value = -1.0});
  EXPECT_EQ(x.values(), (std::vector<double>{0, 1, 2, -1, -1, -1, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(x.slice(4, 4).numel(), 0);
  EXPECT_THROW(x.slice(1, 5), std::invalid_argument);
  EXPECT_THROW(x.slice(3, 2), std::invalid_argument);
  EXPECT_THROW(x.slice(-1, 2), std::invalid_argument);
  EXPECT_THROW(Tensor::zeros({}, DType::f64, reference).slice(0, 1), std::invalid_argument);
}

TEST(Tensor, FlatViewReadsAnyRangeAsAnyShape) {
  const Tensor x = counting({12});
  EXPECT_EQ(x.flat_view(5, {2, 3}).values(), (std::vector<double>{5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(x.slice(2, 12).flat_view(1, {2}).values(), (std::vector<double>{3, 4}));
  EXPECT_THROW(x.flat_view(7, {2, 3}), std::invalid_argument);
  EXPECT_THROW(x.flat_view(-1, {2}), std::invalid_argument);
}

TEST(Tensor, CopiesShareAndClonesDoNot) {
  const Tensor x = counting({3});
  const Tensor shared = x;
  const Tensor cloned = x.clone();
  x.backend().fill({.x = x, .value = 5.0});
  EXPECT_EQ(shared.values(), std::vector<double>(3, 5.0));
  EXPECT_EQ(cloned.values(), (std::vector<double>{0, 1, 2}));
  EXPECT_FALSE(cloned.same_memory(x));
}

TEST(Tensor, AViewKeepsTheStorageAlive) {
  Tensor row;
  {
    const Tensor x = counting({2, 2});
    row = x.slice(1, 2);
  }
  const Tensor other = test::random_tensor({2, 2}, 1);  // would land in the block, had it been freed
  EXPECT_EQ(row.values(), (std::vector<double>{2, 3}));
}

TEST(Tensor, ItemNeedsOneElement) {
  EXPECT_EQ(counting({1, 1}).item(), 0.0);
  EXPECT_THROW(counting({2}).item(), std::invalid_argument);
}

TEST(Tensor, EmptyTensorsWork) {
  const Tensor empty = Tensor::zeros({0, 4}, DType::f64, reference);
  EXPECT_TRUE(empty.defined());
  EXPECT_TRUE(empty.values().empty());
  EXPECT_EQ(empty.clone().shape(), (Shape{0, 4}));
}

TEST(Tensor, MemoryIsCountedInItsPool) {
  MemoryPools& memory = backend_of(reference).memory();
  const auto before = memory.usage()[Pool::optimizer].active;
  {
    const Tensor x = Tensor::empty({1024}, DType::f64, reference, Pool::optimizer);
    EXPECT_EQ(memory.usage()[Pool::optimizer].active - before, 8192u);
  }
  EXPECT_EQ(memory.usage()[Pool::optimizer].active, before);
}

TEST(Bf16, RoundsToNearestTiesToEven) {
  const auto round = [](float x) { return static_cast<float>(bf16(x)); };
  EXPECT_EQ(round(1.0f), 1.0f);
  EXPECT_EQ(round(1.0f + 0x1p-8f), 1.0f);            // a tie: 1 has the even mantissa
  EXPECT_EQ(round(1.0f + 0x3p-8f), 1.0f + 0x1p-6f);  // a tie: the next one up is even
  EXPECT_EQ(round(1.0f + 0x1.01p-8f), 1.0f + 0x1p-7f);
  EXPECT_EQ(round(-1.0f - 0x1.01p-8f), -1.0f - 0x1p-7f);
  EXPECT_EQ(round(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(round(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(round(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(round(std::bit_cast<float>(0x7f800001u))));  // its payload lies below the kept half
  EXPECT_EQ(std::signbit(round(-0.0f)), true);
}

TEST(Device, NamesRoundTrip) {
  for (const char* name : {"cpu", "reference", "cuda", "cuda:3"}) EXPECT_EQ(parse_device(name).str(), name);
  EXPECT_EQ(parse_device("cuda:0").str(), "cuda");
}

TEST(Device, AnUnknownNameListsWhatIsAllowed) {
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CPU"}) {
    try {
      parse_device(name);
      ADD_FAILURE() << "'" << name << "' was accepted";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("reference"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace monge
