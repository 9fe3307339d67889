// SPDX-License-Identifier: Apache-2.0
/// \file  The mask that hides nothing.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// Every query sees every key.
struct full_mask {
  static constexpr bool causal = false;
  friend constexpr bool operator==(full_mask const&, full_mask const&) = default;

  constexpr full_mask after(index_t) const { return {}; }
  SMX_HD constexpr index_range row(index_t, index_t, index_t) const { return {0, detail::beyond_every_key}; }
  SMX_HD constexpr bool allow(index_t, index_t, index_t, index_t) const { return true; }
  SMX_HD constexpr tile_class tile(index_t, index_t, index_range, index_range) const {
    return tile_class::full;
  }
  SMX_HD constexpr index_range keys(index_t, index_t, index_range, index_t count) const { return {0, count}; }
};

static_assert(IntervalMask<full_mask> && ShiftableMask<full_mask>);

}  // namespace smx
