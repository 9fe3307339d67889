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
  SMX_HD constexpr bool allow(index_t, index_t, index_t i, index_t j) const { return j <= i + offset; }
  SMX_HD constexpr tile_class tile(index_t, index_t, index_range rows, index_range keys) const {
    if (keys.last - 1 <= rows.first + offset) return tile_class::full;
    return keys.first <= rows.last - 1 + offset ? tile_class::partial : tile_class::empty;
  }
  SMX_HD constexpr index_range keys(index_t, index_t, index_range rows, index_t count) const {
    index_t const last = rows.last + offset;
    return {0, last < 0 ? 0 : last < count ? last : count};
  }
};

static_assert(IntervalMask<causal_mask> && ShiftableMask<causal_mask>);

}  // namespace smx
