// SPDX-License-Identifier: Apache-2.0
/// \file  What runs along axis 2, column by column, and look-ups: decayed_scan, solve_unit_lower, gather,
/// scatter_add. A thread has one column and walks it in order.
#pragma once

#include <cmath>

#include <smx/backend/concept.hpp>
#include <smx/backend/cuda/grid.hpp>
#include <smx/backend/cuda/launch.cuh>

namespace smx::cuda_kernels {

/// f(offset of (b,h,0,column) in v) for this thread's columns of (e0,e1,*,e3).
template <class F> __device__ void each_column(extents<4> const& e, F const& f) {
  index_t const columns = e[0] * e[1] * e[3];
  for (index_t n = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; n < columns;
       n += static_cast<index_t>(gridDim.x) * blockDim.x) {
    index_t const rest = n / e[3];
    f(rest / e[1], rest % e[1], n % e[3]);
  }
}
template <class V> __device__ auto* column_of(V const& v, index_t b, index_t h, index_t column) {
  return v.ptr + b * v.str[0] + h * v.str[1] + column * v.str[3];
}

template <class T>
__global__ void decayed_scan_columns(view<T const, 4, device_space> a, view<T const, 4, device_space> x,
                                     view<T, 4, device_space> y) {
  each_column(x.ext, [&](index_t b, index_t h, index_t c) {
    T const *const decay = column_of(a, b, h, a.ext[3] == 1 ? 0 : c), *const from = column_of(x, b, h, c);
    T* const to = column_of(y, b, h, c);
    T state = 0;
    for (index_t t = 0; t < x.ext[2]; ++t) {
      state = std::exp(decay[t * a.str[2]]) * state + from[t * x.str[2]];
      to[t * y.str[2]] = state;
    }
  });
}

template <class T>
__global__ void solve_columns(bool transposed, view<T const, 4, device_space> a, view<T, 4, device_space> x) {
  index_t const n = x.ext[2], along = transposed ? a.str[3] : a.str[2],
                across = transposed ? a.str[2] : a.str[3];
  each_column(x.ext, [&](index_t b, index_t h, index_t c) {
    T const* const matrix = column_of(a, b, h, 0);
    T* const to = column_of(x, b, h, c);
    for (index_t step = 0; step < n; ++step) {
      index_t const r = transposed ? n - 1 - step : step;
      T value = to[r * x.str[2]];
      for (index_t k = 0; k < step; ++k) {
        index_t const before = transposed ? n - 1 - k : k;
        value -= matrix[r * along + before * across] * to[before * x.str[2]];
      }
      to[r * x.str[2]] = value;
    }
  });
}

/// Rows outside the table raise the flag, which the backend looks at when it synchronizes.
template <class T>
__global__ void gather_rows(view<T const, 2, device_space> table, view<index_t const, 1, device_space> rows,
                            view<T, 2, device_space> y, int* bad) {
  index_t const size = y.ext[0] * y.ext[1];
  for (index_t n = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; n < size;
       n += static_cast<index_t>(gridDim.x) * blockDim.x) {
    index_t const i = n / y.ext[1], j = n % y.ext[1], from = rows.ptr[i * rows.str[0]];
    if (from < 0 || from >= table.ext[0])
      *bad = 1;
    else
      y(i, j) = table(from, j);
  }
}

/// A block for each row of the table: it looks through `rows` in order and adds what belongs to it.
template <class T>
__global__ void scatter_rows(view<index_t const, 1, device_space> rows, view<T const, 2, device_space> dy,
                             view<T, 2, device_space> dtable, int* bad) {
  __shared__ index_t looked_up[128];
  // where the table has no rows, the first block still finds that all lie outside
  for (index_t own = blockIdx.x; own == 0 || own < dtable.ext[0]; own += gridDim.x)
    for (index_t first = 0; first < rows.ext[0]; first += 128) {
      index_t const mine = first + threadIdx.x, count = at_most(rows.ext[0] - first, 128);
      __syncthreads();  // the last 128 may still be read
      if (mine < rows.ext[0]) {
        index_t const to = rows.ptr[mine * rows.str[0]];
        bool const inside = to >= 0 && to < dtable.ext[0];
        if (!inside) *bad = 1;
        looked_up[threadIdx.x] = inside ? to : -1;
      }
      __syncthreads();
      for (index_t i = 0; i < count; ++i)
        if (looked_up[i] == own)
          for (index_t j = threadIdx.x; j < dtable.ext[1]; j += 128) dtable(own, j) += dy(first + i, j);
    }
}

}  // namespace smx::cuda_kernels
