// SPDX-License-Identifier: Apache-2.0
/// \file  The last kernels of the adjoint of the chunked scan, which add up what those of
///        chunk_scan_backward_kernel.cuh left in parts: over parts of the heads of a group, tiles of columns,
///        and the chunks of a sequence, each in order.
#pragma once

#include <cuda_runtime.h>

#include <smx/backend/cuda/chunk_scan_backward_kernel.cuh>

namespace smx::cuda_kernels {

/// dq = scale D k + its parts, or, OfKeys, dk = scale D^T q + its parts: blocks (number, group, tiles of N).
/// A term whose factor of D is 0 is left out, whatever it is multiplied by.
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
  bool no_number = false;
  each_slice(
      static_cast<int>(ceil_div(at.rows, tile_depth)), prepared{},
      [&](int i) {
        int const l = i * tile_depth;
        b.load(k + l * keys.row, keys.row, at.rows - l, d.n - column, keys.packs);
        a.load(triangle + (OfKeys ? l * tile_edge : l), tile_edge, tile_edge, tile_edge, true);
#pragma unroll 1
        for (index_t part = 1; part < parts; ++part) {
          tile_slice<P, way> more;
          more.load(triangle + part * step * tile_size + (OfKeys ? l * tile_edge : l), tile_edge, tile_edge,
                    tile_edge, true);
          a.add(more);
        }
      },
      [&](int, int buffer) {
        no_number |= b.clear_infinite();
        a.store(m.left(buffer)), b.store(m.right(buffer));
      },
      [&](int, int buffer) { t.add_product(m.left(buffer), m.right(buffer)); });
  if (__syncthreads_or(no_number ? 1 : 0) != 0)
    t.for_each([&](int r, int n, T* numbers) {
      int const first = OfKeys ? r : 0, last = OfKeys ? at.rows - 1 : r;
      for (int u = 0; u < width; ++u)
        for (int l = first; r < at.rows && l <= last && column + n + u < d.n; ++l) {
          T const entry = k[l * keys.row + n + u];
          if (P::finite_operand(entry)) continue;
          T factor = 0;
          for (index_t part = 0; part < parts; ++part)
            factor += triangle[part * step * tile_size + (OfKeys ? l * tile_edge + r : r * tile_edge + l)];
          if (factor != T(0)) numbers[u] += factor * entry;
        }
    });
  T const* const from = sums + (blockIdx.x * d.groups + group) * tile_edge * d.n + column;
  bool const packs = d.n % width == 0;
  t.for_each([&](int, int, T* numbers) {
#pragma unroll
    for (int u = 0; u < width; ++u) numbers[u] *= scale;
  });
#pragma unroll 1
  for (index_t part = 0; part < parts; ++part)
    t.for_each([&](int l, int n, T* numbers) {
      if (l >= at.rows) return;
      auto const more =
          load_numbers<width>(from + (part * step * tile_edge + l) * d.n + n, d.n - column - n, packs);
#pragma unroll
      for (int u = 0; u < width; ++u) numbers[u] += more.of[u];
    });
  t.for_each([&](int l, int n, T* numbers) {
    if (l < at.rows)
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
