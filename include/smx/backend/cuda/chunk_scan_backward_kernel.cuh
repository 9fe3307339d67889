// SPDX-License-Identifier: Apache-2.0
/// \file  Kernels of the adjoint of the chunked scan (structured/chunk_scan.hpp), all chunks of at most 64
/// rows in parallel, from the states S before and the gradients g of the states after them:
///
/// dv_in = Gamma^T dy + E (k g), dq = sum over heads of scale F (dy S^T) + D k, dk = sum over heads of E (w v
/// g^T) + D^T q, D = sum over heads of dGamma o decays, dGamma = dy (w v)^T. Sums over the heads of a group
/// are made in parts of some heads each, and the parts are added in order. Gradients of log-decays are sums
/// of rectangles: no differences, nothing cancels.
#pragma once

#include <cuda_runtime.h>

#include <smx/backend/cuda/chunk_scan_kernel.cuh>

namespace smx::cuda_kernels {

/// The sums over heads are made by `count` blocks of at most `each` heads of the group.
struct scan_head_parts {
  index_t count, each;
};

/// Head number `r` of group g.
__device__ inline index_t head_of_group(scan_heads const& d, index_t g, index_t r) {
  return d.tiled ? r * d.groups + g : g * (d.heads / d.groups) + r;
}

/// Numbers by chunk and head that the decays' gradients are made of, 64 of each a chunk.
template <class T> struct scan_row_sums {
  T* triangle;  // (numbers,H,64): sums of rectangles of dGamma o Gamma
  T* ends;      // (P tiles,numbers,H,64): <w v, E k g>
  T* starts;    // (N tiles,numbers,H,64): <F dy S^T, scale q>
  T* weights;   // (P tiles,numbers,H,64): <dv_in, v>
  index_t numbers, heads;

  __device__ T* at(T* of, index_t tile, index_t number, index_t h) const {
    return of + ((tile * numbers + number) * heads + h) * tile_edge;
  }
};

template <class T> struct scan_value_gradients {
  scan_rows<T> v;
  T* skip;  // (numbers,H,P) sums over the rows of a chunk, or null
};

/// dv, and what is summed over its columns: blocks (number, head, tiles of P).
template <class P>
__global__ void __launch_bounds__(tile_threads, tile_blocks<typename P::number>)
    scan_values_backward(scan_chunks chunks, index_t base, scan_heads d, scan_inputs<typename P::number> x,
                         scan_rows<typename P::number const> dy, scan_states<typename P::number const> g,
                         typename P::number const* products, scan_row_sums<typename P::number> sums,
                         scan_value_gradients<typename P::number> to) {
  using T = typename P::number;
  scan_place const at = chunks.place(base + blockIdx.x);
  index_t const h = blockIdx.y, group = d.group(h);
  int const thread = static_cast<int>(threadIdx.x), column = static_cast<int>(blockIdx.z) * tile_edge;
  scan_memory<P> const m(shared_memory<T>());
  decay_sums<T> const c{m.by_row, m.by_row + tile_edge};
  T *const weight = m.by_row + 2 * tile_edge, *const by_row = m.by_row + 3 * tile_edge;
  bool const decays = x.decay.ptr != nullptr, weighted = x.weight.ptr != nullptr;
  T const *const k = x.k.at(at.batch, group, at.first), *const v = x.v.at(at.batch, h, at.first) + column,
                 *const up = dy.at(at.batch, h, at.first) + column,
                 *const of_state = g.at(at.sequence, at.chunk, blockIdx.x, h) + column,
                 *const triangle = products + (blockIdx.x * d.groups + group) * tile_size;
  typename P::template tile<along::edge, along::edge> t;
  constexpr int width = decltype(t)::width;
  auto const value = [&](int l, int j) {
    return l < at.rows && column + j < d.p ? v[l * x.v.row + j] : T(0);
  };
  {
    tile_slice<P, along::depth> a;
    tile_slice<P, along::edge> b;
    each_slice(
        static_cast<int>(ceil_div(d.n, tile_depth)),
        [&] {
          if (thread < at.rows)
            weight[thread] = weighted ? *x.weight.at(at.batch, h, at.first + thread) : T(1);
          if (decays) c.fill(x.decay.at(at.batch, h, at.first), x.decay.row, at.rows);
        },
        [&](int s) {
          int const n = s * tile_depth;
          a.load(k + n, x.k.row, at.rows, d.n - n, x.k.packs);
          b.load(of_state + n * g.row, g.row, d.n - n, d.p - column, g.packs);
        },
        [&](int, int buffer) { a.store(m.left(buffer)), b.store(m.right(buffer)); },
        [&](int, int buffer) {
          t.template add_product<along::depth, along::edge>(m.left(buffer), m.right(buffer));
        });
  }
  if (decays) {
    t.for_each([&](int r, int, T* numbers) {
      T const f = r < at.rows ? c.between(at.rows - 1, r) : T(0);
      for (int u = 0; u < width; ++u) numbers[u] *= f;
    });
    t.sum_rows(by_row,
               [&](int l, int j, T number) { return l < at.rows ? weight[l] * value(l, j) * number : T(0); });
    __syncthreads();
    if (thread < tile_edge)
      sums.at(sums.ends, blockIdx.z, blockIdx.x, h)[thread] = by_row[thread] + by_row[thread + tile_edge];
  }
  auto const decayed = [&](T product, int l, int s) {
    if (s > l || l >= at.rows) return T(0);
    return decays ? product * c.between(l, s) : product;
  };
  bool no_number = false;
  {
    tile_slice<P, along::edge> a, b;
    each_slice(
        static_cast<int>(ceil_div(at.rows, tile_depth)), prepared{},
        [&](int i) {
          int const l = i * tile_depth;
          a.load(triangle + l * tile_edge, tile_edge, tile_depth, tile_edge, true);
          b.load(up + l * dy.row, dy.row, at.rows - l, d.p - column, dy.packs);
        },
        [&](int i, int buffer) {
          a.transform([&](T product, int l, int s) { return decayed(product, i * tile_depth + l, s); });
          no_number |= b.clear_infinite();
          a.store(m.left(buffer)), b.store(m.right(buffer));
        },
        [&](int, int buffer) { t.add_product(m.left(buffer), m.right(buffer)); });
  }
  if (__syncthreads_or(no_number ? 1 : 0) != 0)
    t.for_each([&](int s, int j, T* numbers) {
      for (int u = 0; u < width; ++u)
        for (int l = s; l < at.rows && column + j + u < d.p; ++l) {
          T const entry = up[l * dy.row + j + u];
          if (P::finite_operand(entry)) continue;
          T const factor = decayed(triangle[l * tile_edge + s], l, s);
          if (factor != T(0)) numbers[u] += factor * entry;
        }
    });
  if (weighted) {
    t.sum_rows(by_row, [&](int l, int j, T number) { return value(l, j) * number; });
    __syncthreads();
    if (thread < tile_edge)
      sums.at(sums.weights, blockIdx.z, blockIdx.x, h)[thread] = by_row[thread] + by_row[thread + tile_edge];
  }
  T const* const skip = x.skip == nullptr ? nullptr : x.skip + h * x.skip_head + column * x.skip_column;
  t.for_each([&](int l, int j, T* numbers) {
    int const left = d.p - column - j;
    if (l >= at.rows) return;
#pragma unroll
    for (int u = 0; u < width; ++u)
      if (weighted) numbers[u] *= weight[l];
    if (skip != nullptr) {
      auto const rows = load_numbers<width>(up + l * dy.row + j, left, dy.packs);
#pragma unroll
      for (int u = 0; u < width; ++u)
        if (u < left) numbers[u] += __ldg(skip + (j + u) * x.skip_column) * rows.of[u];
    }
    store_numbers<width>(to.v.at(at.batch, h, at.first + l) + column + j, numbers, left, to.v.packs);
  });
  if (skip == nullptr) return;
  // sums over the rows of dy v: two threads a column
  int const j = thread % tile_edge, half = thread / tile_edge;
  T sum = 0;
  if (column + j < d.p)
    for (int l = half; l < at.rows; l += 2) sum += up[l * dy.row + j] * v[l * x.v.row + j];
  __syncthreads();
  by_row[thread] = sum;
  __syncthreads();
  if (thread < tile_edge && column + j < d.p)
    to.skip[(blockIdx.x * d.heads + h) * d.p + column + j] = by_row[j] + by_row[j + tile_edge];
}

/// D of some heads of a group into (parts,numbers,G,4096), and sums of rectangles of dGamma o Gamma: blocks
/// (number, group times part).
template <class P>
__global__ void __launch_bounds__(tile_threads, 2)
    scan_triangle_backward(scan_chunks chunks, index_t base, scan_heads d, scan_head_parts parts,
                           scan_inputs<typename P::number> x, scan_rows<typename P::number const> dy,
                           typename P::number const* products, scan_row_sums<typename P::number> sums,
                           typename P::number* triangles) {
  using T = typename P::number;
  constexpr int stride = tile_edge + 1, half_edge = tile_edge / 2;
  scan_place const at = chunks.place(base + blockIdx.x);
  index_t const group = blockIdx.y % d.groups, part = blockIdx.y / d.groups, all = d.heads / d.groups,
                end = (part + 1) * parts.each < all ? (part + 1) * parts.each : all;
  int const thread = static_cast<int>(threadIdx.x);
  scan_memory<P> const m(shared_memory<T>());
  decay_sums<T> const c{m.by_row, m.by_row + tile_edge};
  T* const weight = m.by_row + 2 * tile_edge;
  bool const decays = x.decay.ptr != nullptr, weighted = x.weight.ptr != nullptr;
  T const* const triangle = products + (blockIdx.x * d.groups + group) * tile_size;
  typename P::template tile<along::depth, along::depth> total;
  for (index_t r = part * parts.each; r < end; ++r) {
    index_t const h = head_of_group(d, group, r);
    T const *const v = x.v.at(at.batch, h, at.first), *const up = dy.at(at.batch, h, at.first);
    typename P::template tile<along::depth, along::depth> t;
    constexpr int width = decltype(t)::width;
    tile_slice<P, along::depth> a, b;
    each_slice(
        static_cast<int>(ceil_div(d.p, tile_depth)),
        [&] {
          if (thread < at.rows)
            weight[thread] = weighted ? *x.weight.at(at.batch, h, at.first + thread) : T(1);
          if (decays) c.fill(x.decay.at(at.batch, h, at.first), x.decay.row, at.rows);
        },
        [&](int i) {
          int const p = i * tile_depth;
          a.load(up + p, dy.row, at.rows, d.p - p, dy.packs);
          b.load(v + p, x.v.row, at.rows, d.p - p, x.v.packs);
        },
        [&](int, int buffer) { a.store(m.left(buffer)), b.store(m.right(buffer)); },
        [&](int, int buffer) { t.add_product(m.left(buffer), m.right(buffer)); });
    t.for_each([&](int l, int s, T* numbers) {
      for (int u = 0; u < width; ++u) {
        bool const seen = s + u <= l && l < at.rows;
        numbers[u] = !seen ? T(0) : numbers[u] * weight[s + u] * (decays ? c.between(l, s + u) : T(1));
        if (decays)
          m.slices[l * stride + s + u] =
              seen && s + u < l ? numbers[u] * triangle[l * tile_edge + s + u] : T(0);
      }
    });
    total.add(t, [](int, int, T number) { return number; });
    if (decays) {
      // of row l before column k, the columns in two halves; then over the rows from k on, in two halves
      int const own = thread % tile_edge, half = thread / tile_edge;
      __syncthreads();
      {
        T* const row = m.slices + own * stride + half * half_edge;
        T before = 0;
#pragma unroll 8
        for (int s = 0; s < half_edge; ++s) {
          T const one = row[s];
          row[s] = before;
          before += one;
        }
        if (half == 0) weight[own] = before;  // weights are done with
      }
      __syncthreads();
      {
        T sum = 0;
#pragma unroll 8
        for (int i = 0; i < half_edge; ++i) {
          int const l = half * half_edge + i;
          if (l >= own) sum += m.slices[l * stride + own] + (own >= half_edge ? weight[l] : T(0));
        }
        c.high[own + 3 * half * tile_edge] = sum;  // high, and behind the weights
      }
      __syncthreads();
      if (half == 0)
        sums.at(sums.triangle, 0, blockIdx.x, h)[own] = c.high[own] + c.high[own + 3 * tile_edge];
    }
    __syncthreads();  // what is by row is written again
  }
  T* const to = triangles + ((part * gridDim.x + blockIdx.x) * d.groups + group) * tile_size;
  constexpr int width = decltype(total)::width;
  total.for_each([&](int l, int s, T* numbers) {
    store_numbers<width>(to + l * tile_edge + s, numbers, width, width > 1);
  });
}

/// dq and dk through the states, of some heads of a group, into (2,parts,numbers,G,64,N), and <F dy S^T,
/// scale q> of each head: blocks (number, group times part, tiles of N, those of dq first).
template <class P>
__global__ void __launch_bounds__(tile_threads, sizeof(typename P::number) == 4 ? 3 : 2)
    scan_keys_backward(scan_chunks chunks, index_t base, scan_heads d, scan_head_parts parts,
                       scan_inputs<typename P::number> x, scan_rows<typename P::number const> dy,
                       scan_states<typename P::number const> states, scan_states<typename P::number const> g,
                       scan_row_sums<typename P::number> sums, typename P::number* to) {
  using T = typename P::number;
  scan_place const at = chunks.place(base + blockIdx.x);
  index_t const group = blockIdx.y % d.groups, part = blockIdx.y / d.groups, all = d.heads / d.groups,
                end = (part + 1) * parts.each < all ? (part + 1) * parts.each : all;
  int const thread = static_cast<int>(threadIdx.x), tiles = static_cast<int>(ceil_div(d.n, tile_edge)),
            tile = static_cast<int>(blockIdx.z) % tiles, column = tile * tile_edge;
  bool const of_keys = static_cast<int>(blockIdx.z) >= tiles, decays = x.decay.ptr != nullptr;
  scan_memory<P> const m(shared_memory<T>());
  decay_sums<T> const c{m.by_row, m.by_row + tile_edge};
  T *const factor = m.by_row + 2 * tile_edge, *const by_row = m.by_row + 3 * tile_edge;
  T const* const q = x.q.at(at.batch, group, at.first) + column;
  scan_rows<T const> const rows = of_keys ? x.v : dy;
  scan_states<T const> const matrix = of_keys ? g : states;
  typename P::template tile<along::depth, along::depth> total;
  for (index_t r = part * parts.each; r < end; ++r) {
    index_t const h = head_of_group(d, group, r);
    T const *const left = rows.at(at.batch, h, at.first), *const right = matrix.at(at.sequence, at.chunk,
                                                                                   blockIdx.x, h) +
                                                                         column * matrix.row;
    typename P::template tile<along::depth, along::depth> t;
    tile_slice<P, along::depth> a, b;
    each_slice(
        static_cast<int>(ceil_div(d.p, tile_depth)),
        [&] {
          if (decays) {
            c.fill(x.decay.at(at.batch, h, at.first), x.decay.row, at.rows);
            __syncthreads();
          }
          if (thread >= tile_edge) return;
          T f = 0;
          if (thread < at.rows) {
            f = of_keys ? T(1) : x.scale;
            if (decays) f *= of_keys ? c.between(at.rows - 1, thread) : c.from_start(thread);
            if (of_keys && x.weight.ptr != nullptr) f *= *x.weight.at(at.batch, h, at.first + thread);
          }
          factor[thread] = f;
        },
        [&](int i) {
          int const p = i * tile_depth;
          a.load(left + p, rows.row, at.rows, d.p - p, rows.packs);
          b.load(right + p, matrix.row, d.n - column, d.p - p, matrix.packs);
        },
        [&](int, int buffer) { a.store(m.left(buffer)), b.store(m.right(buffer)); },
        [&](int, int buffer) { t.add_product(m.left(buffer), m.right(buffer)); });
    total.add(t, [&](int l, int, T number) { return factor[l] * number; });
    if (decays && !of_keys) {
      t.sum_rows(by_row, [&](int l, int n, T number) {
        return l < at.rows && column + n < d.n ? factor[l] * number * q[l * x.q.row + n] : T(0);
      });
      __syncthreads();
      if (thread < tile_edge)
        sums.at(sums.starts, tile, blockIdx.x, h)[thread] = by_row[thread] + by_row[thread + tile_edge];
    }
    __syncthreads();  // what is by row is written again
  }
  T* const own =
      to + (((of_keys ? parts.count : 0) + part) * gridDim.x + blockIdx.x) * d.groups * tile_edge * d.n +
      group * tile_edge * d.n + column;
  constexpr int width = decltype(total)::width;
  total.for_each([&](int l, int n, T* numbers) {
    if (l < at.rows)
      store_numbers<width>(own + static_cast<index_t>(l) * d.n + n, numbers, d.n - column - n, false);
  });
}

}  // namespace smx::cuda_kernels
