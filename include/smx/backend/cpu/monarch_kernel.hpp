// SPDX-License-Identifier: Apache-2.0
/// \file  Order-2 Monarch product along the rows of a row-major matrix, y = M x, both stages fused over
/// panels of columns.
///
/// Digits are row-major, stage 1 contracts the low one:
///   u[k,q]      = sum_p w1[k,q,p] x[k*P + p]          k < K, q < Q, p < P
///   y[s*Lo + l] = sum_r w2[l,s,r] u[r*Lo + l]         l < Lo, s < S, r < R; u read by its flat index k*Q +
///   q; R*Lo = K*Q
/// at 2 (K Q P + Lo S R) flops a column. The usual case is Lo = Q, R = K. Rows of x from `in_length` on count
/// as zero and are not read, rows of y from `out_length` on are not written.
///
/// Both stages are products of a small matrix (a weight block) with a wide one and run on one panel of
/// columns before the next: u of a panel (786 KB at L = 4096, 48 floats) stays in L2 and never travels to
/// memory. Stage 1 writes u in the order in which stage 2 reads it, [l][panel][r][column], so that each
/// operand of stage 2 is one run of memory; in the natural order its rows are Q rows apart, often a multiple
/// of 4 KB, and evict each other from L1. The l planes are a line longer than needed for the same reason. A
/// row of x is visited in pieces of 192 bytes, which no hardware prefetcher follows: every register tile asks
/// for as many rows of the next panel as it has. Outputs larger than the caches are stored past them.
///
/// The bits of a column do not depend on which columns are computed with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <smx/backend/cpu/tile.hpp>
#include <smx/core/extents.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Sizes of an order-2 Monarch matrix (out_length x in_length): w1 is (k,q,p), w2 is (l,s,r), both
/// contiguous, r*l = k*q.
struct monarch_sizes {
  index_t k, q, p, l, s, r;
  index_t in_length;   ///< <= k*p
  index_t out_length;  ///< <= s*l

  constexpr index_t middle() const { return k * q; }
  constexpr index_t parameters() const { return k * q * p + l * s * r; }
};

namespace detail {

/// Rows of a matrix taken in `count` blocks of `size`: row j of block i is row i*block + j*step, if below
/// `length`.
struct row_blocks {
  index_t count, size, block, step, length;

