// SPDX-License-Identifier: Apache-2.0
/// \file  What compute capability 9.0a has beyond 8.0, one function each: products of a warpgroup (four
/// warps) from shared memory (wgmma), barriers that count threads and bytes (mbarrier), bulk copies.
///
/// Elsewhere the functions stop the kernel: callers ask has_warpgroups first. Layout of D (64,N) in
/// registers, PTX ISA "Register fragments for wgmma": warp w of the group has rows 16 w .., and of those each
/// lane what mma_16x8x16 gives it, d[n] being columns 8 n .. 8 n + 7; A (64,16) from registers likewise.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include <smx/backend/cuda/error.cuh>
#include <smx/core/dtype.hpp>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SMX_WARPGROUP_ASM(...) asm volatile(__VA_ARGS__)
#else
#define SMX_WARPGROUP_ASM(...) __trap()
#endif

namespace smx::cuda_kernels {

/// Whether the code that is compiled is that of such a device.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool compiles_for_warpgroups = true;
#else
inline constexpr bool compiles_for_warpgroups = false;
#endif

/// Whether the current device runs what `kernel` does with warpgroups. The kernel keeps its barriers in
/// static shared memory, and its body is left out for other devices: no barriers, no body.
template <class K> bool has_warpgroups(K* kernel) {
  cudaFuncAttributes about{};
  check(cudaFuncGetAttributes(&about, reinterpret_cast<void const*>(kernel)), "cudaFuncGetAttributes");
  return about.sharedSizeBytes > 0;
}

/// Of 8-row groups of 128 bytes a row, swizzled as in attention_layout.hpp: the start (a multiple of 16 in
/// groups that start at multiples of 1024), and the bytes from one to the next, along the contiguous axis
/// (panels) and the other one (groups of eight).
__device__ __forceinline__ std::uint64_t describe_matrix(std::byte const* start, int panel_bytes) {
  std::uint64_t const at = static_cast<std::uint32_t>(__cvta_generic_to_shared(start)) >> 4 & 0x3FFF;
  constexpr std::uint64_t swizzled_by_128 = std::uint64_t{1} << 62, group = 1024 >> 4;
  return at | static_cast<std::uint64_t>(panel_bytes >> 4) << 16 | group << 32 | swizzled_by_128;
}

/// The first multiple of 1024 bytes of shared memory from p on.
__device__ __forceinline__ std::byte* align_1024(std::byte* p) {
  auto const at = static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
  return p + (1024 - at % 1024) % 1024;
}

/// Registers of each thread of the warpgroup from here on: what some give back (fewer than the kernel was
/// started with) others take.
template <int Count> __device__ __forceinline__ void give_back_registers() {
  SMX_WARPGROUP_ASM("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count> __device__ __forceinline__ void take_registers() {
  SMX_WARPGROUP_ASM("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}

/// Before products_begin: what products will read and add to is in registers, and stays there.
template <int Steps, int Tiles>
__device__ __forceinline__ void products_take(std::uint32_t (&a)[Steps][4], float (&d)[Tiles][4]) {
#pragma unroll
  for (int s = 0; s < Steps; ++s)
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+r"(a[s][i])::"memory");
#pragma unroll
  for (int n = 0; n < Tiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(d[n][i])::"memory");
}
/// Before the first product that uses registers that the threads wrote.
__device__ __forceinline__ void products_begin() {
  SMX_WARPGROUP_ASM("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Closes the group of products since the last call.
__device__ __forceinline__ void products_commit() {
  SMX_WARPGROUP_ASM("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until all products are done, and tells the compiler that d changed.
template <int Tiles> __device__ __forceinline__ void products_wait(float (&d)[Tiles][4]) {
  SMX_WARPGROUP_ASM("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
  for (int n = 0; n < Tiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(d[n][i])::"memory");
}

#define SMX_D4(n) "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define SMX_D16(n) SMX_D4(n), SMX_D4((n) + 1), SMX_D4((n) + 2), SMX_D4((n) + 3)
#define SMX_D32 SMX_D16(0), SMX_D16(4)
#define SMX_D64 SMX_D32, SMX_D16(8), SMX_D16(12)
#define SMX_NAMES32                                                                                        \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27," \
  "%28,%29,%30,%31"
#define SMX_NAMES64                                                                                       \
  SMX_NAMES32                                                                                             \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56," \
  "%57,%58,%59,%60,%61,%62,%63"
#define SMX_WGMMA_SHARED(n, type, names, a, b, add)                                                        \
  "{.reg .pred p; setp.ne.b32 p, " add ", 0; wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type \
  " {" names "}, " a ", " b ", p, 1, 1, 0, 0;}"
#define SMX_WGMMA_REGISTERS(n, type, names, a, b) \
  "wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" names "}, {" a "}, " b ", 1, 1, 1, 1;"

/// d (64,128) = A B, or += where `add`: A (64,16) and B^T (128,16) in shared memory, by rows.
template <class H>
__device__ __forceinline__ void warpgroup_product_128(float (&d)[16][4], std::uint64_t a, std::uint64_t b,
                                                      int add);
template <>
__device__ __forceinline__ void warpgroup_product_128<bf16>(float (&d)[16][4], std::uint64_t a,
                                                            std::uint64_t b, int add) {
  SMX_WARPGROUP_ASM(SMX_WGMMA_SHARED("128", "bf16", SMX_NAMES64, "%64", "%65", "%66")
                    : SMX_D64
                    : "l"(a), "l"(b), "r"(add)
                    : "memory");
}
template <>
__device__ __forceinline__ void warpgroup_product_128<f16>(float (&d)[16][4], std::uint64_t a,
                                                           std::uint64_t b, int add) {
  SMX_WARPGROUP_ASM(SMX_WGMMA_SHARED("128", "f16", SMX_NAMES64, "%64", "%65", "%66")
                    : SMX_D64
                    : "l"(a), "l"(b), "r"(add)
                    : "memory");
}

/// d (64,8 Tiles) += A B: A (64,16) in registers, B (16,8 Tiles) in shared memory, by rows.
template <class H, int Tiles>
__device__ __forceinline__ void warpgroup_product_add(float (&d)[Tiles][4], std::uint32_t const (&a)[4],
                                                      std::uint64_t b) {
  static_assert(Tiles == 8 || Tiles == 16);
  constexpr bool brain = H(1.0f).bits == 0x3F80;
  if constexpr (Tiles == 16 && brain)
    SMX_WARPGROUP_ASM(SMX_WGMMA_REGISTERS("128", "bf16", SMX_NAMES64, "%64,%65,%66,%67", "%68")
                      : SMX_D64
                      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
                      : "memory");
  else if constexpr (Tiles == 16)
    SMX_WARPGROUP_ASM(SMX_WGMMA_REGISTERS("128", "f16", SMX_NAMES64, "%64,%65,%66,%67", "%68")
                      : SMX_D64
                      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
                      : "memory");
  else if constexpr (brain)
    SMX_WARPGROUP_ASM(SMX_WGMMA_REGISTERS("64", "bf16", SMX_NAMES32, "%32,%33,%34,%35", "%36")
                      : SMX_D32
                      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
                      : "memory");
  else
    SMX_WARPGROUP_ASM(SMX_WGMMA_REGISTERS("64", "f16", SMX_NAMES32, "%32,%33,%34,%35", "%36")
                      : SMX_D32
                      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
                      : "memory");
}

#undef SMX_D4
#undef SMX_D16
#undef SMX_D32
#undef SMX_D64
#undef SMX_NAMES32
#undef SMX_NAMES64
#undef SMX_WGMMA_SHARED
#undef SMX_WGMMA_REGISTERS

/// A barrier in shared memory: a phase ends when `count` arrivals and all announced bytes have come in.
__device__ __forceinline__ void barrier_init(std::uint64_t* barrier, int count) {
  SMX_WARPGROUP_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(
                        static_cast<std::uint32_t>(__cvta_generic_to_shared(barrier))),
                    "r"(count)
                    : "memory");
}
/// By the thread that made them, before others, and copies, use them.
__device__ __forceinline__ void barriers_ready() {
  SMX_WARPGROUP_ASM("fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(std::uint64_t* barrier) {
  SMX_WARPGROUP_ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(
                        static_cast<std::uint32_t>(__cvta_generic_to_shared(barrier)))
                    : "memory");
}
/// Arrives, and announces bytes that copies will bring.
__device__ __forceinline__ void barrier_expect(std::uint64_t* barrier, int bytes) {
  SMX_WARPGROUP_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                        static_cast<std::uint32_t>(__cvta_generic_to_shared(barrier))),
                    "r"(bytes)
                    : "memory");
}
/// Waits for the end of a phase: the first has parity 0, the next 1, ...
__device__ __forceinline__ void barrier_wait(std::uint64_t* barrier, int parity) {
  SMX_WARPGROUP_ASM(
      "{.reg .pred done; again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1; @done bra over; "
      "bra again; over:}" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(barrier))),
      "r"(parity)
      : "memory");
}
/// Copies bytes (a multiple of 16, both addresses aligned) to shared memory; the barrier counts them.
__device__ __forceinline__ void copy_bulk(void* shared, void const* global, int bytes,
                                          std::uint64_t* barrier) {
  SMX_WARPGROUP_ASM(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(bytes), "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(barrier)))
      : "memory");
}

#undef SMX_WARPGROUP_ASM

}  // namespace smx::cuda_kernels
