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
/// over a batch is the same bits whatever the number of threads.
///
/// u comes from the tape of the forward product, which storing slows by 3 to 6 %; forming it again would take
/// half of a forward product.
#pragma once

#include <algorithm>
#include <type_traits>

#include <smx/backend/cpu/block_product.hpp>
#include <smx/backend/cpu/monarch_kernel.hpp>
#include <smx/backend/cpu/tile.hpp>
#include <smx/backend/cpu/transpose.hpp>
#include <smx/core/extents.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Columns d0..d1 of dx = M^T dy. dy is (out_length, D), dx is (in_length, D); du, if not null, receives the
/// gradient of the middle factor (k*q, D). scratch: monarch_scratch() elements. Threads may take disjoint
/// ranges of columns.
template <class T>
void monarch_backward_input(monarch_sizes const& z, index_t d0, index_t d1, T const* w1, T const* w2,
                            T const* dy, index_t lddy, T* dx, index_t lddx, T* du, index_t lddu, T* scratch) {
  detail::monarch_stages<T, layout::cols>(
      d0, d1, {detail::monarch_out(z), dy, lddy, w2, z.s * z.r, z.r}, detail::monarch_middle_high(z), du,
      lddu, detail::monarch_middle_low(z), {detail::monarch_in(z), dx, lddx, w1, z.q * z.p, z.p},
      detail::store_beyond(dx + d0, lddx, z.in_length), scratch);
}

namespace detail {
/// Entries of the long axis at once: the transposed panel of B (24 KB) and eight rows of A stay in L1.
inline constexpr index_t add_outer_depth = 128;

/// Whether a matrix of rows x columns was stored past the caches when it was written (store_beyond()).
template <class T> constexpr bool out_of_cache(index_t rows, index_t columns) {
  return rows * columns * static_cast<index_t>(sizeof(T)) >= (index_t(1) << 21);
}

/// C (m,n) += A op(B) with a long k: A is (m,k), B is (n,k) if transposed, else (k,n) and copied, as rows a
/// multiple of 4 KB apart would evict each other from L1. Every entry of C is one chain of multiply-adds that
/// begins with C. Rows that lie a large stride apart come in pieces that no hardware prefetcher follows. With
/// `far` operands (in memory, not in L3) every register tile asks for its share of the next piece, or of the
/// operands of the next product (next_a, next_b): 148 instead of 118 GFLOP/s at L = 4096 where the peak is
/// 241; operands in L3 would lose 6 %.
template <class T>
void add_outer(op b_op, index_t m, index_t n, index_t k, T const* a, index_t lda, T const* b, index_t ldb,
               T* c, index_t ldc, T const* next_a, T const* next_b, bool far, T* scratch) {
  constexpr index_t wide = panel_columns<T>, line = 64 / static_cast<index_t>(sizeof(T));
  auto const ask = [](T const* from, index_t ld, index_t rows, index_t length) {
    for (index_t r = 0; r < rows; ++r)
      for (index_t q = 0; q < length; q += line) __builtin_prefetch(from + r * ld + q, 0, 2);
  };
  for (index_t p = 0; p < k; p += add_outer_depth) {
    index_t const depth = std::min(add_outer_depth, k - p);
    T const* const soon_a = p + depth < k ? a + p + depth : next_a;
    index_t const rows_b = b_op == op::transpose ? n : depth, length_b = b_op == op::transpose ? depth : n;
    T const* const soon_b = p + depth < k ? b + (p + depth) * (b_op == op::transpose ? 1 : ldb) : next_b;
    for (index_t j = 0, panels = (n + wide - 1) / wide; j < n; --panels) {
      index_t const share = ((n - j + lanes<T> - 1) / lanes<T> + panels - 1) / panels * lanes<T>;
      index_t const w = std::min(share, n - j);
      if (b_op == op::transpose) {
        transpose(w, depth, b + j * ldb + p, ldb, scratch, wide);
      } else {
        for (index_t r = 0; r < depth; ++r) std::copy_n(b + (p + r) * ldb + j, w, scratch + r * wide);
      }
      bool const first = j == 0, last = j + w == n;
      cover<T>(0, m, w, [=](auto& t, index_t i, index_t jj) {
        constexpr index_t height = std::remove_reference_t<decltype(t)>::height;
        if (far && first && jj == 0) ask(soon_a + i * lda, lda, height, depth);
        if (far && last && jj == 0)
          ask(soon_b + i * rows_b / m * ldb, ldb, (i + height) * rows_b / m - i * rows_b / m, length_b);
        t.load(c + i * ldc + j + jj, ldc);
        t.template mac<layout::rows>(depth, a + i * lda + p, lda, scratch + jj, wide);
        t.store(c + i * ldc + j + jj, ldc);
      });
      j += w;
    }
  }
}
}  // namespace detail

/// Elements of T that monarch_backward_w1() and monarch_backward_w2() need as scratch, aligned to a vector.
template <class T> constexpr index_t monarch_weights_scratch(index_t columns) {
  return std::min(columns, detail::add_outer_depth) * panel_columns<T>;
}

/// Blocks k0..k1 of dw1 += du x^T over all columns. x is (in_length, columns), du is (k*q, columns).
template <class T>
void monarch_backward_w1(monarch_sizes const& z, index_t k0, index_t k1, index_t columns, T const* x,
                         index_t ldx, T const* du, index_t lddu, T* dw1, T* scratch) {
  bool const far = detail::out_of_cache<T>(z.middle(), columns);
  for (index_t k = k0; k < k1; ++k) {
    T const *const a = du + k * z.q * lddu, *const b = x + k * z.p * ldx;
    index_t const to_next = k + 1 < k1 ? 1 : 0;
    detail::add_outer(op::transpose, z.q, detail::monarch_in(z).rows(k), columns, a, lddu, b, ldx,
                      dw1 + k * z.q * z.p, z.p, a + to_next * z.q * lddu, b + to_next * z.p * ldx, far,
                      scratch);
  }
}

/// Blocks l0..l1 of dw2 += dy u^T over all columns. u is (k*q, columns), dy is (out_length, columns).
template <class T>
void monarch_backward_w2(monarch_sizes const& z, index_t l0, index_t l1, index_t columns, T const* u,
                         index_t ldu, T const* dy, index_t lddy, T* dw2, T* scratch) {
  bool const far = detail::out_of_cache<T>(z.middle(), columns);
  for (index_t l = l0; l < l1; ++l) {
    T const *const a = dy + l * lddy, *const b = u + l * ldu;
    index_t const to_next = l + 1 < l1 ? 1 : 0;
    detail::add_outer(op::transpose, detail::monarch_out(z).rows(l), z.r, columns, a, z.l * lddy, b,
                      z.l * ldu, dw2 + l * z.s * z.r, z.r, a + to_next * lddy, b + to_next * ldu, far,
                      scratch);
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
