// The tensor cores and the copies that feed them, one PTX instruction each, as every architecture from sm_80 on has
// them; on the emulated device the same functions are in tests/simt/tensor_core.h.
//
// A matrix is spread over the registers of a warp. With g = lane / 4 and t = lane % 4, and two neighbouring bf16 in
// each 32-bit register, the first in the lower half (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point
// type"):
//   a (16 x 16)   a[0]: row g,     columns 2t, 2t+1       a[2]: row g,     columns 2t+8, 2t+9
//                 a[1]: row g + 8, columns 2t, 2t+1       a[3]: row g + 8, columns 2t+8, 2t+9
//   b (16 x 8)    b[0]: column g, rows 2t, 2t+1           b[1]: column g, rows 2t+8, 2t+9
//   c (16 x 8)    c[0], c[1]: row g, columns 2t, 2t+1     c[2], c[3]: row g + 8, columns 2t, 2t+1
// So two neighbouring tiles c, packed to bf16, are the operand a of a following product.
#pragma once

#include "core/cuda/gpu.h"

#if defined(MONGE_SIMT)
#include "simt/tensor_core.h"
#else

namespace monge::MONGE_GPU {

/// c = c + a b.
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Two floats rounded to bf16 in one register, `low` in its lower half.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
  unsigned out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

__device__ __forceinline__ unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

/// Four 8 x 8 matrices of bf16 from shared memory. Lane l gives the address of row l % 8 of matrix l / 8, a multiple of
/// 16 bytes, and gets the elements 2t, 2t+1 of row g of matrix i in out[i].
__device__ __forceinline__ void load_matrices(unsigned (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same, each matrix transposed: the elements 2t, 2t+1 of column g.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Starts the copy of 4 or 16 bytes of global to shared memory, both aligned to as many; zeros when not `valid`, `from`
/// being any address of global memory then.
template <int bytes>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool valid) {
  static_assert(bytes == 4 || bytes == 16);
  const unsigned shared = shared_address(to);
  if constexpr (bytes == 16) {  // around the first-level cache: a tile is read once
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(from), "r"(valid ? 4 : 0)
                 : "memory");
  }
}

/// Ends a group of copies of this thread.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits for the copies of this thread, all but its `pending` latest groups. Other threads' need a barrier.
template <int pending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace monge::MONGE_GPU

#endif
