// SPDX-License-Identifier: Apache-2.0
/// \file  The threads that share one row: a warp, or a block of eight. Sums have one order: lane by lane,
/// then a tree.
#pragma once

#include <cuda_runtime.h>

#include <limits>
#include <type_traits>

#include <smx/backend/cuda/grid.hpp>

namespace smx::cuda_kernels {

/// A constant, where the function would be one of the host.
template <class T> inline constexpr T minus_infinity = -std::numeric_limits<T>::infinity();

inline constexpr int short_team = 32, long_team = 256;

/// Rows are given to warps where they are short, or many.
constexpr bool rows_are_long(index_t n, index_t rows) { return n > 1024 || (n > 128 && rows < 1024); }

struct plus {
  template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};
/// NaN wins.
struct larger {
  template <class T> __device__ T operator()(T a, T b) const {
    return a != a ? a : (b > a || b != b) ? b : a;
  }
};

template <int Threads, class T, class Op> __device__ T over_team(T v, Op const& op) {
  for (int o = 16; o > 0; o /= 2) v = op(v, __shfl_xor_sync(~0u, v, o));
  if constexpr (Threads > 32) {
    __shared__ T of_warp[Threads / 32];
    __syncthreads();  // of_warp may still be read
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
    __syncthreads();
    v = of_warp[0];
    for (int w = 1; w < Threads / 32; ++w) v = op(v, of_warp[w]);
  }
  return v;
}

/// f(row, lane) for each row of `rows`; every thread of a team has the same rows.
template <int Threads, class F> __device__ void each_row(index_t rows, F const& f) {
  constexpr index_t teams = long_team / Threads;
  for (index_t row = blockIdx.x * teams + threadIdx.y; row < rows; row += gridDim.x * teams)
    f(row, static_cast<index_t>(threadIdx.x));
}

/// start(integral_constant<int, Threads>, grid, block) with the team that fits.
template <class F> auto with_team(index_t n, index_t rows, F const& start) {
  if (rows_are_long(n, rows))
    return start(std::integral_constant<int, long_team>{}, dim3(blocks_for(rows, 1)), dim3(long_team, 1));
  return start(std::integral_constant<int, short_team>{}, dim3(blocks_for(rows, long_team / short_team)),
               dim3(short_team, long_team / short_team));
}

}  // namespace smx::cuda_kernels
