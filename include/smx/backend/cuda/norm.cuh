// SPDX-License-Identifier: Apache-2.0
/// \file  norm and norm_backward: a team a row for what is computed along rows, a block for 32 columns of the
/// weights' gradients; formulas in backend/concept.hpp and backend/row_loops.hpp.
#pragma once

#include <smx/backend/cuda/rows.cuh>

namespace smx::cuda_kernels {

template <class T> struct norm_views {
  view<T const, 4, device_space> x, gain, bias;
  view<T, 4, device_space> y, mean, scale;
};

template <int Threads, class T>
__global__ void norm_rows(norm_kind kind, T eps, norm_views<T> v, index_t rows) {
  each_row<Threads>(rows, [&](index_t row, index_t lane) {
    extents<3> const i = row_index(v.x.ext, row);
    T const* const from = row_of(v.x, i);
    index_t const n = v.x.ext[3];
    auto const entry = [&](index_t j) { return from[j * v.x.str[3]]; };
    T center = 0, square = 0;
    if (kind == norm_kind::layer) {
      for (index_t j = lane; j < n; j += Threads) center += entry(j);
      center = over_team<Threads>(center, plus{}) / static_cast<T>(n);
    }
    for (index_t j = lane; j < n; j += Threads) square += (entry(j) - center) * (entry(j) - center);
    square = over_team<Threads>(square, plus{});
    T const factor = T(1) / std::sqrt(square / static_cast<T>(n) + eps);
    T* const to = row_of(v.y, i);
    bool const shifts = v.bias.ptr != nullptr;
    for (index_t j = lane; j < n; j += Threads)
      to[j * v.y.str[3]] = (entry(j) - center) * factor * v.gain.ptr[j * v.gain.str[3]] +
                           (shifts ? v.bias.ptr[j * v.bias.str[3]] : T(0));
    if (lane == 0) {
      *row_of(v.mean, i) = center;
      *row_of(v.scale, i) = factor;
    }
  });
}

template <class T> cudaError_t norm(cudaStream_t stream, norm_kind kind, T eps, norm_views<T> v) {
  index_t const rows = v.mean.size();
  if (rows == 0) return cudaSuccess;
  if (v.bias.size() == 0) v.bias.ptr = nullptr;
  return with_team(v.x.ext[3], rows,
                   [&]<int Threads>(std::integral_constant<int, Threads>, dim3 grid, dim3 block) {
                     return launch(stream, {grid, block}, norm_rows<Threads, T>, kind, eps, v, rows);
                   });
}

template <class T> struct norm_gradient_views {
  view<T const, 4, device_space> x, gain, mean, scale, dy;
  view<T, 4, device_space> dx, dgain, dbias;
};

/// With h = (x - mean) scale and g = dy gain: dx = scale (g - avg(g) - h avg(g h)), rms without avg(g).
template <int Threads, class T>
__global__ void norm_backward_rows(norm_kind kind, norm_gradient_views<T> v, index_t rows) {
  each_row<Threads>(rows, [&](index_t row, index_t lane) {
    extents<3> const i = row_index(v.x.ext, row);
    T const *const x = row_of(v.x, i), *const dy = row_of(v.dy, i);
    T const center = *row_of(v.mean, i), factor = *row_of(v.scale, i);
    index_t const n = v.x.ext[3];
    auto const h = [&](index_t j) { return (x[j * v.x.str[3]] - center) * factor; };
    auto const g = [&](index_t j) { return dy[j * v.dy.str[3]] * v.gain.ptr[j * v.gain.str[3]]; };
    T average = 0, product = 0;
    for (index_t j = lane; j < n; j += Threads) {
      average += g(j);
      product += g(j) * h(j);
    }
    average = kind == norm_kind::layer ? over_team<Threads>(average, plus{}) / static_cast<T>(n) : T(0);
    product = over_team<Threads>(product, plus{}) / static_cast<T>(n);
    T* const dx = row_of(v.dx, i);
    for (index_t j = lane; j < n; j += Threads)
      dx[j * v.dx.str[3]] = factor * (g(j) - average - h(j) * product);
  });
}

/// dgain += sum over rows of dy h, dbias += sum over rows of dy: 32 columns a block, every 32nd row a thread.
template <class T>
__global__ void __launch_bounds__(1024) norm_backward_columns(norm_gradient_views<T> v, index_t rows) {
  __shared__ T gains[32][33], biases[32][33];
  index_t const j = static_cast<index_t>(blockIdx.x) * 32 + threadIdx.x;
  bool const inside = j < v.x.ext[3];
  T gain = 0, bias = 0;
  for (index_t row = threadIdx.y; inside && row < rows; row += 32) {
    extents<3> const i = row_index(v.x.ext, row);
    T const dy = row_of(v.dy, i)[j * v.dy.str[3]];
    gain += dy * (row_of(v.x, i)[j * v.x.str[3]] - *row_of(v.mean, i)) * *row_of(v.scale, i);
    bias += dy;
  }
  gains[threadIdx.y][threadIdx.x] = gain;
  biases[threadIdx.y][threadIdx.x] = bias;
  __syncthreads();
  if (threadIdx.y != 0 || !inside) return;
  for (int r = 1; r < 32; ++r) {
    gain += gains[r][threadIdx.x];
    bias += biases[r][threadIdx.x];
  }
  v.dgain.ptr[j * v.dgain.str[3]] += gain;
  if (v.dbias.ptr != nullptr) v.dbias.ptr[j * v.dbias.str[3]] += bias;
}

/// The weights first: dx may be dy.
template <class T> cudaError_t norm_backward(cudaStream_t stream, norm_kind kind, norm_gradient_views<T> v) {
  index_t const rows = v.mean.size();
  if (v.x.size() == 0) return cudaSuccess;
  if (v.dbias.size() == 0) v.dbias.ptr = nullptr;
  cudaError_t const status =
      launch(stream, {dim3(static_cast<unsigned>(ceil_div(v.x.ext[3], 32))), dim3(32, 32)},
             norm_backward_columns<T>, v, rows);
  if (status != cudaSuccess) return status;
  return with_team(v.x.ext[3], rows,
                   [&]<int Threads>(std::integral_constant<int, Threads>, dim3 grid, dim3 block) {
                     return launch(stream, {grid, block}, norm_backward_rows<Threads, T>, kind, v, rows);
                   });
}

}  // namespace smx::cuda_kernels
