// SPDX-License-Identifier: Apache-2.0
/// \file  The causal mask: every key up to the query's own position.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// Query i sees keys j <= i + offset.
struct causal_mask {
  static constexpr bool causal = true;
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(causal_mask const&, causal_mask const&) = default;

  constexpr causal_mask after(index_t rows) const { return {offset + rows}; }
  SMX_HD constexpr index_range row(index_t, index_t, index_t i) const { return {0, i + offset + 1}; }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return detail::ordered_allow(*this, b, h, i, j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    return detail::ordered_tile(*this, b, h, rows, keys);
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    return detail::ordered_keys(*this, b, h, rows, count);
  }
};

static_assert(IntervalMask<causal_mask> && ShiftableMask<causal_mask>);

}  // namespace smx
