// SPDX-License-Identifier: Apache-2.0
/// \file  Kernels of the chunked scan (structured/chunk_scan.hpp), all chunks in parallel:
///
/// products of queries and keys, once for each group; U = (E w k)^T v of each chunk; the states before the
/// chunks from the U, chunk after chunk, each number of a state for itself; y = (decayed triangle) w v + F q
/// S
/// + skip v. The last is a product of depth rows + N for each tile of 64 rows. Sums of log-decays are made in
/// double again in each kernel, and kept as pairs. Where v is no number it counts for the rows that see it
/// only.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include <smx/backend/cuda/chunk_scan_places.cuh>
#include <smx/backend/cuda/launch.cuh>
#include <smx/backend/cuda/tile_product.cuh>

namespace smx::cuda_kernels {

/// Sums of log-decays from the first row of a chunk on, each as a sum of two numbers.
template <class T> struct decay_sums {
  T *high, *low;  // by row, in shared memory

  /// exp of the decays between rows, of the rows after `earlier` up to `later`.
  __device__ T between(int later, int earlier) const {
    T const d = (high[later] - high[earlier]) + (low[later] - low[earlier]);
    return std::exp(d > T(0) ? T(0) : d);
  }
  /// exp of the decays from before the chunk.
  __device__ T from_start(int row) const {
    T const d = high[row] + low[row];
    return std::exp(d > T(0) ? T(0) : d);
  }
  /// By the first warp; they can be read after a barrier. A sum depends on its own and earlier rows only.
  __device__ void fill(T const* decay, index_t step, int rows) const {
    constexpr int ahead = 4;
    int const lane = static_cast<int>(threadIdx.x);
    if (lane >= 32) return;
    double before = 0;
    for (int first = 0; first < rows; first += ahead * 32) {
      T one[ahead];
#pragma unroll
      for (int k = 0; k < ahead; ++k) {
        int const i = first + k * 32 + lane;
        one[k] = i < rows ? decay[i * step] : T(0);
      }
#pragma unroll
      for (int k = 0; k < ahead; ++k) {
        int const i = first + k * 32 + lane;
        double sum = static_cast<double>(one[k]);
        for (unsigned o = 1; o < 32; o *= 2) {
          double const left = __shfl_up_sync(~0u, sum, o);
          if (lane >= static_cast<int>(o)) sum += left;
        }
        sum += before;
        before = __shfl_sync(~0u, sum, 31);
        if (i >= rows) continue;
        T const rounded = static_cast<T>(sum);
        high[i] = rounded;
        low[i] =
            sum == static_cast<double>(rounded) ? T(0) : static_cast<T>(sum - static_cast<double>(rounded));
      }
    }
  }
};

/// What the kernels read; k and v of scan_chunk_states may be q and dy.
template <class T> struct scan_inputs {
  scan_rows<T const> q, k, v;
  scan_rows<T const> weight, decay;  // one number a row, or absent
  T const* skip;                     // or null
  index_t skip_head, skip_column;
  T scale;
};

/// Shared memory of a block: two slices of each operand, then numbers by row.
template <class P> struct scan_memory {
  using T = typename P::number;
  T *slices, *by_row;

  __device__ explicit scan_memory(T* z) : slices(z), by_row(z + 4 * slice_numbers<P>) {}
  __device__ T* left(int buffer) const { return slices + 2 * buffer * slice_numbers<P>; }
  __device__ T* right(int buffer) const { return left(buffer) + slice_numbers<P>; }
  static constexpr std::size_t bytes(index_t numbers_by_row) {
    return (4 * static_cast<std::size_t>(slice_numbers<P>) + static_cast<std::size_t>(numbers_by_row)) *
           sizeof(T);
  }
};

/// Slice after slice: load(s) into registers while the one before is used, store(s, buffer) into shared
/// memory, use(s, buffer). prepare(), while the first is loaded, by the whole block: makes what store and use
/// read.
template <class Prepare, class Load, class Store, class Use>
__device__ void each_slice(int count, Prepare const& prepare, Load const& load, Store const& store,
                           Use const& use) {
  if (count > 0) load(0);
  prepare();
  if (count > 0) store(0, 0);
  __syncthreads();
#pragma unroll 1
  for (int s = 0; s < count; ++s) {
    if (s + 1 < count) load(s + 1);
    use(s, s % 2);
    if (s + 1 < count) store(s + 1, (s + 1) % 2);
    __syncthreads();
  }
}
/// Where there is nothing to prepare.
struct prepared {
  __device__ void operator()() const {}
};

/// Tiles on and below the diagonal of a chunk, by rows.
SMX_HD constexpr int tile_pair(int row, int column) { return row * (row + 1) / 2 + column; }

inline constexpr int tile_size = tile_edge * tile_edge;

/// scale q k^T of the tiles of a chunk: to (numbers,G,pairs,64,64). Blocks: (number, pair, group).
template <class P>
__global__ void __launch_bounds__(tile_threads, tile_blocks<typename P::number>)
    scan_products(scan_chunks chunks, index_t base, scan_heads d, scan_inputs<typename P::number> x,
                  typename P::number* to) {
  using T = typename P::number;
  scan_place const at = chunks.place(base + blockIdx.x);
  int const pair = static_cast<int>(blockIdx.y);
  int i = 0;
  while (tile_pair(i + 1, 0) <= pair) ++i;
  int const row = i * tile_edge, column = (pair - tile_pair(i, 0)) * tile_edge;
  if (row >= at.rows) return;
  scan_memory<P> const m(shared_memory<T>());
  typename P::template tile<along::depth, along::depth> t;
  tile_slice<P, along::depth> a, b;
  T const *const q = x.q.at(at.batch, blockIdx.z, at.first + row), *const k = x.k.at(at.batch, blockIdx.z,
                                                                                     at.first + column);
  each_slice(
      static_cast<int>(ceil_div(d.n, tile_depth)), prepared{},
      [&](int s) {
        int const n = s * tile_depth;
        a.load(q + n, x.q.row, at.rows - row, d.n - n, x.q.packs);
        b.load(k + n, x.k.row, at.rows - column, d.n - n, x.k.packs);
      },
      [&](int, int buffer) { a.store(m.left(buffer)), b.store(m.right(buffer)); },
      [&](int, int buffer) { t.add_product(m.left(buffer), m.right(buffer)); });
  T* const own = to + ((blockIdx.x * d.groups + blockIdx.z) * gridDim.y + pair) * tile_size;
  constexpr int width = decltype(t)::width;
  t.for_each([&](int r, int c, T* numbers) {
    for (int v = 0; v < width; ++v) numbers[v] *= x.scale;
    store_numbers<width>(own + r * tile_edge + c, numbers, width, width > 1);
  });
}

/// Of each chunk: U = sum over rows of factor k^T v, (N,P), into its place among `states`; factor: the decay
/// to the chunk's end times weight, or, FromStart, the decay from its start times scale. whole
/// (numbers,H): the decay of the chunk. Unless `all`, chunks whose U nobody asks for are left out: the last
/// of a sequence, FromStart the first. Blocks: (number, head, tiles of N times tiles of P).
template <class P, bool FromStart>
__global__ void __launch_bounds__(tile_threads, tile_blocks<typename P::number>)
    scan_chunk_states(scan_chunks chunks, index_t base, scan_heads d, scan_inputs<typename P::number> x,
                      scan_states<typename P::number> states, typename P::number* whole, bool all) {
  using T = typename P::number;
  scan_place const at = chunks.place(base + blockIdx.x);
  if (!all && (FromStart ? at.chunk == 0 : at.last)) return;
  index_t const h = blockIdx.y;
  int const thread = static_cast<int>(threadIdx.x), column_tiles = static_cast<int>(ceil_div(d.p, tile_edge)),
            row = static_cast<int>(blockIdx.z) / column_tiles * tile_edge,
            column = static_cast<int>(blockIdx.z) % column_tiles * tile_edge;
  scan_memory<P> const m(shared_memory<T>());
  decay_sums<T> const c{m.by_row, m.by_row + chunks.chunk};
  T* const factor = m.by_row + 2 * chunks.chunk;
  bool const decays = x.decay.ptr != nullptr;
  typename P::template tile<along::edge, along::edge> t;
  tile_slice<P, along::edge> a, b;
  T const *const k = x.k.at(at.batch, d.group(h), at.first) + row, *const v =
                                                                       x.v.at(at.batch, h, at.first) + column;
  each_slice(
      static_cast<int>(ceil_div(at.rows, tile_depth)),
      [&] {
        if (decays) {
          c.fill(x.decay.at(at.batch, h, at.first), x.decay.row, at.rows);
          __syncthreads();
          if (blockIdx.z == 0 && thread == 0) whole[blockIdx.x * d.heads + h] = c.from_start(at.rows - 1);
        }
        for (int i = thread; i < at.rows; i += tile_threads) {
          T f = FromStart ? x.scale : T(1);
          if (decays) f *= FromStart ? c.from_start(i) : c.between(at.rows - 1, i);
          if (!FromStart && x.weight.ptr != nullptr) f *= *x.weight.at(at.batch, h, at.first + i);
          factor[i] = f;
        }
        __syncthreads();
      },
      [&](int s) {
        int const l = s * tile_depth;
        a.load(k + l * x.k.row, x.k.row, at.rows - l, d.n - row, x.k.packs);
        b.load(v + l * x.v.row, x.v.row, at.rows - l, d.p - column, x.v.packs);
      },
      [&](int s, int buffer) {
        a.transform([&](T entry, int l, int) {
          return s * tile_depth + l < at.rows ? entry * factor[s * tile_depth + l] : T(0);
        });
        a.store(m.left(buffer)), b.store(m.right(buffer));
      },
      [&](int, int buffer) { t.add_product(m.left(buffer), m.right(buffer)); });
  T* const to = states.at(at.sequence, at.chunk, blockIdx.x, h);
  constexpr int width = decltype(t)::width;
  t.for_each([&](int r, int j, T* numbers) {
    if (row + r < d.n)
      store_numbers<width>(to + (row + r) * states.row + column + j, numbers, d.p - column - j, states.packs);
  });
}

/// A state before the first chunk and one after the last, of each sequence; null: 0, or not asked for.
template <class T> struct scan_ends {
  T const* from;
  index_t from_sequence, from_head, from_row;
  T* to;
  index_t to_sequence, to_head, to_row;
};

/// Hands S over, (H,N,P), where a sequence goes on in another range of chunks. Two arrays: in one launch one
/// sequence may come out of the range before, and another go on in the next.
template <class T> struct scan_carry {
  T const* in;
  T* out;
};

/// S before each chunk of numbers first .. first + count - 1, in the place of its U: S = whole S + U, chunk
/// after chunk; Backward: from the last chunk to the first. Bound by memory: 16 chunks are on their way at
/// once. Blocks: (numbers of a state, sequences from `sequence` on).
template <class T, bool Backward>
__global__ void __launch_bounds__(256, 3)
    scan_pass_states(scan_chunks chunks, index_t first, index_t count, index_t sequence, index_t sequences,
                     scan_heads d, scan_states<T> states, T const* whole, scan_ends<T> ends,
                     scan_carry<T> carry, bool all) {
  constexpr int ahead = 16;
  index_t const size = d.heads * d.n * d.p, step = (Backward ? -1 : 1) * (states.chunk + states.number),
                next = Backward ? -d.heads : d.heads;
  for (index_t entry = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; entry < size;
       entry += static_cast<index_t>(gridDim.x) * blockDim.x) {
    index_t const p = entry % d.p, n = entry / d.p % d.n, h = entry / d.p / d.n;
    for (index_t i = sequence + blockIdx.y; i < sequence + sequences; i += gridDim.y) {
      index_t const start = chunks.start(i), end = chunks.start(i + 1), low = start < first ? first : start,
                    high = end < first + count ? end : first + count, begin = Backward ? high - 1 : low;
      bool const begins = Backward ? end <= first + count : start >= first,
                 finishes = Backward ? start >= first : end <= first + count;
      T s = 0;
      if (!begins)
        s = carry.in[entry];
      else if (ends.from != nullptr)
        s = ends.from[i * ends.from_sequence + h * ends.from_head + n * ends.from_row + p];
      // the U that ends a sequence is there only where it is asked for
      index_t const unread = all || !finishes ? 0 : 1;
      T* own = states.at(i, begin - start, begin - first, h) + n * states.row + p;
      T const* decay = whole == nullptr ? nullptr : whole + (begin - first) * d.heads + h;
      for (index_t left = high - low; left > 0; left -= ahead) {
        T u[ahead], w[ahead];
#pragma unroll
        for (int k = 0; k < ahead; ++k) {
          bool const there = k + unread < left;
          u[k] = there ? own[k * step] : T(0);
          w[k] = there && decay != nullptr ? decay[k * next] : T(1);
        }
#pragma unroll
        for (int k = 0; k < ahead; ++k) {
          if (k >= left) break;
          own[k * step] = s;
          s = w[k] * s + u[k];
        }
        own += ahead * step;
        if (decay != nullptr) decay += ahead * next;
      }
      if (!finishes)
        carry.out[entry] = s;
      else if (ends.to != nullptr)
        ends.to[i * ends.to_sequence + h * ends.to_head + n * ends.to_row + p] = s;
    }
  }
}

/// y of a tile of 64 rows of a chunk. products: as scan_products wrote them. Blocks: (number, head, tiles of
/// rows times tiles of P).
template <class P>
__global__ void __launch_bounds__(tile_threads, tile_blocks<typename P::number>)
    scan_outputs(scan_chunks chunks, index_t base, scan_heads d, scan_inputs<typename P::number> x,
                 scan_states<typename P::number const> states, bool initial,
                 typename P::number const* products, index_t pairs, scan_rows<typename P::number> y) {
  using T = typename P::number;
  scan_place const at = chunks.place(base + blockIdx.x);
  index_t const h = blockIdx.y, g = d.group(h);
  int const thread = static_cast<int>(threadIdx.x), column_tiles = static_cast<int>(ceil_div(d.p, tile_edge)),
            tile_row = static_cast<int>(blockIdx.z) / column_tiles, row = tile_row * tile_edge,
            column = static_cast<int>(blockIdx.z) % column_tiles * tile_edge;
  if (row >= at.rows) return;
  int const rows = at.rows < row + tile_edge ? at.rows : row + tile_edge;  // that this tile sees
  scan_memory<P> const m(shared_memory<T>());
  decay_sums<T> const c{m.by_row, m.by_row + chunks.chunk};
  T* const weight = m.by_row + 2 * chunks.chunk;
  bool const decays = x.decay.ptr != nullptr, weighted = x.weight.ptr != nullptr;
  typename P::template tile<along::depth, along::edge> t;
  tile_slice<P, along::depth> a;
  tile_slice<P, along::edge> b;
  T const *const q = x.q.at(at.batch, g, at.first + row), *const v = x.v.at(at.batch, h, at.first) + column,
                 *const s0 = states.at(at.sequence, at.chunk, blockIdx.x, h) + column,
                 *const triangle =
                     products + ((blockIdx.x * d.groups + g) * pairs + tile_pair(tile_row, 0)) * tile_size;
  int const before = initial || at.chunk > 0 ? static_cast<int>(ceil_div(d.n, tile_depth)) : 0,
            own = static_cast<int>(ceil_div(rows, tile_depth));
  constexpr int width = decltype(t)::width;
  auto const decayed = [&](T product, int l, int s) {
    if (s > l || l >= rows) return T(0);
    return decays ? product * c.between(l, s) : product;
  };
  bool no_number = false;
  each_slice(
      before + own,
      [&] {
        if (weighted)
          for (int i = thread; i < rows; i += tile_threads)
            weight[i] = *x.weight.at(at.batch, h, at.first + i);
        if (decays) c.fill(x.decay.at(at.batch, h, at.first), x.decay.row, rows);
        __syncthreads();
      },
      [&](int s) {
        if (s < before) {
          int const n = s * tile_depth;
          a.load(q + n, x.q.row, at.rows - row, d.n - n, x.q.packs);
          b.load(s0 + n * states.row, states.row, d.n - n, d.p - column, states.packs);
        } else {
          int const l = (s - before) * tile_depth;
          a.load(triangle + l / tile_edge * tile_size + l % tile_edge, tile_edge, tile_edge, tile_depth,
                 true);
          b.load(v + l * x.v.row, x.v.row, rows - l, d.p - column, x.v.packs);
        }
      },
      [&](int s, int buffer) {
        if (s >= before) {
          int const first = (s - before) * tile_depth;
          a.transform([&](T product, int r, int k) {
            T const entry = decayed(product, row + r, first + k);
            return weighted && entry != T(0) ? entry * weight[first + k] : entry;
          });
          no_number |= b.clear_infinite();
        }
        a.store(m.left(buffer)), b.store(m.right(buffer));
      },
      [&](int s, int buffer) {
        if (s == before && before > 0)
          t.for_each([&](int r, int, T* numbers) {
            T const f = decays && row + r < rows ? x.scale * c.from_start(row + r) : x.scale;
            for (int j = 0; j < width; ++j) numbers[j] *= f;
          });
        t.add_product(m.left(buffer), m.right(buffer));
      });
  if (__syncthreads_or(no_number ? 1 : 0) != 0)
    t.for_each([&](int r, int j, T* numbers) {
      for (int u = 0; u < width; ++u)
        for (int s = 0; s <= row + r && s < rows && column + j + u < d.p; ++s) {
          T const value = v[s * x.v.row + j + u];
          if (P::finite_operand(value)) continue;
          T const entry =
              decayed(triangle[s / tile_edge * tile_size + r * tile_edge + s % tile_edge], row + r, s);
          if (entry != T(0)) numbers[u] += entry * (weighted ? weight[s] * value : value);
        }
    });
  T const* const skip = x.skip == nullptr ? nullptr : x.skip + h * x.skip_head + column * x.skip_column;
  t.for_each([&](int r, int j, T* numbers) {
    int const l = row + r, left = d.p - column - j;
    if (l >= rows) return;
    if (skip != nullptr) {
      auto const values = load_numbers<width>(v + l * x.v.row + j, left, x.v.packs);
#pragma unroll
      for (int u = 0; u < width; ++u)
        if (u < left) numbers[u] += __ldg(skip + (j + u) * x.skip_column) * values.of[u];
    }
    store_numbers<width>(y.at(at.batch, h, at.first + l) + column + j, numbers, left, y.packs);
  });
}

}  // namespace smx::cuda_kernels
