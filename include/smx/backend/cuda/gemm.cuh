// SPDX-License-Identifier: Apache-2.0
/// \file  Batched products by cuBLAS: at one stride where the two batch axes fold, else from arrays of
/// pointers that a kernel fills; never a loop over the batch.
#pragma once

#include <cublas_v2.h>

#include <climits>
#include <cstdint>
#include <cstdio>

#include <smx/backend/cuda/error.cuh>
#include <smx/backend/cuda/options.hpp>
#include <smx/backend/cuda/product.cuh>
#include <smx/backend/shapes.hpp>

namespace smx::cuda_kernels {

/// How a product runs. It depends on sizes and strides only.
enum class gemm_path : char { strided, pointers, own };

/// What cuBLAS is told of one operand, seen as a matrix by rows.
struct gemm_operand {
  index_t rows, columns, s0, s1, ld;
};
template <class V> constexpr gemm_operand operand_of(V const& v) {
  index_t const ld = v.ext[2] == 1 ? v.ext[3] : v.str[2];
  return {v.ext[2], v.ext[3], v.str[0], v.str[1], ld};
}
constexpr bool blas_takes(gemm_operand const& o) {
  return o.rows <= INT_MAX && o.columns <= INT_MAX && o.ld <= INT_MAX && o.ld >= o.columns;
}

/// a, b: broadcast to the batch of c already.
template <class A, class B, class C> constexpr gemm_path path_of(op ta, A const& a, B const& b, C const& c) {
  index_t const k = smx::detail::op_extents(ta, a)[3], n0 = c.ext[0], n1 = c.ext[1];
  gemm_operand const oa = operand_of(a), ob = operand_of(b), oc = operand_of(c);
  if (k == 0 || n0 * n1 > INT_MAX || !blas_takes(oa) || !blas_takes(ob) || !blas_takes(oc))
    return gemm_path::own;
  // that cuBLAS takes a stride below 0 is nowhere said
  auto const folds = [&](gemm_operand const& o) {
    folded_batch const f = fold_batch(n0, n1, o.s0, o.s1);
    return f.folds && f.stride >= 0;
  };
  return folds(oa) && folds(ob) && folds(oc) ? gemm_path::strided : gemm_path::pointers;
}

template <class T> struct blas_type;
template <> struct blas_type<float> { static constexpr cudaDataType_t data = CUDA_R_32F; };
template <> struct blas_type<double> { static constexpr cudaDataType_t data = CUDA_R_64F; };
template <> struct blas_type<bf16> { static constexpr cudaDataType_t data = CUDA_R_16BF; };
template <> struct blas_type<f16> { static constexpr cudaDataType_t data = CUDA_R_16F; };

template <class T> constexpr cublasComputeType_t blas_compute(cuda_operands how) {
  if constexpr (sizeof(T) == 8) return CUBLAS_COMPUTE_64F;
  if constexpr (sizeof(T) == 2) return CUBLAS_COMPUTE_32F;
  return how == cuda_operands::tf32   ? CUBLAS_COMPUTE_32F_FAST_TF32
         : how == cuda_operands::bf16 ? CUBLAS_COMPUTE_32F_FAST_16BF
         : how == cuda_operands::f16  ? CUBLAS_COMPUTE_32F_FAST_16F
                                      : CUBLAS_COMPUTE_32F;
}

/// Entry i of the three arrays: where matrix i of A, B and C starts.
template <class T>
__global__ void fill_pointers(index_t count, index_t n1, T const* a, extents<2> sa, T const* b, extents<2> sb,
                              T* c, extents<2> sc, void const** to_a, void const** to_b, void** to_c) {
  for (index_t n = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; n < count;
       n += static_cast<index_t>(gridDim.x) * blockDim.x) {
    index_t const p = n / n1, q = n % n1;
    to_a[n] = a + p * sa[0] + q * sa[1];
    to_b[n] = b + p * sb[0] + q * sb[1];
    to_c[n] = c + p * sc[0] + q * sc[1];
  }
}

/// By the library's own kernel, Select: without the terms where op(A) is zero.
template <bool Select, class T>
cudaError_t own_product(cudaStream_t stream, op ta, op tb, compute_t<T> alpha,
                        view<T const, 4, device_space> a, view<T const, 4, device_space> b, compute_t<T> beta,
                        view<T, 4, device_space> c) {
  if (ta == op::transpose) a = swap_axes(a, 2, 3);
  if (tb == op::transpose) b = swap_axes(b, 2, 3);
  return product<Select, T>(stream, {a.ptr, b.ptr, c.ptr, c.ext[2], c.ext[3], a.ext[3], c.ext[0], c.ext[1],
                                     a.str, b.str, c.str, alpha, beta});
}

/// C by rows is C^T by columns: C^T := alpha op(B)^T op(A)^T + beta C^T. `pointers`: 3 times the batch, for
/// gemm_path::pointers.
template <class T>
void gemm(cublasHandle_t blas, cudaStream_t stream, cuda_operands how, gemm_path path, op ta, op tb,
          compute_t<T> alpha, view<T const, 4, device_space> a, view<T const, 4, device_space> b,
          compute_t<T> beta, view<T, 4, device_space> c, void** pointers) {
  index_t const k = smx::detail::op_extents(ta, a)[3], n0 = c.ext[0], n1 = c.ext[1];
  char sizes[160];
  auto const describe = [&] {
    std::snprintf(sizes, sizeof sizes, "of %lld x (%lld,%lld) = (%lld,%lld) (%lld,%lld)",
                  static_cast<long long>(n0 * n1), static_cast<long long>(c.ext[2]),
                  static_cast<long long>(c.ext[3]), static_cast<long long>(c.ext[2]),
                  static_cast<long long>(k), static_cast<long long>(k), static_cast<long long>(c.ext[3]));
    return sizes;
  };
  gemm_operand const oa = operand_of(a), ob = operand_of(b), oc = operand_of(c);
  auto const way = [](op t) { return t == op::none ? CUBLAS_OP_N : CUBLAS_OP_T; };
  auto const integer = [](index_t n) { return static_cast<int>(n); };
  constexpr cudaDataType_t type = blas_type<T>::data;
  if (path == gemm_path::strided) {
    cublasStatus_t const status = cublasGemmStridedBatchedEx(
        blas, way(tb), way(ta), integer(c.ext[3]), integer(c.ext[2]), integer(k), &alpha, b.ptr, type,
        integer(ob.ld), fold_batch(n0, n1, ob.s0, ob.s1).stride, a.ptr, type, integer(oa.ld),
        fold_batch(n0, n1, oa.s0, oa.s1).stride, &beta, c.ptr, type, integer(oc.ld),
        fold_batch(n0, n1, oc.s0, oc.s1).stride, integer(n0 * n1), blas_compute<T>(how), CUBLAS_GEMM_DEFAULT);
    if (status != CUBLAS_STATUS_SUCCESS) check(status, "cublasGemmStridedBatchedEx", describe());
    return;
  }
  index_t const count = n0 * n1;
  // cuBLAS does not see these addresses, and with 16-bit numbers or rounded operands it loads 16 bytes
  auto const is_aligned = [](auto const& v) {
    constexpr index_t n = 16 / static_cast<index_t>(sizeof(T));
    return reinterpret_cast<std::uintptr_t>(v.ptr) % 16 == 0 && v.str[0] % n == 0 && v.str[1] % n == 0;
  };
  bool const aligned = is_aligned(a) && is_aligned(b) && is_aligned(c);
  auto** const to_a = const_cast<void const**>(pointers);
  auto** const to_b = to_a + count;
  check(launch(stream, {dim3(blocks_for(count, 256)), dim3(256)}, fill_pointers<T>, count, n1, a.ptr,
               extents<2>{oa.s0, oa.s1}, b.ptr, extents<2>{ob.s0, ob.s1}, c.ptr, extents<2>{oc.s0, oc.s1},
               to_a, to_b, pointers + 2 * count),
        "fill_pointers", c.ext);
  if constexpr (sizeof(T) == 2)
    if (!aligned) return check(own_product<false, T>(stream, ta, tb, alpha, a, b, beta, c), "gemm", c.ext);
  if (!aligned) how = cuda_operands::f32;
  cublasStatus_t const status =
      cublasGemmBatchedEx(blas, way(tb), way(ta), integer(c.ext[3]), integer(c.ext[2]), integer(k), &alpha,
                          to_b, type, integer(ob.ld), to_a, type, integer(oa.ld), &beta, pointers + 2 * count,
                          type, integer(oc.ld), integer(count), blas_compute<T>(how), CUBLAS_GEMM_DEFAULT);
  if (status != CUBLAS_STATUS_SUCCESS) check(status, "cublasGemmBatchedEx", describe());
}

}  // namespace smx::cuda_kernels
