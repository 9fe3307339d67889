// SPDX-License-Identifier: Apache-2.0
/// \file  Large matrix products through Eigen (or, with SMX_WITH_BLAS, through the BLAS that the program
/// links).
///
/// The function template is at namespace scope and not inline on purpose: Eigen's products cost seconds of
/// compile time, and `extern template` has no effect on inline functions.
#pragma once

#include <Eigen/Core>

#include <smx/backend/cpu/simd.hpp>
#include <smx/core/op.hpp>

#if defined(SMX_WITH_BLAS)
extern "C" {
void sgemm_(char const*, char const*, int const*, int const*, int const*, float const*, float const*,
            int const*, float const*, int const*, float const*, float*, int const*);
void dgemm_(char const*, char const*, int const*, int const*, int const*, double const*, double const*,
            int const*, double const*, int const*, double const*, double*, int const*);
}
#endif

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// A row-major matrix whose rows are `stride` entries apart.
template <class T> struct matrix_ref {
  T* ptr;
  index_t rows, cols, stride;
};

/// C := alpha op(A) op(B) + beta C; a and b are given as stored.
template <class T>
void eigen_gemm(op ta, op tb, T alpha, matrix_ref<T const> a, matrix_ref<T const> b, T beta,
                matrix_ref<T> c) {
#if defined(SMX_WITH_BLAS)
  // Column-major BLAS sees the transposes: C^T = op(B)^T op(A)^T.
  char const fa = ta == op::none ? 'N' : 'T', fb = tb == op::none ? 'N' : 'T';
  auto const narrow = [](index_t n) { return static_cast<int>(n); };
  int const m = narrow(c.cols), n = narrow(c.rows), k = narrow(ta == op::none ? a.cols : a.rows);
  int const la = narrow(a.stride), lb = narrow(b.stride), lc = narrow(c.stride);
  if constexpr (sizeof(T) == 4)
    sgemm_(&fb, &fa, &m, &n, &k, &alpha, b.ptr, &lb, a.ptr, &la, &beta, c.ptr, &lc);
  else
    dgemm_(&fb, &fa, &m, &n, &k, &alpha, b.ptr, &lb, a.ptr, &la, &beta, c.ptr, &lc);
#else
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using strides = Eigen::OuterStride<>;
  Eigen::Map<matrix const, Eigen::Unaligned, strides> A(a.ptr, a.rows, a.cols, strides(a.stride));
  Eigen::Map<matrix const, Eigen::Unaligned, strides> B(b.ptr, b.rows, b.cols, strides(b.stride));
  Eigen::Map<matrix, Eigen::Unaligned, strides> C(c.ptr, c.rows, c.cols, strides(c.stride));
  if (beta == T(0))
    C.setZero();
  else if (beta != T(1))
    C *= beta;
  if (ta == op::none && tb == op::none)
    C.noalias() += alpha * A * B;
  else if (ta == op::none)
    C.noalias() += alpha * A * B.transpose();
  else if (tb == op::none)
    C.noalias() += alpha * A.transpose() * B;
  else
    C.noalias() += alpha * A.transpose() * B.transpose();
#endif
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