  constexpr index_t rows(index_t i) const {
    return std::clamp((length - i * block + step - 1) / step, index_t(0), size);
  }
};

constexpr row_blocks monarch_in(monarch_sizes const& z) { return {z.k, z.p, z.p, 1, z.in_length}; }
constexpr row_blocks monarch_out(monarch_sizes const& z) { return {z.l, z.s, 1, z.l, z.out_length}; }
constexpr row_blocks monarch_middle_low(monarch_sizes const& z) { return {z.k, z.q, z.q, 1, z.middle()}; }
constexpr row_blocks monarch_middle_high(monarch_sizes const& z) { return {z.l, z.r, 1, z.l, z.middle()}; }

/// The middle factor u of a tile of columns in scratch: row j of block i of the writing stage lies at
/// i*write_block + j*write_row, of the reading stage at i*read_block + j*read_row; panels are `panel` apart.
struct monarch_order {
  index_t write_block, write_row, read_block, read_row, panel, size;
};

template <class T>
constexpr monarch_order order_middle(row_blocks const& written, row_blocks const& read, index_t panels) {
  constexpr index_t wide = panel_columns<T>;
  if (written.size == read.count && written.count == read.size) {  // row j of block i is row i of block j
    index_t const plane = panels * read.size * wide + 64 / static_cast<index_t>(sizeof(T));
    return {wide, plane, plane, wide, read.size * wide, read.count * plane};
  }
  return {written.block * wide, written.step * wide,   read.block * wide,
          read.step * wide,     written.length * wide, panels * written.length * wide};
}

/// Panels in a tile of columns. One while u of a panel fits L2; beyond, eight: the weights (16.8 MB at L =
/// 16384) pass once per tile and u is out of L2 anyway.
template <class T> constexpr index_t panels_at_once(index_t middle) {
  return middle * 192 <= (index_t(1) << 20) ? 1 : 8;
}

template <class T> struct monarch_operands {
  T const* w;  ///< one block of weights
  index_t ldw;
  T const* b;
  index_t ldb;
  T* c;
  index_t ldc;
  T* record;  ///< a second copy of C; or null
  index_t ldrecord;
  T const* next;  ///< what to ask for: as many rows as C has; or null
  index_t ldnext;
  bool past, record_past;  ///< C, its copy go past the caches
};

/// C (m,n) = op(W) B.
template <class T, layout How> void monarch_product(index_t m, index_t n, index_t k, monarch_operands<T> o) {
  constexpr int line = 64 / static_cast<int>(sizeof(T));
  cover<T>(0, m, n, [o, k](auto& t, index_t i, index_t j) {
    using shape = std::remove_reference_t<decltype(t)>;
    if (o.next != nullptr) {
      SMX_UNROLL for (int a = 0; a < shape::height; ++a) {
        SMX_UNROLL for (int b = 0; b < shape::width; b += line)
            __builtin_prefetch(o.next + (i + a) * o.ldnext + j + b, 0, 2);
      }
    }
    t.zero();
    t.template mac<How>(k, How == layout::rows ? o.w + i * o.ldw : o.w + i, o.ldw, o.b + j, o.ldb);
    T* const c = o.c + i * o.ldc + j;
    if (o.past)
      t.store_past(c, o.ldc);
    else
      t.store(c, o.ldc);
    if (o.record == nullptr) return;
    if (o.record_past)
      t.store_past(o.record + i * o.ldrecord + j, o.ldrecord);
    else
      t.store(o.record + i * o.ldrecord + j, o.ldrecord);
  });
}

template <class T> struct monarch_side {
  row_blocks rows;
  T* data;
  index_t ld;
  T const* weights;  ///< of the stage next to this side, one block after the other
  index_t block_size, ldw;
};

/// Whether a matrix can be stored past the caches, and is large enough (2 MB) to be worth it.
template <class T> bool store_beyond(T const* p, index_t ld, index_t rows) {
  return ld % lanes<T> == 0 && reinterpret_cast<std::uintptr_t>(p) % vector_bytes == 0 &&
         rows * ld * static_cast<index_t>(sizeof(T)) >= (index_t(1) << 21);
}

/// Columns d0..d1 of to = op(W_to) reorder(op(W_from) from); `record` gets the middle factor, row-major, or
/// is null;
/// past: `to` goes past the caches.
template <class T, layout How>
void monarch_stages(index_t d0, index_t d1, monarch_side<T const> const& from, row_blocks const& written,
                    T* record, index_t ldrecord, row_blocks const& read, monarch_side<T> const& to, bool past,
                    T* scratch) {
  constexpr index_t wide = panel_columns<T>;
  index_t const tile_columns = panels_at_once<T>(written.length) * wide;
  bool const record_past = record != nullptr && store_beyond(record + d0, ldrecord, written.length);
  for (index_t d = d0; d < d1; d += tile_columns) {
    index_t const columns = std::min(tile_columns, d1 - d), panels = (columns + wide - 1) / wide;
    monarch_order const u = order_middle<T>(written, read, panels);
    for (index_t i = 0; i < from.rows.count; ++i) {
      T const* const block = from.data + i * from.rows.block * from.ld + d;
      for (index_t q = 0; q < panels; ++q) {
        T const* next = nullptr;
        if (q + 1 < panels)
          next = block + (q + 1) * wide;
        else if (i + 1 < from.rows.count)
          next = block + from.rows.block * from.ld;
        T* const row = record != nullptr ? record + i * written.block * ldrecord + d + q * wide : nullptr;
        monarch_product<T, How>(
            written.size, std::min(wide, columns - q * wide), from.rows.rows(i),
            {from.weights + i * from.block_size, from.ldw, block + q * wide, from.rows.step * from.ld,
             scratch + i * u.write_block + q * u.panel, u.write_row, row, written.step * ldrecord, next,
             from.rows.step * from.ld, false, record_past});
      }
    }
    for (index_t j = 0; j < to.rows.count; ++j)
      for (index_t q = 0; q < panels; ++q)
        monarch_product<T, How>(
            to.rows.rows(j), std::min(wide, columns - q * wide), read.size,
            {to.weights + j * to.block_size, to.ldw, scratch + j * u.read_block + q * u.panel, u.read_row,
             to.data + j * to.rows.block * to.ld + d + q * wide, to.rows.step * to.ld, nullptr, 0, nullptr, 0,
             past, false});
  }
  settle_stores();
}

}  // namespace detail

/// Elements of T that monarch_forward() and monarch_backward_input() need as scratch, aligned to a cache
/// line.
template <class T> constexpr index_t monarch_scratch(monarch_sizes const& z) {
  index_t const panels = detail::panels_at_once<T>(z.middle());
  return std::max(
      detail::order_middle<T>(detail::monarch_middle_low(z), detail::monarch_middle_high(z), panels).size,
      detail::order_middle<T>(detail::monarch_middle_high(z), detail::monarch_middle_low(z), panels).size);
}

/// Columns that run through both stages together. Whole multiples are the best ranges for threads.
template <class T> constexpr index_t monarch_tile_columns(monarch_sizes const& z) {
  return detail::panels_at_once<T>(z.middle()) * panel_columns<T>;
}

/// Columns d0..d1 of y = M x. x is (in_length, D), y is (out_length, D), channels contiguous. tape, if not
/// null, receives u (k*q, D). Threads may take disjoint ranges of columns.
template <class T>
void monarch_forward(monarch_sizes const& z, index_t d0, index_t d1, T const* w1, T const* w2, T const* x,
                     index_t ldx, T* y, index_t ldy, T* tape, index_t ldtape, T* scratch) {
  detail::monarch_stages<T, layout::rows>(
      d0, d1, {detail::monarch_in(z), x, ldx, w1, z.q * z.p, z.p}, detail::monarch_middle_low(z), tape,
      ldtape, detail::monarch_middle_high(z), {detail::monarch_out(z), y, ldy, w2, z.s * z.r, z.r},
      detail::store_beyond(y + d0, ldy, z.out_length), scratch);
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
