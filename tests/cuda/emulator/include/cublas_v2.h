// SPDX-License-Identifier: Apache-2.0
/// \file  As much of cuBLAS as smx uses, as loops on the host (see cuda_runtime.h beside this).
#pragma once

#include <cuda_runtime.h>

#include <smx/core/dtype.hpp>

enum cublasStatus_t : int { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7 };
enum cublasOperation_t : int { CUBLAS_OP_N, CUBLAS_OP_T };
enum cudaDataType_t : int { CUDA_R_32F, CUDA_R_64F, CUDA_R_16BF, CUDA_R_16F };
enum cublasComputeType_t : int {
  CUBLAS_COMPUTE_32F,
  CUBLAS_COMPUTE_64F,
  CUBLAS_COMPUTE_32F_FAST_TF32,
  CUBLAS_COMPUTE_32F_FAST_16BF,
  CUBLAS_COMPUTE_32F_FAST_16F
};
enum cublasGemmAlgo_t : int { CUBLAS_GEMM_DEFAULT = -1 };
struct cublasContext {
  cudaStream_t stream = nullptr;
};
using cublasHandle_t = cublasContext*;

inline char const* cublasGetStatusString(cublasStatus_t s) {
  return s == CUBLAS_STATUS_SUCCESS ? "success" : "an argument that cuBLAS does not take";
}
inline char const* cublasGetStatusName(cublasStatus_t s) {
  return s == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_INVALID_VALUE";
}
inline cublasStatus_t cublasCreate(cublasHandle_t* h) {
  return *h = new cublasContext, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDestroy(cublasHandle_t h) { return delete h, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetStream(cublasHandle_t h, cudaStream_t s) {
  return h->stream = s, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }

namespace emulator {

template <class T>
void gemm_columns(bool ta, bool tb, int m, int n, int k, smx::compute_t<T> alpha, T const* a, int lda,
                  T const* b, int ldb, smx::compute_t<T> beta, T* c, int ldc) {
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < m; ++i) {
      double sum = 0;
      for (int l = 0; l < k; ++l)
        sum += static_cast<double>(a[ta ? static_cast<long>(i) * lda + l : static_cast<long>(l) * lda + i]) *
               static_cast<double>(b[tb ? static_cast<long>(l) * ldb + j : static_cast<long>(j) * ldb + l]);
      T& to = c[static_cast<long>(j) * ldc + i];
      double const scaled = static_cast<double>(alpha) * sum;
      to = static_cast<T>(static_cast<smx::compute_t<T>>(
          beta == 0 ? scaled : scaled + static_cast<double>(beta) * static_cast<double>(to)));
    }
}

/// f(a pointer of the element type).
template <class F> cublasStatus_t with_type(cudaDataType_t type, F const& f) {
  switch (type) {
    case CUDA_R_32F:
      return f(static_cast<float*>(nullptr));
    case CUDA_R_64F:
      return f(static_cast<double*>(nullptr));
    case CUDA_R_16BF:
      return f(static_cast<smx::bf16*>(nullptr));
    case CUDA_R_16F:
      return f(static_cast<smx::f16*>(nullptr));
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

inline bool leading_dimensions_fit(bool ta, bool tb, int m, int n, int k, int lda, int ldb, int ldc) {
  return m >= 0 && n >= 0 && k >= 0 && lda >= (ta ? k : m) && ldb >= (tb ? n : k) && ldc >= m && lda > 0 &&
         ldb > 0 && ldc > 0;
}

}  // namespace emulator

inline cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb,
                                                 int m, int n, int k, void const* alpha, void const* a,
                                                 cudaDataType_t type, int lda, long long sa, void const* b,
                                                 cudaDataType_t, int ldb, long long sb, void const* beta,
                                                 void* c, cudaDataType_t, int ldc, long long sc, int count,
                                                 cublasComputeType_t, cublasGemmAlgo_t) {
  if (!emulator::leading_dimensions_fit(ta != CUBLAS_OP_N, tb != CUBLAS_OP_N, m, n, k, lda, ldb, ldc))
    return CUBLAS_STATUS_INVALID_VALUE;
  return emulator::with_type(type, [&]<class T>(T*) {
    using S = smx::compute_t<T>;
    emulator::enqueue(h->stream, [=, x = *static_cast<S const*>(alpha), y = *static_cast<S const*>(beta)] {
      for (long long i = 0; i < count; ++i)
        emulator::gemm_columns<T>(ta != CUBLAS_OP_N, tb != CUBLAS_OP_N, m, n, k, x,
                                  static_cast<T const*>(a) + i * sa, lda, static_cast<T const*>(b) + i * sb,
                                  ldb, y, static_cast<T*>(c) + i * sc, ldc);
    });
    return CUBLAS_STATUS_SUCCESS;
  });
}

inline cublasStatus_t cublasGemmBatchedEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m,
                                          int n, int k, void const* alpha, void const* const* a,
                                          cudaDataType_t type, int lda, void const* const* b, cudaDataType_t,
                                          int ldb, void const* beta, void* const* c, cudaDataType_t, int ldc,
                                          int count, cublasComputeType_t, cublasGemmAlgo_t) {
  if (!emulator::leading_dimensions_fit(ta != CUBLAS_OP_N, tb != CUBLAS_OP_N, m, n, k, lda, ldb, ldc))
    return CUBLAS_STATUS_INVALID_VALUE;
  return emulator::with_type(type, [&]<class T>(T*) {
    using S = smx::compute_t<T>;
    emulator::enqueue(h->stream, [=, x = *static_cast<S const*>(alpha), y = *static_cast<S const*>(beta)] {
      for (int i = 0; i < count; ++i)
        emulator::gemm_columns<T>(ta != CUBLAS_OP_N, tb != CUBLAS_OP_N, m, n, k, x,
                                  static_cast<T const*>(a[i]), lda, static_cast<T const*>(b[i]), ldb, y,
                                  static_cast<T*>(c[i]), ldc);
    });
    return CUBLAS_STATUS_SUCCESS;
  });
}
