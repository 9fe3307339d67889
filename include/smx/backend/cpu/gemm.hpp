// SPDX-License-Identifier: Apache-2.0
/// \file  Matrix products of any size on one thread, and how a backend cuts them for many.
#pragma once

#include <algorithm>

#include <smx/backend/cpu/eigen_gemm.hpp>
#include <smx/core/mask.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// The blocks of C that are computed one at a time, by one thread each.
class gemm_cut {
 public:
  gemm_cut(index_t m, index_t n) : m_(m), n_(n), across_((n + width - 1) / width) {}
  index_t count() const { return (m_ + height - 1) / height * across_; }
  index_range rows(index_t block) const { return range(block / across_, height, m_); }
  index_range cols(index_t block) const { return range(block % across_, width, n_); }

 private:
  static constexpr index_t height = 256, width = 1536;
  static index_range range(index_t i, index_t size, index_t end) {
    return {i * size, std::min(end, (i + 1) * size)};
  }
  index_t m_, n_, across_;
};

template <bool Select, class T>
void gemm(op ta, op tb, index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda, T const* b,
          index_t ldb, T beta, T* c, index_t ldc) {
  if constexpr (Select) {
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < n; ++j) {
        T s = 0;
        for (index_t p = 0; p < k; ++p) {
          T const x = ta == op::none ? a[i * lda + p] : a[p * lda + i];
          if (x != T(0)) s += x * (tb == op::none ? b[p * ldb + j] : b[j * ldb + p]);
        }
        c[i * ldc + j] = beta == T(0) ? alpha * s : alpha * s + beta * c[i * ldc + j];
      }
  } else {
    auto const stored = [&](op t, index_t r, index_t q) {
      return t == op::none ? std::pair(r, q) : std::pair(q, r);
    };
    auto const [ar, ac] = stored(ta, m, k);
    auto const [br, bc] = stored(tb, k, n);
    eigen_gemm<T>(ta, tb, alpha, {a, ar, ac, lda}, {b, br, bc, ldb}, beta, {c, m, n, ldc});
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
