// SPDX-License-Identifier: Apache-2.0
/// \file  Elementwise loops that compilers vectorise: the output is walked in the order of its memory, axes
/// that lie contiguously in every view are fused, and operands that lie across the output (transposed) are
/// read in blocks, so that each of their cache lines is fetched once.
#pragma once

#include <algorithm>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include <smx/backend/axes.hpp>
#include <smx/backend/cpu/activations.hpp>
#include <smx/backend/cpu/transpose.hpp>
#include <smx/core/functors.hpp>
#include <smx/core/view.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// y := f(x...) over one row of n entries; for what activations.hpp has, on vectors.
template <class F, class Y, class... X>
SMX_INLINE void map_row(F const& f, index_t n, Y* y, index_t sy, std::pair<X const*, index_t>... x) {
  if constexpr (OnVectors<F, Y, X...>) {
    map_vectors(f, n, y, sy, x...);
  } else if (sy == 1 && (... && (x.second == 1))) {
    if constexpr (std::is_same_v<F, identity> && (... && std::is_same_v<X, Y>)) {
      (std::memmove(y, x.first, static_cast<std::size_t>(n) * sizeof(Y)), ...);
      return;
    }
    for (index_t i = 0; i < n; ++i) y[i] = static_cast<Y>(f(x.first[i]...));
  } else if (sy == 1 && (... && (x.second == 1 || x.second == 0))) {
    auto const row = [&](auto... one) {  // broadcast operands become scalars
      for (index_t i = 0; i < n; ++i) y[i] = static_cast<Y>(f(x.first[one * i]...));
    };
    row(x.second...);
  } else {
    for (index_t i = 0; i < n; ++i) y[i * sy] = static_cast<Y>(f(x.first[i * x.second]...));
  }
}

/// Rows [first, last) of the array whose fused extents are ext[0..axes-1]; the last axis is the row.
template <int R, class F, class Y, class... X, class S>
void map_rows(F const& f, int axes, extents<R> const& ext, index_t first, index_t last,
              view<Y, R, S> const& y, view<X, R, S> const&... x) {
  index_t const n = axes == 0 ? 1 : ext[axes - 1];
  int const q = axes == 0 ? 0 : axes - 1;
  for (index_t row = first; row < last; ++row) {
    extents<R> at = {};
    index_t rest = row;
    for (int r = q - 1; r >= 0; --r) {
      at[r] = rest % ext[r];
      rest /= ext[r];
    }
    auto const start = [&](auto const& v) {
      index_t offset = 0;
      for (int r = 0; r < q; ++r) offset += at[r] * v.str[r];
      return v.ptr + offset;
    };
    map_row(f, n, start(y), axes == 0 ? 1 : y.str[q],
            std::pair<std::remove_const_t<X> const*, index_t>(start(x), axes == 0 ? 1 : x.str[q])...);
  }
}

/// Rows and columns of a block: 8 KB of floats.
inline constexpr index_t map_block_rows = 32, map_block_columns = 64;

/// A block of an operand by rows: its own memory, or a transposed copy where the operand lies across. (Read
/// in place, its lines would often fall into few sets of the cache and be fetched again for every row.)
template <class T> struct block_operand {
  T const* ptr;
  index_t row, column;
  T copy[Compute<T> ? map_block_rows * map_block_columns : 1];

  block_operand() {}  // leaves the copy uninitialised
  void read(T const* from, index_t along, index_t step, index_t rows, index_t columns) {
    ptr = from, row = along, column = step;
    if constexpr (Compute<T>) {
      if (along != 1 || step == 0 || step == 1) return;
      transpose<T>(columns, rows, from, step, copy, map_block_columns);
      ptr = copy, row = map_block_columns, column = 1;
    }
  }
};

/// The axis (not the last one) along which some operand that lies across the last axis is contiguous, or -1.
template <int R, class... X> int axis_across(int axes, extents<R> const& ext, X const&... x) {
  int across = -1;
  [[maybe_unused]] auto const look = [&](auto const& v) {
    index_t const along = v.str[axes - 1];
    for (int r = 0; r + 1 < axes && across < 0 && along != 0 && along != 1; ++r)
      if (v.str[r] == 1 && ext[r] >= 4) across = r;
  };
  if (axes >= 2 && ext[axes - 1] >= 4) (look(x), ...);
  return across;
}

/// As map_rows, over blocks [first, last): axis `across` is cut into map_block_rows, the last axis stays
/// whole. Blocks are numbered by the other axes, then by the cut.
template <int R, class F, class Y, class... X, class S>
void map_blocks(F const& f, int axes, int across, extents<R> const& ext, index_t first, index_t last,
                view<Y, R, S> const& y, view<X, R, S> const&... x) {
  int const q = axes - 1;
  index_t const n = ext[q], cuts = (ext[across] + map_block_rows - 1) / map_block_rows;
  for (index_t block = first; block < last; ++block) {
    extents<R> at = {};
    at[across] = block % cuts * map_block_rows;
    index_t rest = block / cuts;
    for (int r = q - 1; r >= 0; --r) {
      if (r == across) continue;
      at[r] = rest % ext[r];
      rest /= ext[r];
    }
    auto const start = [&](auto const& v) {
      index_t offset = 0;
      for (int r = 0; r < q; ++r) offset += at[r] * v.str[r];
      return v.ptr + offset;
    };
    index_t const rows = std::min(map_block_rows, ext[across] - at[across]);
    if constexpr (std::is_same_v<F, identity> && Compute<Y> && (... && std::is_same_v<X const, Y const>)) {
      if (y.str[q] == 1) {  // a plain transposition: through registers
        (transpose<Y>(n, rows, start(x), x.str[q], start(y), y.str[across]), ...);
        continue;
      }
    }
    std::tuple<block_operand<std::remove_const_t<X>>...> blocks;
    for (index_t j = 0; j < n; j += map_block_columns) {
      index_t const columns = std::min(map_block_columns, n - j);
      std::apply(
          [&](auto&... operand) {
            (operand.read(start(x) + j * x.str[q], x.str[across], x.str[q], rows, columns), ...);
            for (index_t i = 0; i < rows; ++i)
              map_row(f, columns, start(y) + i * y.str[across] + j * y.str[q], y.str[q],
                      std::pair(operand.ptr + i * operand.row, operand.column)...);
          },
          blocks);
    }
  }
}

/// y(i...) := f(i), row by row.
template <class F, class T, int R, class S>
void generate_rows(F const& f, index_t first, view<T, R, S> const& y) {
  extents<R> i = {};
  index_t rows = 1;
  for (int r = 0; r + 1 < R; ++r) rows *= y.ext[r];
  for (index_t row = 0; row < rows; ++row) {
    index_t offset = 0, rest = row;
    for (int r = R - 2; r >= 0; --r) {
      i[r] = rest % y.ext[r];
      rest /= y.ext[r];
      offset += i[r] * y.str[r];
    }
    extents<R> at = i;
    at[0] += first;
    index_t const origin = at[R - 1];
    for (index_t j = 0; j < y.ext[R - 1]; ++j) {
      at[R - 1] = origin + j;
      y.ptr[offset + j * y.str[R - 1]] = static_cast<T>(f(static_cast<extents<R> const&>(at)));
    }
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
