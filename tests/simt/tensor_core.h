// core/cuda/tensor_core.h for the emulated device: the same functions, by the layouts of the PTX ISA.
#pragma once

#include <set>

#include "core/dtype.h"
#include "simt/simt.h"

namespace monge::simt {

/// How often eight rows that ldmatrix reads at once shared memory banks, since the program started.
inline std::uint64_t bank_conflicts = 0;

inline float low_bf16(unsigned pair) { return std::bit_cast<float>(pair << 16); }
inline float high_bf16(unsigned pair) { return std::bit_cast<float>(pair & 0xffff0000u); }
inline unsigned pack_bf16(float low, float high) {
  return bf16(low).bits | static_cast<unsigned>(bf16(high).bits) << 16;
}

inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                         Where where = Where::current()) {
  struct Operand {
    float* c;
    const unsigned* a;
    unsigned b[2];
  } operand{c, a, {b0, b1}};
  warp_operation(
      "mma", 0xffffffffu,
      [](void* const(&lanes)[warpSize]) {
        float a[16][16], b[16][8], c[16][8];  // b: (k, n)
        for (int lane = 0; lane < warpSize; ++lane) {
          const auto& mine = *static_cast<const Operand*>(lanes[lane]);
          const int g = lane / 4, t = lane % 4;
          for (int i = 0; i < 4; ++i) {
            const int row = g + i % 2 * 8, column = 2 * t + i / 2 * 8;
            a[row][column] = low_bf16(mine.a[i]);
            a[row][column + 1] = high_bf16(mine.a[i]);
            c[g + i / 2 * 8][2 * t + i % 2] = mine.c[i];
          }
          for (int i = 0; i < 2; ++i) {
            b[2 * t + 8 * i][g] = low_bf16(mine.b[i]);
            b[2 * t + 8 * i + 1][g] = high_bf16(mine.b[i]);
          }
        }
        for (int m = 0; m < 16; ++m) {
          for (int k = 0; k < 16; ++k) {
            for (int n = 0; n < 8; ++n) c[m][n] += a[m][k] * b[k][n];
          }
        }
        for (int lane = 0; lane < warpSize; ++lane) {
          const auto& mine = *static_cast<const Operand*>(lanes[lane]);
          for (int i = 0; i < 4; ++i) mine.c[i] = c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
        }
      },
      &operand, where);
}

inline void check_alignment(const void* address, std::uintptr_t bytes, const char* name) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0) {
    throw LaunchError(std::string(name) + " needs addresses that are multiples of " + std::to_string(bytes) + " bytes");
  }
}

struct MatrixRows {
  const bf16* row;
  unsigned out[4];
};

template <bool transposed>
void load_matrices_of(void* const (&lanes)[warpSize]) {
  const bf16* rows[4][8];  // of each matrix
  for (int matrix = 0; matrix < 4; ++matrix) {
    std::set<std::uintptr_t> banks;  // sixteen bytes each
    for (int i = 0; i < 8; ++i) {
      rows[matrix][i] = static_cast<const MatrixRows*>(lanes[8 * matrix + i])->row;
      check_alignment(rows[matrix][i], 16, "ldmatrix");
      banks.insert(reinterpret_cast<std::uintptr_t>(rows[matrix][i]) / 16 % 8);
    }
    if (banks.size() < 8) ++bank_conflicts;
  }
  for (int lane = 0; lane < warpSize; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto& m = rows[matrix];
      const bf16 first = transposed ? m[2 * t][g] : m[g][2 * t],
                 second = transposed ? m[2 * t + 1][g] : m[g][2 * t + 1];
      static_cast<MatrixRows*>(lanes[lane])->out[matrix] = first.bits | static_cast<unsigned>(second.bits) << 16;
    }
  }
}

inline void load_matrices(unsigned (&out)[4], const void* row, Where where = Where::current()) {
  MatrixRows operand{static_cast<const bf16*>(row), {}};
  warp_operation("ldmatrix", 0xffffffffu, load_matrices_of<false>, &operand, where);
  std::copy(operand.out, operand.out + 4, out);
}
inline void load_matrices_transposed(unsigned (&out)[4], const void* row, Where where = Where::current()) {
  MatrixRows operand{static_cast<const bf16*>(row), {}};
  warp_operation("ldmatrix.trans", 0xffffffffu, load_matrices_of<true>, &operand, where);
  std::copy(operand.out, operand.out + 4, out);
}

// The copies happen when they are waited for, and not at all when nobody does.
template <int bytes>
void copy_async(void* to, const void* from, bool valid) {
  static_assert(bytes == 4 || bytes == 16);
  check_alignment(to, bytes, "cp.async");
  check_alignment(from, bytes, "cp.async");
  pending_copies().back().push_back({to, valid ? from : nullptr, bytes});
}
inline void commit_copies() { pending_copies().emplace_back(); }
template <int pending>
void wait_for_copies() {
  auto& groups = pending_copies();  // the last one is not committed
  const std::size_t ready = groups.size() <= pending + 1 ? 0 : groups.size() - 1 - pending;
  for (std::size_t group = 0; group < ready; ++group) {
    for (const PendingCopy& copy : groups[group]) {
      if (copy.from == nullptr) {
        std::memset(copy.to, 0, copy.bytes);
      } else {
        std::memcpy(copy.to, copy.from, copy.bytes);
      }
    }
  }
  groups.erase(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(ready));
}

}  // namespace monge::simt
