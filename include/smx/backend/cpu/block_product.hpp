// SPDX-License-Identifier: Apache-2.0
/// \file  C = alpha op(A) op(B) + beta C for blocks of up to about 256 rows and columns and any k, row-major,
/// without
///        packing: 2 m n k flops, operands read in place.
///
/// * B plain: its rows are the vectors of the register tile. B transposed: panels of its rows pass through
/// register
///   transposes into scratch, which repays from about 8 rows of C on.
/// * k is cut into chunks of 256: a panel of B (48 floats wide) stays in L1 or L2 while the rows of C go by.
/// * Few columns (n <= lanes / 4): C^T = op(B)^T op(A)^T, so that the rows of C fill the lanes.
///
/// An entry of C depends on its row of op(A), its column of op(B), k, alpha, beta and itself only: splitting
/// m or n does not change a bit. beta = 0 does not read C.
#pragma once

#include <algorithm>

#include <smx/backend/cpu/tile.hpp>
#include <smx/backend/cpu/transpose.hpp>
#include <smx/core/extents.hpp>
#include <smx/core/op.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Terms of k that are summed in registers before C is touched.
inline constexpr index_t block_depth = 256;

/// Elements of T that block_gemm() and block_gemm_select() need as scratch, aligned to a vector.
template <class T> constexpr index_t block_gemm_scratch(index_t k) {
  return (std::min(k, block_depth) + lanes<T>)*panel_columns<T>;
}

namespace detail {
/// C = alpha op(A) B + beta C with B in place, k <= block_depth.
template <class T, layout How, bool Select>
void block_gemm_chunk(index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda, T const* b,
                      index_t ldb, T beta, T* c, index_t ldc) {
  cover<T>(0, m, n, [=](auto& t, index_t i, index_t j) {
    T* const to = c + i * ldc + j;
    t.zero();
    t.template mac<How, Select>(k, How == layout::rows ? a + i * lda : a + i, lda, b + j, ldb);
    t.scale(alpha);
    if (beta == T(1)) return t.add_to(to, ldc);
    if (beta != T(0)) t.add_scaled(to, ldc, beta);
    t.store(to, ldc);
  });
}

template <class T, layout How, bool Select>
void block_gemm(op b_op, index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda, T const* b,
                index_t ldb, T beta, T* c, index_t ldc, T* scratch) {
  constexpr index_t wide = panel_columns<T>;
  index_t p = 0;
  do {  // once for k = 0: C = beta C
    index_t const depth = std::min(block_depth, k - p);
    T const* const ap = How == layout::rows ? a + p : a + p * lda;
    if (b_op == op::none) {
      block_gemm_chunk<T, How, Select>(m, n, depth, alpha, ap, lda, b + p * ldb, ldb, beta, c, ldc);
    } else {
      for (index_t j = 0; j < n; j += wide) {
        index_t const w = std::min(wide, n - j);
        transpose(w, depth, b + j * ldb + p, ldb, scratch, wide);
        block_gemm_chunk<T, How, Select>(m, w, depth, alpha, ap, lda, scratch, wide, beta, c + j, ldc);
      }
    }
    p += depth;
    beta = T(1);
  } while (p < k);
}

/// The narrow C: panels of C^T = op(B)^T op(A)^T are formed behind the panel of op(A)^T in scratch.
template <class T, layout HowB>
void block_gemm_narrow(op a_op, index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda, T const* b,
                       index_t ldb, T beta, T* c, index_t ldc, T* scratch) {
  constexpr index_t wide = panel_columns<T>;
  T* const turned = scratch + std::min(k, block_depth) * wide;
  for (index_t i = 0; i < m; i += wide) {
    index_t const w = std::min(wide, m - i);
    T const* const ai = a_op == op::none ? a + i * lda : a + i;
    T first = beta;
    index_t p = 0;
    do {
      index_t const depth = std::min(block_depth, k - p);
      T const *panel = ai + p * lda, *bp = HowB == layout::rows ? b + p : b + p * ldb;
      index_t ld = lda;
      if (a_op == op::none) {
        transpose(w, depth, ai + p, lda, scratch, wide);
        panel = scratch;
        ld = wide;
      }
      block_gemm_chunk<T, HowB, false>(n, w, depth, alpha, bp, ldb, panel, ld, T(0), turned, wide);
      for (index_t r = 0; r < w; ++r) {
        T* const row = c + (i + r) * ldc;
        for (index_t j = 0; j < n; ++j) {
          T const s = turned[j * wide + r];
          row[j] = first == T(0) ? s : first == T(1) ? row[j] + s : s + first * row[j];
        }
      }
      p += depth;
      first = T(1);
    } while (p < k);
  }
}
}  // namespace detail

/// C (m,n) = alpha op(A) op(B) + beta C, row-major with leading dimensions lda, ldb, ldc; A is (m,k), or
/// (k,m) if transposed; B is (k,n), or (n,k) if transposed. scratch: block_gemm_scratch<T>(k) elements. C
/// overlaps nothing.
template <class T>
void block_gemm(op a_op, op b_op, index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda,
                T const* b, index_t ldb, T beta, T* c, index_t ldc, T* scratch) {
  if (n <= lanes<T> / 4 && m > n) {
    if (b_op == op::none)
      detail::block_gemm_narrow<T, layout::cols>(a_op, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch);
    else
      detail::block_gemm_narrow<T, layout::rows>(a_op, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch);
  } else if (a_op == op::none) {
    detail::block_gemm<T, layout::rows, false>(b_op, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch);
  } else {
    detail::block_gemm<T, layout::cols, false>(b_op, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch);
  }
}

/// As block_gemm(), but a term whose entry of op(A) is exactly zero is left out, whatever op(B) holds there:
/// masked entries of A hide a NaN or an infinity in B.
template <class T>
void block_gemm_select(op a_op, op b_op, index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda,
                       T const* b, index_t ldb, T beta, T* c, index_t ldc, T* scratch) {
  if (a_op == op::none)
    detail::block_gemm<T, layout::rows, true>(b_op, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch);
  else
    detail::block_gemm<T, layout::cols, true>(b_op, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch);
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
