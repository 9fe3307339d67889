// SPDX-License-Identifier: Apache-2.0
/// \file  A mask over keys that lie in a ring: key row r holds the one position p = r modulo `rows` that is
///        kept.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// What `inner` shows of the positions first .. last - 1, of which position p lies in row p mod rows; last -
/// first <= rows. Rows that hold none of them are hidden. Queries are those of `inner`.
template <Mask M> struct ring_mask {
  static constexpr bool causal = false;  // of rows, whatever it is of positions
  M inner = {};
  index_t rows = 1;
  index_t first = 0, last = 0;
  friend constexpr bool operator==(ring_mask const&, ring_mask const&) = default;

  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    index_t const p = j + (j < seam() ? lap() + rows : lap());
    return p < last && inner.allow(b, h, i, p);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range queries, index_range keys) const {
    index_t const cut = seam();
    if (keys.last <= cut) return part(b, h, queries, keys, lap() + rows);
    if (cut <= keys.first) return part(b, h, queries, keys, lap());
    tile_class const low = part(b, h, queries, {keys.first, cut}, lap() + rows),
                     high = part(b, h, queries, {cut, keys.last}, lap());
    return low == high ? low : tile_class::partial;
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range queries, index_t count) const {
    index_range seen = inner.keys(b, h, queries, last);
    if (seen.first < first) seen.first = first;
    if (seen.first >= seen.last) return {0, 0};
    if (seen.first / rows == (seen.last - 1) / rows)
      return detail::within_count({seen.first % rows, (seen.last - 1) % rows + 1}, count);
    return {0, count};
  }

 private:
  /// The row of the oldest position, and the position of row 0 in that position's lap.
  SMX_HD constexpr index_t seam() const { return first % rows; }
  SMX_HD constexpr index_t lap() const { return first - first % rows; }
  /// Rows of one lap, as positions.
  SMX_HD constexpr tile_class part(index_t b, index_t h, index_range queries, index_range keys,
                                   index_t shift) const {
    index_range const at{keys.first + shift, keys.last + shift};
    if (at.first >= last) return tile_class::empty;
    tile_class const found = inner.tile(b, h, queries, {at.first, at.last < last ? at.last : last});
    return at.last > last && found == tile_class::full ? tile_class::partial : found;
  }
};

}  // namespace smx
