// Products of a device against the reference backend, over odd sizes, both dtypes and every epilogue.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "core/backend.h"
#include "support/tested_device.h"

namespace monge {
namespace {

using test::close;
using test::random_tensor;
using test::reference;
using test::tested;
using test::to_reference;

double tolerance(DType dtype) { return dtype == DType::bf16 ? 1e-2 : 1e-5; }

struct Case {
  std::int64_t m, n, k;
  std::int64_t batch = 0;  // 0: two dimensions
};

Shape shape_of(const Case& c, std::int64_t rows, std::int64_t columns, bool transposed) {
  if (transposed) std::swap(rows, columns);
  return c.batch == 0 ? Shape{rows, columns} : Shape{c.batch, rows, columns};
}

kernel::Matmul make(const Case& c, bool transpose_a, bool transpose_b, DType dtype, DType out) {
  kernel::Matmul args;
  args.a = random_tensor(shape_of(c, c.m, c.k, transpose_a), 1, dtype, tested);
  args.b = random_tensor(shape_of(c, c.k, c.n, transpose_b), 2, dtype, tested);
  args.out = random_tensor(shape_of(c, c.m, c.n, false), 3, out, tested);
  args.transpose_a = transpose_a;
  args.transpose_b = transpose_b;
  return args;
}

// Runs the same call on both devices and compares what they wrote.
void expect_equal(const kernel::Matmul& args) {
  kernel::Matmul oracle = args;
  for (Tensor* t : {&oracle.a, &oracle.b, &oracle.out, &oracle.bias, &oracle.pre_activation}) *t = to_reference(*t);
  backend_of(reference).matmul(oracle);
  backend_of(tested).matmul(args);
  EXPECT_TRUE(close(args.out, oracle.out, tolerance(args.a.dtype())));
  if (args.pre_activation) {
    EXPECT_TRUE(close(args.pre_activation, oracle.pre_activation, tolerance(args.a.dtype())));
  }
}

const std::vector<Case> cases{{1, 1, 1},     {1, 65, 7},    {7, 1, 63},   {63, 64, 65},   {65, 2, 33},
                              {128, 65, 48}, {5, 9, 17, 1}, {7, 5, 3, 3}, {33, 31, 65, 4}};

TEST(Matmul, EveryTransposeAndDtypeMatchesReference) {
  for (const Case& c : cases) {
    for (const auto& [in, out] :
         {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}}) {
      for (const bool transpose_a : {false, true}) {
        for (const bool transpose_b : {false, true}) {
          SCOPED_TRACE(testing::Message() << c.batch << " x " << c.m << " " << c.n << " " << c.k << " " << name_of(in)
                                          << " -> " << name_of(out) << " " << transpose_a << transpose_b);
          kernel::Matmul args = make(c, transpose_a, transpose_b, in, out);
          expect_equal(args);
          args.accumulate = true;
          expect_equal(args);
        }
      }
    }
  }
}

TEST(Matmul, EveryEpilogueMatchesReference) {
  for (const Case& c : cases) {
    for (const auto& [in, out] : {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::bf16}}) {
      for (const auto activation :
           {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::silu, Activation::tanh}) {
        for (const bool with_bias : {false, true}) {
          for (const bool keep : {false, true}) {
            SCOPED_TRACE(testing::Message() << c.batch << " x " << c.m << " " << c.n << " " << c.k << " " << name_of(in)
                                            << " " << name_of(activation) << " " << with_bias << keep);
            kernel::Matmul args = make(c, false, true, in, out);
            args.activation = activation;
            if (with_bias) args.bias = random_tensor({c.n}, 4, in, tested);
            if (keep) args.pre_activation = Tensor::like(args.out);
            expect_equal(args);
          }
        }
      }
    }
  }
}

TEST(Matmul, AWideVocabularyMatchesReference) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    expect_equal(make({3, 50257, 5}, false, true, dtype, dtype));       // logits
    expect_equal(make({3, 5, 50257}, false, false, dtype, dtype));      // their gradient, back to the width
    expect_equal(make({50257, 5, 3}, true, false, dtype, DType::f32));  // and to the table
  }
}

TEST(Matmul, HugeValuesStayFinite) {
  kernel::Matmul args = make({3, 5, 4}, false, false, DType::f32, DType::f32);
  args.a = random_tensor({3, 4}, 1, DType::f32, tested, 1e18);
  args.b = random_tensor({4, 5}, 2, DType::f32, tested, 1e18);
  expect_equal(args);
}

TEST(Matmul, AnEmptyResultIsNoWork) {
  for (const Case& c : {Case{0, 3, 2}, Case{3, 0, 2}}) {
    const kernel::Matmul args = make(c, false, false, DType::f32, DType::f32);
    EXPECT_NO_THROW(backend_of(tested).matmul(args));
  }
}

TEST(Matmul, AnInnerSizeOfZeroIsRefused) {
  const kernel::Matmul args = make({2, 3, 0}, false, false, DType::f32, DType::f32);
  EXPECT_THROW(backend_of(tested).matmul(args), std::invalid_argument);
}

TEST(Matmul, ARepeatedCallGivesTheSameBitsWithoutNewMemory) {
  kernel::Matmul args = make({96, 65, 130}, true, false, DType::f32, DType::f32);
  backend_of(tested).matmul(args);
  const auto first = args.out.values();
  const auto before = backend_of(tested).memory().usage();
  backend_of(tested).matmul(args);
  const auto after = backend_of(tested).memory().usage();
  EXPECT_EQ(args.out.values(), first);
  EXPECT_EQ(after.system_allocations, before.system_allocations);
  EXPECT_EQ(after.active, before.active);
}

}  // namespace
}  // namespace monge
