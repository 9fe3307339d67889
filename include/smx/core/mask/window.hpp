// SPDX-License-Identifier: Apache-2.0
/// \file  Sliding windows: window_mask looks back only, band_mask to both sides.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// Query i sees the `size` keys that end at its own position: i + offset - size < j <= i + offset.
struct window_mask {
  static constexpr bool causal = true;
  index_t size = 1;
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(window_mask const&, window_mask const&) = default;

  constexpr window_mask after(index_t rows) const { return {size, offset + rows}; }
  /// The oldest key that queries from position i on see, and how many a ring must hold.
  constexpr index_t oldest(index_t i) const {
    index_t const from = i + offset + 1 - size;
    return from < 0 ? 0 : from;
  }
  constexpr index_t reach() const { return size; }
  SMX_HD constexpr index_range row(index_t, index_t, index_t i) const {
    return {i + offset + 1 - size, i + offset + 1};
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
  void expect_fits(extents<4> const&) const {
    expects_value(size >= 1, "mask: size of a window", "at least 1", size);
  }
};

/// Query i sees `left` keys before its position, the key there, and `right` keys after it: i + offset - left
/// <= j <= i + offset + right.
struct band_mask {
  static constexpr bool causal = false;
  index_t left = 0, right = 0;
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(band_mask const&, band_mask const&) = default;

  constexpr band_mask after(index_t rows) const { return {left, right, offset + rows}; }
  SMX_HD constexpr index_range row(index_t, index_t, index_t i) const {
    return {i + offset - left, i + offset + right + 1};
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
  void expect_fits(extents<4> const&) const {
    expects_value(left >= 0, "mask: left reach of a band", "at least 0", left);
    expects_value(right >= 0, "mask: right reach of a band", "at least 0", right);
  }
};

static_assert(IntervalMask<window_mask> && ShiftableMask<window_mask>);
static_assert(IntervalMask<band_mask> && ShiftableMask<band_mask>);

}  // namespace smx
