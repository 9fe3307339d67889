// SPDX-License-Identifier: Apache-2.0
/// \file  Products through the BLAS that the program links. Only with SMX_WITH_BLAS, which the build defines
/// for every
///        translation unit of a target.
#pragma once

#include <smx/core/extents.hpp>
#include <smx/core/op.hpp>

extern "C" {
void sgemm_(char const*, char const*, int const*, int const*, int const*, float const*, float const*,
            int const*, float const*, int const*, float const*, float*, int const*);
void dgemm_(char const*, char const*, int const*, int const*, int const*, double const*, double const*,
            int const*, double const*, int const*, double const*, double*, int const*);
}

namespace smx::blas {

/// C := alpha op(A) op(B) + beta C, row-major. Column-major BLAS sees the transposes: C^T = op(B)^T op(A)^T.
template <class T>
void gemm(op ta, op tb, index_t m, index_t n, index_t k, T alpha, T const* a, index_t lda, T const* b,
          index_t ldb, T beta, T* c, index_t ldc) {
  char const fa = ta == op::none ? 'N' : 'T', fb = tb == op::none ? 'N' : 'T';
  auto const narrow = [](index_t i) { return static_cast<int>(i); };
  int const rows = narrow(n), cols = narrow(m), depth = narrow(k), la = narrow(lda), lb = narrow(ldb),
            lc = narrow(ldc);
  if constexpr (sizeof(T) == 4)
    sgemm_(&fb, &fa, &rows, &cols, &depth, &alpha, b, &lb, a, &la, &beta, c, &lc);
  else
    dgemm_(&fb, &fa, &rows, &cols, &depth, &alpha, b, &lb, a, &la, &beta, c, &lc);
}

}  // namespace smx::blas
