// SPDX-License-Identifier: Apache-2.0
/// \file  Products that cuBLAS does not do: terms left out where op(A) is zero (gemm_select), and strides or
/// sizes that its interface cannot say (rows of stride 0, negative strides, more than 2^31 - 1 of anything).
#pragma once

#include <smx/backend/cuda/grid.hpp>
#include <smx/backend/cuda/launch.cuh>
#include <smx/core/dtype.hpp>

namespace smx::cuda_kernels {

/// C(m,n) := alpha A(m,k) B(k,n) + beta C for each of n0 n1 matrices; every axis of every operand has a
/// stride.
template <class T> struct product_arguments {
  T const *a, *b;
  T* c;
  index_t m, n, k, n0, n1;
  extents<4> sa, sb, sc;  // strides: (n0,n1,row,column)
  compute_t<T> alpha, beta;
};

inline constexpr int product_tile = 64, product_depth = 16;

/// 64 x 64 of C a block, 4 x 4 a thread.
template <bool Select, class T>
__global__ void product_tiles(product_arguments<T> p, index_t column_tiles, index_t tiles) {
  using A = compute_t<T>;
  constexpr int edge = product_tile, depth = product_depth;
  __shared__ A left[depth][edge + 1], right[depth][edge + 1];
  int const thread = static_cast<int>(threadIdx.x), tx = thread % 16, ty = thread / 16;
  for (index_t batch = blockIdx.y; batch < p.n0 * p.n1; batch += gridDim.y)
    for (index_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      index_t const b0 = batch / p.n1, b1 = batch % p.n1;
      T const *const a = p.a + b0 * p.sa[0] + b1 * p.sa[1], *const b = p.b + b0 * p.sb[0] + b1 * p.sb[1];
      T* const c = p.c + b0 * p.sc[0] + b1 * p.sc[1];
      index_t const row = tile / column_tiles * edge, column = tile % column_tiles * edge;
      A sum[4][4] = {};
      for (index_t k0 = 0; k0 < p.k; k0 += depth) {
        __syncthreads();  // the last pieces may still be read
        for (int e = thread; e < depth * edge; e += 256) {
          // threads side by side read side by side where the operand does
          bool const a_by_rows = p.sa[2] == 1, b_by_rows = p.sb[2] == 1;
          int const ak = a_by_rows ? e / edge : e % depth, am = a_by_rows ? e % edge : e / depth;
          int const bk = b_by_rows ? e % depth : e / edge, bn = b_by_rows ? e / depth : e % edge;
          left[ak][am] = row + am < p.m && k0 + ak < p.k
                             ? static_cast<A>(a[(row + am) * p.sa[2] + (k0 + ak) * p.sa[3]])
                             : A(0);
          right[bk][bn] = column + bn < p.n && k0 + bk < p.k
                              ? static_cast<A>(b[(k0 + bk) * p.sb[2] + (column + bn) * p.sb[3]])
                              : A(0);
        }
        __syncthreads();
        for (int k = 0; k < depth; ++k) {
          A x[4], y[4];
          for (int i = 0; i < 4; ++i) x[i] = left[k][ty + 16 * i], y[i] = right[k][tx + 16 * i];
          for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j)
              if (!Select || x[i] != A(0)) sum[i][j] += x[i] * y[j];
        }
      }
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
          index_t const r = row + ty + 16 * i, s = column + tx + 16 * j;
          if (r >= p.m || s >= p.n) continue;
          T& to = c[r * p.sc[2] + s * p.sc[3]];
          to = static_cast<T>(p.beta == A(0) ? p.alpha * sum[i][j]
                                             : p.alpha * sum[i][j] + p.beta * static_cast<A>(to));
        }
    }
}

template <bool Select, class T> cudaError_t product(cudaStream_t stream, product_arguments<T> const& p) {
  index_t const column_tiles = ceil_div(p.n, product_tile),
                tiles = ceil_div(p.m, product_tile) * column_tiles;
  if (tiles == 0 || p.n0 * p.n1 == 0) return cudaSuccess;
  return launch(stream,
                {dim3(blocks_for(tiles, 1), static_cast<unsigned>(at_most(p.n0 * p.n1, 65535))), dim3(256)},
                product_tiles<Select, T>, p, column_tiles, tiles);
}

}  // namespace smx::cuda_kernels
