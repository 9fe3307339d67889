// SPDX-License-Identifier: Apache-2.0
/// \file  Tensor-core instructions and asynchronous copies of compute capability 8.0 and later, one function
/// each.
///
/// Fragments of D = A B + C, A (16,k) row-major, B (k,8) column-major, C and D (16,8), lane l, g = l / 4, t =
/// l % 4 (PTX ISA, "Matrix fragments for mma"): c[0], c[1] are row g, columns 2 t and 2 t + 1; c[2], c[3] row
/// g + 8. 16-bit operands (k = 16): a[0] holds row g, a[1] row g + 8, columns 2 t and 2 t + 1; a[2], a[3] the
/// same rows, columns 8 later; b[0] holds rows 2 t and 2 t + 1 of column g, b[1] those 8 later. tf32 (k = 8):
/// a[0] (g,t), a[1] (g+8,t), a[2] (g,t+4), a[3] (g+8,t+4), b[0] (t,g), b[1] (t+4,g).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include <smx/core/dtype.hpp>

namespace smx::cuda_kernels {

/// Two numbers rounded to nearest even, the first in the low half.
template <class T> __device__ __forceinline__ std::uint32_t pack_halves(float low, float high);
template <> __device__ __forceinline__ std::uint32_t pack_halves<bf16>(float low, float high) {
  std::uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
template <> __device__ __forceinline__ std::uint32_t pack_halves<f16>(float low, float high) {
  std::uint32_t both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

/// A float as tf32 (10 bits of mantissa, rounded to nearest, ties away), in the bits of a float.
__device__ __forceinline__ std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

/// 2^x by the special function unit: relative error 2^-22, 0 below 2^-126.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// c += a b for 16-bit operands, k = 16.
template <class T>
__device__ __forceinline__ void mma_16x8x16(float (&c)[4], std::uint32_t const (&a)[4],
                                            std::uint32_t const (&b)[2]);
template <>
__device__ __forceinline__ void mma_16x8x16<bf16>(float (&c)[4], std::uint32_t const (&a)[4],
                                                  std::uint32_t const (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ __forceinline__ void mma_16x8x16<f16>(float (&c)[4], std::uint32_t const (&a)[4],
                                                 std::uint32_t const (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// c += a b for tf32 operands, k = 8.
__device__ __forceinline__ void mma_16x8x8(float (&c)[4], std::uint32_t const (&a)[4],
                                           std::uint32_t const (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8x8 matrices of 16-bit numbers from shared memory. Lane l names row l % 8 of matrix l / 8 (16 bytes,
/// aligned); register i receives row l / 4, columns 2 (l % 4) and the next, of matrix i; Transposed: column l
/// / 4, rows 2 (l % 4) and the next.
template <bool Transposed>
__device__ __forceinline__ void load_matrices(std::uint32_t (&to)[4], void const* row) {
  auto const address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

/// Copies 16 bytes, both addresses aligned, from global to shared memory, past the registers; zeros instead
/// where `there` is false (nothing is read then). It has happened after copy_wait, for the thread itself.
__device__ __forceinline__ void copy_async_16(void* shared, void const* global, bool there = true) {
  auto const address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  int const bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes)
               : "memory");
}
/// The same for 4 bytes; their line of 128 bytes goes to the L2 cache.
__device__ __forceinline__ void copy_async_4(void* shared, void const* global, bool there = true) {
  auto const address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  int const bytes = there ? 4 : 0;
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 4, %2;" ::"r"(address), "l"(global), "r"(bytes)
               : "memory");
}
/// Closes a group of copies.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `Left` of the latest groups are under way.
template <int Left> __device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

}  // namespace smx::cuda_kernels
