// SPDX-License-Identifier: Apache-2.0
/// \file  Gradients of the order-2 Monarch product y = M x of monarch_kernel.hpp, from the upstream gradient
/// dy.
///
///   du[r*Lo + l] = sum_s w2[l,s,r] dy[s*Lo + l]          dx[k*P + p] = sum_q w1[k,q,p] du[k,q]
///   dw2[l,s,r]  += sum_d dy[s*Lo + l, d] u[r*Lo + l, d]  dw1[k,q,p] += sum_d du[k*Q + q, d] x[k*P + p, d]
///
/// The input gradient is the same two fused stages with transposed blocks, last stage first, at the flops of
/// the forward product; it records du. The weight gradients are products of a few rows along the long channel
/// axis, another forward's worth of flops; each block is one call, so threads split over blocks, and a sum
/// over a batch is the same bits whatever the number of threads. Reading u back costs 12 bytes a flop less
/// than forming it again: storing the tape slows the forward product by 3 to 6 %, forming u again would take
/// half of it.
#pragma once

#include <smx/backend/cpu/block_product.hpp>
#include <smx/backend/cpu/monarch_kernel.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Columns d0..d1 of dx = M^T dy. dy is (out_length, D), dx is (in_length, D); du, if not null, receives the
/// gradient of the middle factor (k*q, D). scratch: monarch_scratch() elements. Threads may take disjoint
/// ranges of columns.
template <class T>
void monarch_backward_input(monarch_sizes const& z, index_t d0, index_t d1, T const* w1, T const* w2,
                            T const* dy, index_t lddy, T* dx, index_t lddx, T* du, index_t lddu, T* scratch) {
  detail::monarch_stages<T, layout::cols>(
      d0, d1, {detail::monarch_out(z), dy, lddy, w2, z.s * z.r, z.r}, detail::monarch_middle_high(z), du,
      lddu, detail::monarch_middle_low(z), {detail::monarch_in(z), dx, lddx, w1, z.q * z.p, z.p}, scratch);
}

/// Elements of T that monarch_backward_w1() and monarch_backward_w2() need as scratch, aligned to a vector.
template <class T> constexpr index_t monarch_weights_scratch(index_t columns) {
  return block_gemm_scratch<T>(columns);
}

/// Blocks k0..k1 of dw1 += du x^T over all columns. x is (in_length, columns), du is (k*q, columns).
template <class T>
void monarch_backward_w1(monarch_sizes const& z, index_t k0, index_t k1, index_t columns, T const* x,
                         index_t ldx, T const* du, index_t lddu, T* dw1, T* scratch) {
  for (index_t k = k0; k < k1; ++k)
    detail::block_gemm<T, layout::rows, false>(op::transpose, z.q, detail::monarch_in(z).rows(k), columns,
                                               T(1), du + k * z.q * lddu, lddu, x + k * z.p * ldx, ldx, T(1),
                                               dw1 + k * z.q * z.p, z.p, scratch);
}

/// Blocks l0..l1 of dw2 += dy u^T over all columns. u is (k*q, columns), dy is (out_length, columns).
template <class T>
void monarch_backward_w2(monarch_sizes const& z, index_t l0, index_t l1, index_t columns, T const* u,
                         index_t ldu, T const* dy, index_t lddy, T* dw2, T* scratch) {
  for (index_t l = l0; l < l1; ++l)
    detail::block_gemm<T, layout::rows, false>(op::transpose, detail::monarch_out(z).rows(l), z.r, columns,
                                               T(1), dy + l * lddy, z.l * lddy, u + l * ldu, z.l * ldu, T(1),
                                               dw2 + l * z.s * z.r, z.r, scratch);
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
