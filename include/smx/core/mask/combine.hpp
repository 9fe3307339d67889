// SPDX-License-Identifier: Apache-2.0
/// \file  Masks from masks: `a & b` shows what both show, `a | b` what either shows.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// What both masks show.
template <Mask A, Mask B> struct and_mask {
  static constexpr bool causal = A::causal || B::causal;
  A first = {};
  B second = {};
  friend constexpr bool operator==(and_mask const&, and_mask const&) = default;

  constexpr and_mask after(index_t rows) const requires ShiftableMask<A> && ShiftableMask<B> {
    return {first.after(rows), second.after(rows)};
  }
  constexpr index_t oldest(index_t i) const requires WindowedMask<A> || WindowedMask<B> {
    return bounded().oldest(i);
  }
  constexpr index_t reach() const requires WindowedMask<A> || WindowedMask<B> { return bounded().reach(); }
  SMX_HD constexpr index_range row(index_t b, index_t h,
                                   index_t i) const requires IntervalMask<A> && IntervalMask<B> {
    return common(first.row(b, h, i), second.row(b, h, i));
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return first.allow(b, h, i, j) && second.allow(b, h, i, j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    // what is cheap to ask comes first
    if constexpr (IntervalMask<B>)
      return joined(second, first, b, h, rows, keys);
    else
      return joined(first, second, b, h, rows, keys);
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    index_range const seen = common(first.keys(b, h, rows, count), second.keys(b, h, rows, count));
    return seen.first < seen.last ? seen : index_range{0, 0};
  }
  void expect_fits(extents<4> const& scores) const {
    expect_mask_fits(first, scores);
    expect_mask_fits(second, scores);
  }

 private:
  constexpr auto const& bounded() const {
    if constexpr (WindowedMask<A>)
      return first;
    else
      return second;
  }
  static SMX_HD constexpr index_range common(index_range a, index_range b) {
    return {a.first < b.first ? b.first : a.first, a.last < b.last ? a.last : b.last};
  }
  template <class X, class Y>
  static SMX_HD constexpr tile_class joined(X const& x, Y const& y, index_t b, index_t h, index_range rows,
                                            index_range keys) {
    tile_class const one = x.tile(b, h, rows, keys);
    if (one == tile_class::empty) return one;
    tile_class const other = y.tile(b, h, rows, keys);
    return other == tile_class::empty ? other : one == tile_class::full ? other : tile_class::partial;
  }
};

/// What either mask shows.
template <Mask A, Mask B> struct or_mask {
  static constexpr bool causal = A::causal && B::causal;
  A first = {};
  B second = {};
  friend constexpr bool operator==(or_mask const&, or_mask const&) = default;

  constexpr or_mask after(index_t rows) const requires ShiftableMask<A> && ShiftableMask<B> {
    return {first.after(rows), second.after(rows)};
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return first.allow(b, h, i, j) || second.allow(b, h, i, j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    tile_class const one = first.tile(b, h, rows, keys);
    if (one == tile_class::full) return one;
    tile_class const other = second.tile(b, h, rows, keys);
    return other == tile_class::full ? other : one == tile_class::empty ? other : tile_class::partial;
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    index_range const one = first.keys(b, h, rows, count), other = second.keys(b, h, rows, count);
    if (one.first >= one.last) return other;
    if (other.first >= other.last) return one;
    return {one.first < other.first ? one.first : other.first, one.last < other.last ? other.last : one.last};
  }
  void expect_fits(extents<4> const& scores) const {
    expect_mask_fits(first, scores);
    expect_mask_fits(second, scores);
  }
};

/// Shows what both show: `causal_mask{} & padding_mask{lengths, batch}`.
template <Mask A, Mask B> constexpr and_mask<A, B> operator&(A const& a, B const& b) { return {a, b}; }
/// Shows what either shows: `window_mask{512} | partial_causal_mask{4}`.
template <Mask A, Mask B> constexpr or_mask<A, B> operator|(A const& a, B const& b) { return {a, b}; }

}  // namespace smx
