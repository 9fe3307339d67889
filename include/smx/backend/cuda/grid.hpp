// SPDX-License-Identifier: Apache-2.0
/// \file  Index arithmetic of the kernels, callable on the host as well, where tests cover it: which thread
/// has which entry, how many blocks there are, whether batched matrices lie at one stride.
#pragma once

#include <cstdint>

#include <smx/core/view.hpp>

namespace smx::cuda_kernels {

/// The most blocks along x of a launch that walks its work in strides of the grid: enough to fill any device
/// many times.
inline constexpr index_t most_blocks = index_t{1} << 16;

SMX_HD constexpr index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }
SMX_HD constexpr index_t at_most(index_t n, index_t most) { return n < most ? n : most; }

/// Blocks for `items` at `per_block`, at least one.
constexpr unsigned blocks_for(index_t items, index_t per_block) {
  index_t const n = ceil_div(items, per_block);
  return static_cast<unsigned>(n < 1 ? 1 : n < most_blocks ? n : most_blocks);
}

/// The offset of row `row` of a view whose axes 0 .. axes - 2 number its rows, the last one fastest.
template <int R>
SMX_HD constexpr void row_offsets(int axes, extents<R> const& ext, index_t row, extents<R> const* strides,
                                  index_t* offsets, int views) {
  for (int v = 0; v < views; ++v) offsets[v] = 0;
  // divisions of 64 bits cost several times those of 32, and few arrays have 2^32 rows
  if (row < (index_t{1} << 32) - 1) {
    auto rest = static_cast<std::uint32_t>(row);
    for (int r = axes - 2; r >= 0; --r) {
      auto const n =
          static_cast<std::uint32_t>(ext[r] < (index_t{1} << 32) - 1 ? ext[r] : (index_t{1} << 32) - 1);
      std::uint32_t const at = r == 0 ? rest : rest % n;
      rest = r == 0 ? 0 : rest / n;
      for (int v = 0; v < views; ++v) offsets[v] += static_cast<index_t>(at) * strides[v][r];
    }
    return;
  }
  for (int r = axes - 2; r >= 0; --r) {
    index_t const at = r == 0 ? row : row % ext[r];
    row = r == 0 ? 0 : row / ext[r];
    for (int v = 0; v < views; ++v) offsets[v] += at * strides[v][r];
  }
}

/// The three outer indices of row `row` of (e0,e1,e2,*).
SMX_HD constexpr extents<3> row_index(extents<4> const& e, index_t row) {
  index_t const i = row % e[2], rest = row / e[2];
  return {rest / e[1], rest % e[1], i};
}

/// The index of entry `n` of an array of these extents.
template <int R> SMX_HD constexpr extents<R> index_of(extents<R> const& e, index_t n) {
  extents<R> i = {};
  for (int r = R - 1; r > 0; --r) {
    i[r] = n % e[r];
    n /= e[r];
  }
  i[0] = n;
  return i;
}

/// Threads along a row and rows of a block, for rows of n entries (or vectors): 256 threads in all.
struct row_block {
  unsigned across, rows;
};
constexpr row_block row_block_for(index_t n) {
  unsigned across = 1;
  while (across < 256 && static_cast<index_t>(across) < n) across *= 2;
  return {across, 256 / across};
}

/// Strides of a batch of two axes as one, where they are one: n0 n1 matrices at `stride`.
struct folded_batch {
  bool folds;
  index_t stride;
};
constexpr folded_batch fold_batch(index_t n0, index_t n1, index_t s0, index_t s1) {
  if (n1 == 1) return {true, s0};
  if (n0 == 1) return {true, s1};
  return {s0 == n1 * s1, s1};
}

}  // namespace smx::cuda_kernels
