// SPDX-License-Identifier: Apache-2.0
/// \file  reduce, softmax and cumulative_sum: a team of threads for each row (see team.cuh); formulas in
/// backend/concept.hpp. One pass over memory finds the maximum, one the sum, one writes: rows come from the
/// caches after the first.
#pragma once

#include <cmath>

#include <smx/backend/concept.hpp>
#include <smx/backend/cuda/launch.cuh>
#include <smx/backend/cuda/team.cuh>

namespace smx::cuda_kernels {

template <class T, class S> __device__ T* row_of(view<T, 4, S> const& v, extents<3> const& i) {
  return v.ptr + i[0] * v.str[0] + i[1] * v.str[1] + i[2] * v.str[2];
}

template <int Threads, class T>
__global__ void reduce_rows(reduction how, view<T const, 4, device_space> x, T beta,
                            view<T, 4, device_space> y, index_t rows) {
  each_row<Threads>(rows, [&](index_t row, index_t lane) {
    extents<3> const i = row_index(x.ext, row);
    T const* const from = row_of(x, i);
    T value = how == reduction::sum ? T(0) : from[0];
    for (index_t j = lane; j < x.ext[3]; j += Threads) {
      T const entry = from[j * x.str[3]];
      value = how == reduction::sum ? value + entry : larger{}(value, entry);
    }
    value = how == reduction::sum ? over_team<Threads>(value, plus{}) : over_team<Threads>(value, larger{});
    if (lane != 0) return;
    T& to = *row_of(y, i);
    to = how == reduction::max || beta == T(0) ? value : beta * to + value;
  });
}

/// The same where neighbouring rows, not the entries of one, lie side by side: a thread a row, sums in
/// double.
template <class T>
__global__ void reduce_columns(reduction how, view<T const, 4, device_space> x, T beta,
                               view<T, 4, device_space> y, index_t rows) {
  for (index_t row = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; row < rows;
       row += static_cast<index_t>(gridDim.x) * blockDim.x) {
    extents<3> const i = row_index(x.ext, row);
    T const* const from = row_of(x, i);
    double sum = 0;
    T top = from[0];
    for (index_t j = 0; j < x.ext[3]; ++j) {
      T const entry = from[j * x.str[3]];
      if (how == reduction::sum)
        sum += static_cast<double>(entry);
      else
        top = larger{}(top, entry);
    }
    T& to = *row_of(y, i);
    T const value = how == reduction::sum ? static_cast<T>(sum) : top;
    to = how == reduction::max || beta == T(0) ? value : beta * to + value;
  }
}

template <class T>
cudaError_t reduce(cudaStream_t stream, reduction how, view<T const, 4, device_space> x, T beta,
                   view<T, 4, device_space> y) {
  index_t const rows = y.size();
  if (rows == 0) return cudaSuccess;
  if (x.str[3] != 1 && x.ext[3] > 1 && rows >= 1024)
    return launch(stream, {dim3(blocks_for(rows, 128)), dim3(128)}, reduce_columns<T>, how, x, beta, y, rows);
  return with_team(x.ext[3], rows,
                   [&]<int Threads>(std::integral_constant<int, Threads>, dim3 grid, dim3 block) {
                     return launch(stream, {grid, block}, reduce_rows<Threads, T>, how, x, beta, y, rows);
                   });
}

template <int Threads, class M, class T>
__global__ void softmax_rows(M mask, score_origin o, view<T const, 4, device_space> x,
                             view<T, 4, device_space> y, view<T, 4, device_space> lse, index_t rows) {
  each_row<Threads>(rows, [&](index_t row, index_t lane) {
    extents<3> const i = row_index(x.ext, row);
    T const* const from = row_of(x, i);
    T* const to = row_of(y, i);
    index_t const n = x.ext[3], b = o.batch + i[0], h = o.head + i[1], query = o.row + i[2];
    index_range keys{0, n};
    if constexpr (IntervalMask<M>) {
      index_range const all = mask.row(b, h, query);
      keys = smx::detail::within_count({all.first - o.key, all.last - o.key}, n);
    }
    auto const seen = [&](index_t j) {
      if constexpr (IntervalMask<M>)
        return keys.first <= j && j < keys.last;
      else
        return mask.allow(b, h, query, o.key + j);
    };
    auto const score = [&](index_t j) { return from[j * x.str[3]]; };
    T top = minus_infinity<T>;
    for (index_t j = keys.first + lane; j < keys.last; j += Threads)
      if (seen(j)) top = larger{}(top, score(j));
    top = over_team<Threads>(top, larger{});
    // -inf - -inf would be NaN; with every allowed score -inf the row is empty
    T const shift = top == minus_infinity<T> ? T(0) : top;
    T sum = 0;
    for (index_t j = keys.first + lane; j < keys.last; j += Threads)
      if (seen(j)) sum += std::exp(score(j) - shift);
    sum = over_team<Threads>(sum, plus{});
    T const inverse = T(1) / sum;
    for (index_t j = lane; j < n; j += Threads)
      to[j * y.str[3]] = sum != T(0) && seen(j) ? std::exp(score(j) - shift) * inverse : T(0);
    if (lane == 0) *row_of(lse, i) = shift + std::log(sum);
  });
}

template <class M, class T>
cudaError_t softmax(cudaStream_t stream, M const& mask, score_origin const& o,
                    view<T const, 4, device_space> x, view<T, 4, device_space> y,
                    view<T, 4, device_space> lse) {
  index_t const rows = lse.size();
  if (rows == 0) return cudaSuccess;
  return with_team(
      x.ext[3], rows, [&]<int Threads>(std::integral_constant<int, Threads>, dim3 grid, dim3 block) {
        return launch(stream, {grid, block}, softmax_rows<Threads, M, T>, mask, o, x, y, lse, rows);
      });
}

template <int Threads, class T>
__global__ void softmax_backward_rows(view<T const, 4, device_space> y, view<T const, 4, device_space> dy,
                                      view<T, 4, device_space> dx, index_t rows) {
  each_row<Threads>(rows, [&](index_t row, index_t lane) {
    extents<3> const i = row_index(y.ext, row);
    T const *const p = row_of(y, i), *const g = row_of(dy, i);
    T* const to = row_of(dx, i);
    T dot = 0;
    for (index_t j = lane; j < y.ext[3]; j += Threads)
      if (T const one = p[j * y.str[3]]; one != T(0)) dot += one * g[j * dy.str[3]];
    dot = over_team<Threads>(dot, plus{});
    for (index_t j = lane; j < y.ext[3]; j += Threads) {
      T const one = p[j * y.str[3]];
      to[j * dx.str[3]] = one != T(0) ? one * (g[j * dy.str[3]] - dot) : T(0);
    }
  });
}

template <class T>
cudaError_t softmax_backward(cudaStream_t stream, view<T const, 4, device_space> y,
                             view<T const, 4, device_space> dy, view<T, 4, device_space> dx) {
  index_t const rows = y.ext[0] * y.ext[1] * y.ext[2];
  if (y.size() == 0) return cudaSuccess;
  return with_team(y.ext[3], rows,
                   [&]<int Threads>(std::integral_constant<int, Threads>, dim3 grid, dim3 block) {
                     return launch(stream, {grid, block}, softmax_backward_rows<Threads, T>, y, dy, dx, rows);
                   });
}

/// A warp a row, 32 entries at a time.
template <class T>
__global__ void cumulative_sum_rows(view<T const, 4, device_space> x, view<T, 4, device_space> y,
                                    index_t rows) {
  each_row<short_team>(rows, [&](index_t row, index_t lane) {
    extents<3> const i = row_index(x.ext, row);
    T const* const from = row_of(x, i);
    T* const to = row_of(y, i);
    T before = 0;
    for (index_t first = 0; first < x.ext[3]; first += short_team) {
      index_t const j = first + lane;
      T sum = j < x.ext[3] ? from[j * x.str[3]] : T(0);
      for (unsigned o = 1; o < 32; o *= 2) {
        T const left = __shfl_up_sync(~0u, sum, o);
        if (lane >= static_cast<index_t>(o)) sum += left;
      }
      sum += before;
      if (j < x.ext[3]) to[j * y.str[3]] = sum;
      before = __shfl_sync(~0u, sum, 31);
    }
  });
}

template <class T>
cudaError_t cumulative_sum(cudaStream_t stream, view<T const, 4, device_space> x,
                           view<T, 4, device_space> y) {
  index_t const rows = x.ext[0] * x.ext[1] * x.ext[2];
  if (x.size() == 0) return cudaSuccess;
  constexpr unsigned teams = long_team / short_team;
  return launch(stream, {dim3(blocks_for(rows, teams)), dim3(short_team, teams)}, cumulative_sum_rows<T>, x,
                y, rows);
}

}  // namespace smx::cuda_kernels
