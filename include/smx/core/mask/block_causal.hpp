// SPDX-License-Identifier: Apache-2.0
/// \file  Causal from block to block: chunks of a stream, frames of a video.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// Positions are cut into blocks of `block`; a query sees its own block, the `history` blocks before it
/// (negative: all of them), and nothing after. Not causal within a block, so that only whole blocks stream.
struct block_causal_mask {
  static constexpr bool causal = false;
  index_t block = 1;
  index_t history = -1;
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(block_causal_mask const&, block_causal_mask const&) = default;

  constexpr block_causal_mask after(index_t rows) const { return {block, history, offset + rows}; }
  /// The most of n positions that are whole blocks: no query among them sees a later key.
  constexpr index_t closed(index_t n) const { return n - (n + offset) % block; }
  /// As window_mask; without a bound on the history there is none (0).
  constexpr index_t oldest(index_t i) const {
    index_t const from = history < 0 ? 0 : ((i + offset) / block - history) * block;
    return from < 0 ? 0 : from;
  }
  constexpr index_t reach() const { return history < 0 ? 0 : (history + 1) * block; }
  SMX_HD constexpr index_range row(index_t, index_t, index_t i) const {
    index_t const at = i + offset, own = at >= 0 ? at / block : -1 - (-1 - at) / block;
    return {history < 0 || own < history ? 0 : (own - history) * block, (own + 1) * block};
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return detail::ordered_allow(*this, b, h, i, j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    return detail::ordered_tile(*this, b, h, rows, keys);
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    return detail::ordered_keys(*this, b, h, rows, count);
  }
  void expect_fits(extents<4> const&) const { expects_value(block >= 1, "mask: block", "at least 1", block); }
};

static_assert(IntervalMask<block_causal_mask> && ShiftableMask<block_causal_mask>);

}  // namespace smx
