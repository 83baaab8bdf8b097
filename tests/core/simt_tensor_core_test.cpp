// The tensor-core operations (core/cuda/tensor_core.h) of the emulated device, against plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/cuda/tensor_core.h"
#include "support/compare.h"

namespace monge::MONGE_GPU {
namespace {

constexpr int rows = 16, width = 16;

/// out (16 x 16) = a b^T or a b, all of them 16 x 16 in rows of 16, through shared memory. `waits`: for the copies.
template <bool transposed_b, bool waits>
__global__ void multiply(const bf16* a, const bf16* b, float* out) {
  bf16* const shared = shared_memory<bf16>();
  const int lane = static_cast<int>(threadIdx.x);
  const int row = lane / 2, column = lane % 2 * 8;
  copy_async<16>(shared + row * width + column, a + row * width + column, true);
  copy_async<16>(shared + (rows + row) * width + column, b + row * width + column, true);
  commit_copies();
  copy_async<16>(shared + 2 * rows * width + 8 * lane, a, false);
  commit_copies();
  if (waits) wait_for_copies<1>();
  __syncwarp();

  unsigned left[4], right[4];
  load_matrices(left, shared + lane % 16 * width + lane / 16 * 8);
  const bf16* const second = shared + rows * width;
  if (transposed_b) {
    load_matrices(right, second + (lane % 8 + lane / 16 * 8) * width + lane / 8 % 2 * 8);
  } else {
    load_matrices_transposed(right, second + lane % 16 * width + lane / 16 * 8);
  }
  for (int half = 0; half < 2; ++half) {
    float c[4] = {};
    multiply_add(c, left, right[2 * half], right[2 * half + 1]);
    for (int i = 0; i < 4; ++i) out[(lane / 4 + i / 2 * 8) * width + 8 * half + lane % 4 * 2 + i % 2] = c[i];
  }
  wait_for_copies<0>();
  for (int i = 0; i < 8; ++i) {
    out[rows * width + 8 * lane + i] = static_cast<float>(shared[2 * rows * width + 8 * lane + i]);
  }
}

struct alignas(16) Matrix {
  bf16 at[rows * width];
};

Matrix random_matrix(std::uint64_t seed) {
  Matrix m;
  const auto values = test::random_values(rows * width, seed);
  for (int i = 0; i < rows * width; ++i) m.at[i] = bf16(static_cast<float>(values[static_cast<std::size_t>(i)]));
  return m;
}

template <bool transposed_b, bool waits = true>
std::vector<float> product(const Matrix& a, const Matrix& b) {
  std::vector<float> out(2 * rows * width);
  run(multiply<transposed_b, waits>, 1, 32, 3 * sizeof(Matrix), a.at, b.at, out.data());
  return out;
}

TEST(TensorCore, ProductsFromSharedMemoryMatchPlainLoops) {
  const Matrix a = random_matrix(1), b = random_matrix(2);
  const auto with_transposed = product<true>(a, b), plain = product<false>(a, b);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < width; ++j) {
      double expected_transposed = 0.0, expected = 0.0;
      for (int k = 0; k < width; ++k) {
        const double x = static_cast<float>(a.at[i * width + k]);
        expected_transposed += x * static_cast<float>(b.at[j * width + k]);
        expected += x * static_cast<float>(b.at[k * width + j]);
      }
      const auto at = static_cast<std::size_t>(i * width + j);
      EXPECT_NEAR(with_transposed[at], expected_transposed, 1e-5);
      EXPECT_NEAR(plain[at], expected, 1e-5);
      EXPECT_EQ(plain[rows * width + at], 0.0f);  // a copy that is not valid
    }
  }
}

TEST(TensorCore, CopyThatNobodyWaitsForIsNaN) {
  const auto out = product<true, false>(random_matrix(1), random_matrix(2));
  for (std::size_t i = 0; i < rows * width; ++i) EXPECT_TRUE(std::isnan(out[i]));
}

/// Rows of 128 bytes all start in the same bank; with the eight chunks of each row turned, they do not.
__global__ void read_column(bool turned) {
  bf16* const shared = shared_memory<bf16>();
  const int lane = static_cast<int>(threadIdx.x);
  unsigned out[4];
  load_matrices(out, shared + lane * 64 + (turned ? 8 * (lane % 8) : 0));
}

TEST(TensorCore, BankConflictsAreCounted) {
  const auto before = bank_conflicts;
  run(read_column, 1, 32, 32 * 128, true);
  EXPECT_EQ(bank_conflicts, before);
  run(read_column, 1, 32, 32 * 128, false);
  EXPECT_EQ(bank_conflicts, before + 4);
}

__global__ void read_odd_row() {
  unsigned out[4];
  load_matrices(out, shared_memory<bf16>() + 4);
}

TEST(TensorCore, OddAddressesAreRefused) { EXPECT_THROW(run(read_odd_row, 1, 32, 64), LaunchError); }

}  // namespace
}  // namespace monge::MONGE_GPU
