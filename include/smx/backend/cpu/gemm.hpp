// SPDX-License-Identifier: Apache-2.0
/// \file  Matrix products of any size on one thread, and how a backend cuts them for many.
///
/// Small blocks are multiplied in place (block_product.hpp). Large ones run on the same register tile from
/// packed operands: 256 terms of k at a time, B in panels of 192 bytes (48 KB, L1 and L2), A in blocks of 256
/// rows (256 KB, L2), both without the strides that put a column into a few cache sets; together they take
/// 330 KB of stack. B is read and packed once for each block of A: 128 rows lose 8 % at n = 2048, 512 win
/// nothing; neither does prefetching C or the next panel of B. Measured at n = 512 to 2048 it is faster than
/// Eigen 3.4's product with g++ 12, takes no heap memory (Eigen's packing does) and saves 3 s of compile time
/// for each element type: docs/performance.md.
#pragma once

#include <algorithm>

#include <smx/backend/cpu/block_product.hpp>
#include <smx/core/mask.hpp>

#if defined(SMX_WITH_BLAS)
#include <smx/backend/cpu/blas.hpp>
#endif

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Rows of C that a block of packed A serves.
inline constexpr index_t gemm_rows = 256;

/// The blocks of C that are computed one at a time, by one thread each. They depend on the shape only.
class gemm_cut {
 public:
  gemm_cut(index_t m, index_t n) : m_(m), n_(n), across_((n + width - 1) / width) {}
  index_t count() const { return (m_ + gemm_rows - 1) / gemm_rows * across_; }
  index_range rows(index_t block) const { return range(block / across_, gemm_rows, m_); }
  index_range cols(index_t block) const { return range(block % across_, width, n_); }

 private:
  static constexpr index_t width = 1536;
  static index_range range(index_t i, index_t size, index_t end) {
    return {i * size, std::min(end, (i + 1) * size)};
  }
  index_t m_, n_, across_;
};

namespace detail {

/// to (rows,cols, leading ld) = from or its transpose.
template <class T>
void pack(op t, index_t rows, index_t cols, T const* from, index_t stride, T* to, index_t ld) {
  if (t == op::transpose) return transpose(cols, rows, from, stride, to, ld);
  for (index_t r = 0; r < rows; ++r) std::copy_n(from + r * stride, cols, to + r * ld);
}

/// m <= gemm_rows.
template <class T>
void packed_gemm(op ta, op tb, index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda, T const* b,
                 index_t ldb, T beta, T* c, index_t ldc) {
  constexpr index_t wide = panel_columns<T>, depth = block_depth, pad = 64 / static_cast<index_t>(sizeof(T));
  constexpr index_t rows = gemm_rows * 4 / static_cast<index_t>(sizeof(T));  // 256 KB whatever T
  alignas(64) T left[rows * (depth + pad)];  // one line more a row: no common cache sets
  alignas(64) T right[depth * wide];
  for (index_t i = 0; i < m; i += rows) {
    index_t const height = std::min(rows, m - i);
    T first = beta;
    for (index_t p = 0; p < k; p += depth, first = T(1)) {
      index_t const d = std::min(depth, k - p);
      pack(ta, height, d, ta == op::none ? a + i * lda + p : a + p * lda + i, lda, left, depth + pad);
      for (index_t j = 0; j < n; j += wide) {
        index_t const w = std::min(wide, n - j);
        pack(tb, d, w, tb == op::none ? b + p * ldb + j : b + j * ldb + p, ldb, right, wide);
        block_gemm_chunk<T, layout::rows, false>(height, w, d, alpha, left, depth + pad, right, wide, first,
                                                 c + i * ldc + j, ldc);
      }
    }
  }
}

}  // namespace detail

/// C (m,n) = alpha op(A) op(B) + beta C, row-major; beta = 0 does not read C. Select leaves out the terms
/// whose entry of op(A) is zero. An entry of C depends on its row of op(A), its column of op(B), k, alpha,
/// beta and itself, and on whether the whole product is large: cutting m and n as gemm_cut does changes no
/// bit.
template <bool Select, class T>
void gemm(op ta, op tb, index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda, T const* b,
          index_t ldb, T beta, T* c, index_t ldc) {
  if constexpr (!Select) {
#if defined(SMX_WITH_BLAS)
    if (m > 64 && n > 64 && k > 64) return blas::gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
#endif
    if (m > 32 && n > 2 * panel_columns<T> && k > 64)
      return detail::packed_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  }
  alignas(64) T scratch[(block_depth + lanes<T>)*panel_columns<T>];
  if constexpr (Select)
    block_gemm_select(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch);
  else
    block_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch);
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
