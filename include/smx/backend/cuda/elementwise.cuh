// SPDX-License-Identifier: Apache-2.0
/// \file  map, generate and copy: one kernel over rows of the output's memory, 16 bytes a thread where every
/// operand allows it.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include <smx/backend/axes.hpp>
#include <smx/backend/cuda/grid.hpp>
#include <smx/backend/cuda/launch.cuh>
#include <smx/core/dtype.hpp>

namespace smx::cuda_kernels {

/// W numbers that are loaded and stored at once.
template <class T, int W> struct alignas(sizeof(T) * W) pack { T of[W]; };

template <class T, int R> struct operand {
  T* ptr;
  extents<R> str;
};

/// y := f(x...) with W entries a thread; axes 0 .. axes - 2 of `ext` number rows, the last one counts packs
/// of W. An operand whose last stride is 0 repeats one entry.
template <int W, int R, class F, class Y, class... X>
__global__ void map_rows(F f, int axes, extents<R> ext, index_t rows, operand<Y, R> y, operand<X, R>... x) {
  constexpr int views = 1 + static_cast<int>(sizeof...(X));
  extents<R> const strides[views] = {y.str, x.str...};
  index_t const n = axes == 0 ? 1 : ext[axes - 1];
  index_t const first = static_cast<index_t>(blockIdx.y) * blockDim.x + threadIdx.x,
                step = static_cast<index_t>(gridDim.y) * blockDim.x;
  for (index_t row = static_cast<index_t>(blockIdx.x) * blockDim.y + threadIdx.y; row < rows;
       row += static_cast<index_t>(gridDim.x) * blockDim.y) {
    index_t at[views];
    row_offsets(axes, ext, row, strides, at, views);
    for (index_t j = first; j < n; j += step) {
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        auto const along = [&](int v) {
          return axes == 0 ? index_t{0} : at[v] + j * strides[v][axes - 1] * W;
        };
        if constexpr (W == 1) {
          y.ptr[along(0)] = static_cast<Y>(f(x.ptr[along(static_cast<int>(I) + 1)]...));
        } else {
          auto const load = [&](auto const& o, int v) {
            using T = std::remove_cv_t<std::remove_reference_t<decltype(*o.ptr)>>;
            pack<T, W> p;
            if (strides[v][axes - 1] == 0) {
              T const one = o.ptr[at[v]];
              for (int i = 0; i < W; ++i) p.of[i] = one;
            } else {
              p = *reinterpret_cast<pack<T, W> const*>(o.ptr + along(v));
            }
            return p;
          };
          auto const apply = [&](auto const&... p) {
            pack<Y, W> out;
            for (int i = 0; i < W; ++i) out.of[i] = static_cast<Y>(f(p.of[i]...));
            *reinterpret_cast<pack<Y, W>*>(y.ptr + along(0)) = out;
          };
          apply(load(x, static_cast<int>(I) + 1)...);
        }
      }
      (std::make_index_sequence<sizeof...(X)>{});
    }
  }
}

/// y(i...) := f(i).
template <int R, class F, class Y>
__global__ void generate_entries(F f, extents<R> ext, index_t size, operand<Y, R> y) {
  for (index_t n = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; n < size;
       n += static_cast<index_t>(gridDim.x) * blockDim.x) {
    extents<R> const i = index_of(ext, n);
    index_t offset = 0;
    for (int r = 0; r < R; ++r) offset += i[r] * y.str[r];
    y.ptr[offset] = static_cast<Y>(f(i));
  }
}

/// One entry of another element type, through the type that both compute in.
template <class To> struct converted {
  template <class From> SMX_HD To operator()(From v) const {
    return static_cast<To>(static_cast<compute_t<To>>(static_cast<compute_t<From>>(v)));
  }
};

/// Whether W entries of a row can be moved at once: contiguous (or one entry repeated), and every row at a
/// multiple of that many.
template <int W, int R, class T>
bool takes_packs(int axes, extents<R> const& ext, operand<T, R> const& o, bool may_repeat) {
  if (axes == 0 || ext[axes - 1] % W != 0) return false;
  index_t const last = o.str[axes - 1];
  if (last == 0 && may_repeat) return true;
  bool ok = last == 1 && reinterpret_cast<std::uintptr_t>(o.ptr) % (sizeof(T) * W) == 0;
  for (int r = 0; r + 1 < axes; ++r) ok = ok && o.str[r] % W == 0;
  return ok;
}

/// Starts map on `stream`. Extents and strides as given: axes are sorted and merged here.
template <class F, class Y, int R, class S, class... X>
cudaError_t map(cudaStream_t stream, F const& f, view<Y, R, S> y, view<X, R, S>... x) {
  if (y.size() == 0) return cudaSuccess;
  auto ext = y.ext;
  index_t* const strides[] = {&y.str[0], &x.str[0]...};
  int const axes = smx::detail::simplify_axes(R, &ext[0], strides, 1 + static_cast<int>(sizeof...(X)));
  operand<Y, R> const to{y.ptr, y.str};
  auto const start = [&]<int W>(std::integral_constant<int, W>) {
    extents<R> e = ext;
    if (axes > 0) e[axes - 1] /= W;
    index_t const n = axes == 0 ? 1 : e[axes - 1], rows = y.size() / (n * W);
    row_block const block = row_block_for(n);
    launch_shape const shape{
        dim3(blocks_for(rows, block.rows),
             static_cast<unsigned>(at_most(ceil_div(n, block.across * 4), rows < 1024 ? 4096 : 8))),
        dim3(block.across, block.rows)};
    return launch(stream, shape, map_rows<W, R, F, Y, X...>, f, axes, e, rows, to,
                  operand<X, R>{x.ptr, x.str}...);
  };
  // the W that makes 16 bytes; operands of other sizes go one by one
  constexpr int width = sizeof(Y) == 4 ? 4 : sizeof(Y) == 8 ? 2 : 8;
  if constexpr ((... && (sizeof(X) == sizeof(Y))))
    if (takes_packs<width>(axes, ext, to, false) &&
        (... && takes_packs<width>(axes, ext, operand<X, R>{x.ptr, x.str}, true)))
      return start(std::integral_constant<int, width>{});
  return start(std::integral_constant<int, 1>{});
}

template <class F, class Y, int R, class S>
cudaError_t generate(cudaStream_t stream, F const& f, view<Y, R, S> y) {
  index_t const size = y.size();
  if (size == 0) return cudaSuccess;
  return launch(stream, {dim3(blocks_for(size, 256)), dim3(256)}, generate_entries<R, F, Y>, f, y.ext, size,
                operand<Y, R>{y.ptr, y.str});
}

}  // namespace smx::cuda_kernels
