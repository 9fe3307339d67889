// SPDX-License-Identifier: Apache-2.0
/// \file  Every status of CUDA and cuBLAS as backend_error: the library's text, the call, the sizes.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdio>

#include <smx/core/check.hpp>
#include <smx/core/extents.hpp>

namespace smx::cuda_kernels {

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_cuda(char const* call, char const* what,
                                                             char const* name, char const* sizes) {
  char text[512];
  std::snprintf(text, sizeof text, "cuda: %s%s%s: %s (%s)", call, *sizes != '\0' ? " " : "", sizes, what,
                name);
  smx::detail::raise<backend_error>(text);
}

/// Throws backend_error unless the call went well; `sizes` is what it was about.
inline void check(cudaError_t status, char const* call, char const* sizes = "") {
  if (status == cudaSuccess) [[likely]]
    return;
  static_cast<void>(cudaGetLastError());  // an error that is not sticky ends here
  fail_cuda(call, cudaGetErrorString(status), cudaGetErrorName(status), sizes);
}
/// About an array of these extents.
template <int R> void check(cudaError_t status, char const* call, extents<R> const& e) {
  if (status == cudaSuccess) [[likely]]
    return;
  char sizes[8 + 24 * R];
  int at = std::snprintf(sizes, sizeof sizes, "of (");
  for (int r = 0; r < R; ++r)
    at += std::snprintf(sizes + at, sizeof sizes - static_cast<std::size_t>(at),
                        r + 1 < R ? "%lld," : "%lld)", static_cast<long long>(e[r]));
  check(status, call, sizes);
}
inline void check(cublasStatus_t status, char const* call, char const* sizes = "") {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  fail_cuda(call, cublasGetStatusString(status), cublasGetStatusName(status), sizes);
}

}  // namespace smx::cuda_kernels
