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
  if (thread < at.rows) weight[thread] = weighted ? *x.weight.at(at.batch, h, at.first + thread) : T(1);
  if (decays)
    c.fill(x.decay.at(at.batch, h, at.first), x.decay.row, at.rows);
  else
    __syncthreads();
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
        static_cast<int>(ceil_div(at.rows, tile_depth)),
        [&](int i) {
          int const l = i * tile_depth;
          a.load(triangle + l * tile_edge, tile_edge, tile_depth, tile_edge, true);
          b.load(up + l * dy.row, dy.row, at.rows - l, d.p - column, dy.packs);
        },
        [&](int i, int buffer) {
          a.transform([&](T product, int l, int s) { return decayed(product, i * tile_depth + l, s); });
          b.transform([&](T entry, int, int) {
            bool const ok = is_finite(entry);
            no_number |= !ok;
            return ok ? entry : T(0);
          });
          a.store(m.left(buffer)), b.store(m.right(buffer));
        },
        [&](int, int buffer) { t.add_product(m.left(buffer), m.right(buffer)); });
  }
  if (__syncthreads_or(no_number ? 1 : 0) != 0)
    t.for_each([&](int s, int j, T* numbers) {
      for (int u = 0; u < width; ++u)
        for (int l = s; l < at.rows && column + j + u < d.p; ++l) {
          T const entry = up[l * dy.row + j + u];
          if (is_finite(entry)) continue;
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
    if (l >= at.rows) return;
    for (int u = 0; u < width; ++u) {
      if (column + j + u >= d.p) continue;
      if (weighted) numbers[u] *= weight[l];
      if (skip != nullptr) numbers[u] += skip[(j + u) * x.skip_column] * up[l * dy.row + j + u];
    }
    store_numbers<width>(to.v.at(at.batch, h, at.first + l) + column + j, numbers, d.p - column - j,
                         to.v.packs);
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
    if (thread < at.rows) weight[thread] = weighted ? *x.weight.at(at.batch, h, at.first + thread) : T(1);
    if (decays)
      c.fill(x.decay.at(at.batch, h, at.first), x.decay.row, at.rows);
    else
      __syncthreads();
    T const *const v = x.v.at(at.batch, h, at.first), *const up = dy.at(at.batch, h, at.first);
    typename P::template tile<along::depth, along::depth> t;
    constexpr int width = decltype(t)::width;
    tile_slice<P, along::depth> a, b;
    each_slice(
        static_cast<int>(ceil_div(d.p, tile_depth)),
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
    if (decays) c.fill(x.decay.at(at.batch, h, at.first), x.decay.row, at.rows);
    if (thread < tile_edge) {
      T f = 0;
      if (thread < at.rows) {
        f = of_keys ? T(1) : x.scale;
        if (decays) f *= of_keys ? c.between(at.rows - 1, thread) : c.from_start(thread);
        if (of_keys && x.weight.ptr != nullptr) f *= *x.weight.at(at.batch, h, at.first + thread);
      }
      factor[thread] = f;
    }
    T const *const left = rows.at(at.batch, h, at.first), *const right = matrix.at(at.sequence, at.chunk,
                                                                                   blockIdx.x, h) +
                                                                         column * matrix.row;
    typename P::template tile<along::depth, along::depth> t;
    tile_slice<P, along::depth> a, b;
    each_slice(
        static_cast<int>(ceil_div(d.p, tile_depth)),
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

/// dq = scale D k + its parts, or, OfKeys, dk = scale D^T q + its parts: blocks (number, group, tiles of N).
template <class P, bool OfKeys>
__global__ void __launch_bounds__(tile_threads, tile_blocks<typename P::number>)
    scan_keys_finish(scan_chunks chunks, index_t base, scan_heads d, index_t parts, typename P::number scale,
                     scan_rows<typename P::number const> keys, typename P::number const* triangles,
                     typename P::number const* sums, scan_rows<typename P::number> to) {
  using T = typename P::number;
  constexpr along way = OfKeys ? along::edge : along::depth;
  scan_place const at = chunks.place(base + blockIdx.x);
  index_t const group = blockIdx.y, step = gridDim.x * d.groups;
  int const column = static_cast<int>(blockIdx.z) * tile_edge;
  scan_memory<P> const m(shared_memory<T>());
  typename P::template tile<way, along::edge> t;
  constexpr int width = decltype(t)::width;
  tile_slice<P, way> a;
  tile_slice<P, along::edge> b;
  T const *const k = keys.at(at.batch, group, at.first) + column, *const triangle =
                                                                      triangles +
                                                                      (blockIdx.x * d.groups + group) *
                                                                          tile_size;
  each_slice(
      static_cast<int>(ceil_div(at.rows, tile_depth)),
      [&](int i) {
        int const l = i * tile_depth;
        b.load(k + l * keys.row, keys.row, at.rows - l, d.n - column, keys.packs);
        a.load(triangle + (OfKeys ? l * tile_edge : l), tile_edge, tile_edge, tile_edge, true);
        for (index_t part = 1; part < parts; ++part) {
          tile_slice<P, way> more;
          more.load(triangle + part * step * tile_size + (OfKeys ? l * tile_edge : l), tile_edge, tile_edge,
                    tile_edge, true);
          a.add(more);
        }
      },
      [&](int, int buffer) { a.store(m.left(buffer)), b.store(m.right(buffer)); },
      [&](int, int buffer) { t.add_product(m.left(buffer), m.right(buffer)); });
  T const* const from = sums + (blockIdx.x * d.groups + group) * tile_edge * d.n + column;
  t.for_each([&](int l, int n, T* numbers) {
    if (l >= at.rows) return;
    for (int u = 0; u < width; ++u) {
      if (column + n + u >= d.n) continue;
      numbers[u] *= scale;
      for (index_t part = 0; part < parts; ++part)
        numbers[u] += from[(part * step * tile_edge + l) * d.n + n + u];
    }
    store_numbers<width>(to.at(at.batch, group, at.first + l) + column + n, numbers, d.n - column - n,
                         to.packs);
  });
}

/// dlog_decay and dweight, from the sums by row, and whole <S, g>: blocks (number, head).
template <class T>
__global__ void __launch_bounds__(tile_threads)
    scan_rows_finish(scan_chunks chunks, index_t base, scan_heads d, scan_rows<T const> decay,
                     scan_states<T const> states, scan_states<T const> g, scan_row_sums<T> sums,
                     index_t n_tiles, index_t p_tiles, scan_rows<T> ddecay, scan_rows<T> dweight) {
  __shared__ T high[tile_edge], low[tile_edge], end[tile_edge], start[tile_edge], of_warp[tile_threads / 32];
  scan_place const at = chunks.place(base + blockIdx.x);
  index_t const h = blockIdx.y;
  int const thread = static_cast<int>(threadIdx.x);
  if (dweight.ptr != nullptr && thread < at.rows) {
    T sum = 0;
    for (index_t tile = 0; tile < p_tiles; ++tile) sum += sums.at(sums.weights, tile, blockIdx.x, h)[thread];
    *dweight.at(at.batch, h, at.first + thread) = sum;
  }
  if (decay.ptr == nullptr) return;
  decay_sums<T> const c{high, low};
  c.fill(decay.at(at.batch, h, at.first), decay.row, at.rows);
  if (thread < at.rows) {
    T ends = 0, starts = 0;
    for (index_t tile = 0; tile < p_tiles; ++tile) ends += sums.at(sums.ends, tile, blockIdx.x, h)[thread];
    for (index_t tile = 0; tile < n_tiles; ++tile)
      starts += sums.at(sums.starts, tile, blockIdx.x, h)[thread];
    end[thread] = ends, start[thread] = starts;
  }
  T const *const s = states.at(at.sequence, at.chunk, blockIdx.x, h), *const of = g.at(at.sequence, at.chunk,
                                                                                       blockIdx.x, h);
  T carry = 0;
  constexpr int size = 16 / static_cast<int>(sizeof(T));
  if (states.packs && g.packs) {
    int const across = d.p / size;
    for (int i = thread; i < d.n * across; i += tile_threads) {
      int const n = i / across, p = i % across * size;
      auto const a = *reinterpret_cast<pack<T, size> const*>(s + n * states.row + p),
                 b = *reinterpret_cast<pack<T, size> const*>(of + n * g.row + p);
      for (int u = 0; u < size; ++u) carry += a.of[u] * b.of[u];
    }
  } else {
    for (int i = thread; i < d.n * d.p; i += tile_threads)
      carry += s[i / d.p * states.row + i % d.p] * of[i / d.p * g.row + i % d.p];
  }
  for (int o = 16; o > 0; o /= 2) carry += __shfl_xor_sync(~0u, carry, o);
  if (thread % 32 == 0) of_warp[thread / 32] = carry;
  __syncthreads();
  if (thread >= at.rows) return;
  T sum = 0;
  for (int w = 0; w < tile_threads / 32; ++w) sum += of_warp[w];
  sum *= c.from_start(at.rows - 1);
  for (int i = 0; i < at.rows; ++i) sum += i < thread ? end[i] : start[i];
  *ddecay.at(at.batch, h, at.first + thread) = sum + sums.at(sums.triangle, 0, blockIdx.x, h)[thread];
}

/// dskip (sequences,H,P) = the sums over the chunks of each sequence, (numbers,H,P), in order; += where the
/// segment is not the first that is taken of a sequence: later chunks come first. Blocks: (entries,
/// sequences).
template <class T>
__global__ void scan_skip_finish(scan_chunks chunks, index_t first, index_t count, index_t sequence,
                                 index_t sequences, scan_heads d, T const* from, T* to, index_t to_sequence,
                                 index_t to_head) {
  index_t const size = d.heads * d.p;
  for (index_t entry = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; entry < size;
       entry += static_cast<index_t>(gridDim.x) * blockDim.x)
    for (index_t i = sequence + blockIdx.y; i < sequence + sequences; i += gridDim.y) {
      index_t const start = chunks.start(i), end = chunks.start(i + 1), low = start < first ? first : start,
                    high = end < first + count ? end : first + count;
      T sum = 0;
#pragma unroll 8
      for (index_t number = low; number < high; ++number) sum += from[(number - first) * size + entry];
      T& own = to[i * to_sequence + entry / d.p * to_head + entry % d.p];
      own = end <= first + count ? sum : own + sum;
    }
}

}  // namespace smx::cuda_kernels
