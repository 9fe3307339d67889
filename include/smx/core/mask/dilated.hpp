// SPDX-License-Identifier: Apache-2.0
/// \file  Every step-th key.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// Query i sees the keys at distances that are multiples of `step`: i + offset - j = 0, +-step, +-2 step, ...
/// Combine it: `dilated_mask{4} & window_mask{512}`.
///
/// Tiles are wider than most steps, so that few of them are empty. Where nothing else is masked, cut the
/// sequence into `step` strands instead, which costs nothing: `swap_axes(swap_axes(split_axis(fix_axis(v, 0,
/// b), 1, length / step, step), 0, 2), 1, 2)` is batch entry b as (step,H,length / step,D), to be attended
/// without a mask.
struct dilated_mask {
  static constexpr bool causal = false;
  index_t step = 1;
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(dilated_mask const&, dilated_mask const&) = default;

  constexpr dilated_mask after(index_t rows) const { return {step, offset + rows}; }
  SMX_HD constexpr bool allow(index_t, index_t, index_t i, index_t j) const {
    return (i + offset - j) % step == 0;
  }
  SMX_HD constexpr tile_class tile(index_t, index_t, index_range rows, index_range keys) const {
    // the distances of a rectangle are all the numbers from `near` to `far`
    index_t const near = rows.first + offset - (keys.last - 1), far = rows.last - 1 + offset - keys.first;
    index_t const rest = near % step, to_multiple = rest > 0 ? step - rest : -rest;
    if (near + to_multiple > far) return tile_class::empty;
    return step == 1 || near == far ? tile_class::full : tile_class::partial;
  }
  SMX_HD constexpr index_range keys(index_t, index_t, index_range, index_t count) const { return {0, count}; }
  void expect_fits(extents<4> const&) const { expects_value(step >= 1, "mask: step", "at least 1", step); }
};

static_assert(ShiftableMask<dilated_mask>);

}  // namespace smx
