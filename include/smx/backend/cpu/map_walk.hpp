// SPDX-License-Identifier: Apache-2.0
/// \file  How map goes through its arrays: the output is walked in the order of its memory, axes that lie
/// contiguously in every array are fused, and operands that lie across the output (transposed) are read in
/// blocks, so that each of their cache lines is fetched once.
///
/// The walk knows neither the types nor the function: those are behind a pointer that is called once for many
/// rows. A model has a hundred functions to map, and this compiles once for all of them.
#pragma once

#include <algorithm>

#include <smx/backend/axes.hpp>
#include <smx/backend/cpu/transpose.hpp>
#include <smx/core/view.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Rows of an array: where the first one starts, its step in entries, and the way to the next one in bytes.
struct map_run {
  void* ptr;
  index_t step, next;
  void* row(index_t i) const { return static_cast<char*>(ptr) + i * next; }
};
/// y := f(x...) over rows of n entries; runs[0] is y's.
using map_rows_function = void (*)(void const* f, index_t rows, index_t n, map_run const* runs);
/// to (columns x rows) := from (rows x columns) transposed, leading dimensions in entries.
using map_turn_function = void (*)(index_t rows, index_t columns, void const* from, index_t ld_from, void* to,
                                   index_t ld_to);

template <class T>
void turn_entries(index_t rows, index_t columns, void const* from, index_t ld_from, void* to, index_t ld_to) {
  transpose<T>(rows, columns, static_cast<T const*>(from), ld_from, static_cast<T*>(to), ld_to);
}

/// Rows and columns of a block: 8 KB of floats.
inline constexpr index_t map_block_rows = 32, map_block_columns = 64;

/// One map: array 0 is the output, the others are the operands. Strides are in entries.
struct map_walk {
  static constexpr int max_axes = 6, max_arrays = 8;

  void const* function;
  map_rows_function row_by_row;
  bool copies;  // y := x of the same type
  int arrays = 0, axes = 0, across = -1;
  extents<max_axes> ext = {};
  char* ptr[max_arrays];
  index_t bytes[max_arrays];           // of an entry
  map_turn_function turn[max_arrays];  // null for types that transpose() does not take
  extents<max_axes> str[max_arrays] = {};

  map_walk(void const* f, map_rows_function r, bool c) : function(f), row_by_row(r), copies(c) {}

  template <class T, int R, class S> void add(view<T, R, S> const& v) {
    static_assert(R <= max_axes);
    using entry = typename view<T, R, S>::value_type;
    ptr[arrays] = reinterpret_cast<char*>(const_cast<entry*>(v.ptr));
    bytes[arrays] = static_cast<index_t>(sizeof(entry));
    if constexpr (Compute<entry>)
      turn[arrays] = turn_entries<entry>;
    else
      turn[arrays] = nullptr;
    for (int r = 0; r < R; ++r) str[arrays][r] = v.str[r];
    if (arrays++ == 0) {
      axes = R;
      for (int r = 0; r < R; ++r) ext[r] = v.ext[r];
    }
  }

  /// After the last add(): as few axes as possible, and the one to cut into blocks.
  void plan() {
    index_t* strides[max_arrays];
    for (int v = 0; v < arrays; ++v) strides[v] = &str[v][0];
    axes = smx::detail::simplify_axes(axes, &ext[0], strides, arrays);
    if (axes == 0) axes = 1, ext[0] = 1;
    if (axes < 2 || ext[axes - 1] < 4) return;
    for (int v = 1; v < arrays && across < 0; ++v) {
      index_t const along = str[v][axes - 1];
      for (int r = 0; r + 1 < axes && across < 0 && along != 0 && along != 1; ++r)
        if (str[v][r] == 1 && ext[r] >= 4) across = r;  // contiguous along an axis that is not the row
    }
  }

  /// The last axis is the row; the others number rows.
  index_t row_size() const { return ext[axes - 1]; }
  index_t rows() const {
    index_t n = 1;
    for (int r = 0; r + 1 < axes; ++r) n *= ext[r];
    return n;
  }
  /// Of `across`, in cuts of map_block_rows; the row stays whole.
  index_t blocks() const { return rows() / ext[across] * cuts(); }

  /// Entries [first, first + n) of a map that is one row.
  void run_part(index_t first, index_t n) const {
    map_run runs[max_arrays];
    for (int v = 0; v < arrays; ++v)
      runs[v] = {ptr[v] + first * str[v][axes - 1] * bytes[v], str[v][axes - 1], 0};
    row_by_row(function, 1, n, runs);
  }

  void run_rows(index_t first, index_t last) const {
    int const q = axes - 1, next = std::max(q - 1, 0);
    index_t const together = q == 0 ? 1 : ext[next];
    while (first < last) {
      extents<max_axes> at = {};
      place(first, -1, at);
      map_run runs[max_arrays];
      start(at, next, runs);
      index_t const rows = std::min(last - first, together - (q == 0 ? 0 : at[next]));
      row_by_row(function, rows, ext[q], runs);
      first += rows;
    }
  }

  /// Blocks are numbered by the other axes, then by the cut.
  void run_blocks(index_t first, index_t last) const {
    int const q = axes - 1;
    for (index_t block = first; block < last; ++block) {
      extents<max_axes> at = {};
      at[across] = block % cuts() * map_block_rows;
      place(block / cuts(), across, at);
      index_t const high = std::min(map_block_rows, ext[across] - at[across]);
      map_run runs[max_arrays];
      start(at, across, runs);
      if (copies && turn[0] != nullptr && str[0][q] == 1)  // a plain transposition: through registers
        turn[0](ext[q], high, runs[1].ptr, str[1][q], runs[0].ptr, str[0][across]);
      else
        run_block(high, runs);
    }
  }

 private:
  index_t cuts() const { return (ext[across] + map_block_rows - 1) / map_block_rows; }

  /// The index of row n, counted over all axes but the last one and `without`.
  void place(index_t n, int without, extents<max_axes>& at) const {
    for (int r = axes - 2; r >= 0; --r) {
      if (r == without) continue;
      at[r] = n % ext[r];
      n /= ext[r];
    }
  }
  void start(extents<max_axes> const& at, int next, map_run* runs) const {
    for (int v = 0; v < arrays; ++v) {
      index_t offset = 0;
      for (int r = 0; r + 1 < axes; ++r) offset += at[r] * str[v][r];
      runs[v] = {ptr[v] + offset * bytes[v], str[v][axes - 1], str[v][next] * bytes[v]};
    }
  }

  /// An operand that lies across is copied, transposed, 64 columns at a time. (Read in place, its lines would
  /// often fall into few sets of the cache and be fetched again for every row.)
  void run_block(index_t high, map_run const* begin) const {
    alignas(64) char copy[max_arrays - 1][map_block_rows * map_block_columns * sizeof(double)];
    int const q = axes - 1;
    for (index_t j = 0; j < ext[q]; j += map_block_columns) {
      index_t const wide = std::min(map_block_columns, ext[q] - j);
      map_run runs[max_arrays];
      for (int v = 0; v < arrays; ++v) {
        index_t const step = str[v][q];
        runs[v] = begin[v];
        runs[v].ptr = static_cast<char*>(begin[v].ptr) + j * step * bytes[v];
        if (v == 0 || turn[v] == nullptr || str[v][across] != 1 || step == 0 || step == 1) continue;
        turn[v](wide, high, runs[v].ptr, step, copy[v - 1], map_block_columns);
        runs[v] = {copy[v - 1], 1, map_block_columns * bytes[v]};
      }
      row_by_row(function, high, wide, runs);
    }
  }
};

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
