// SPDX-License-Identifier: Apache-2.0
/// \file  Several sequences packed one after the other: none sees another.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// Segment s holds keys starts[s] .. starts[s + 1] - 1, and a query sees the keys of its segment. `starts`
/// has segments + 1 entries: the first is 0, none is smaller than the one before, the last is the number of
/// keys. Queries are cut by `query_starts`, or like the keys where that is null. Neither array is owned; they
/// are read wherever the mask is asked. Asking costs log2(segments) steps.
struct packed_mask {
  static constexpr bool causal = false;
  index_t const* starts = nullptr;
  index_t segments = 0;
  index_t const* query_starts = nullptr;
  friend constexpr bool operator==(packed_mask const&, packed_mask const&) = default;

  SMX_HD constexpr index_range row(index_t, index_t, index_t i) const {
    index_t const* const cut = query_starts != nullptr ? query_starts : starts;
    index_t low = 0, high = segments;  // the last segment that starts at or before i
    while (high - low > 1) {
      index_t const middle = (low + high) / 2;
      (cut[middle] <= i ? low : high) = middle;
    }
    if (i >= cut[segments]) return {starts[segments], starts[segments]};
    return {starts[low], starts[low + 1]};
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
  void expect_fits(extents<4> const& scores) const {
    expects(starts != nullptr, "mask: segment starts: expected an array, got none");
    expects_value(segments >= 1, "mask: segments", "at least 1", segments);
    index_t const* const cuts[2] = {starts, query_starts != nullptr ? query_starts : starts};
    for (int which = 0; which < 2; ++which) {
      index_t const* const cut = cuts[which];
      expects_value(cut[0] == 0, "mask: segment starts", "a first entry of 0", cut[0]);
      for (index_t s = 0; s < segments; ++s)
        expects_value(cut[s] <= cut[s + 1], "mask: segment starts", "entries that do not decrease",
                      cut[s + 1]);
      expects_value(cut[segments] == scores[which == 0 ? 3 : 2], "mask: segment starts",
                    which == 0 ? "the number of keys as last entry" : "the number of queries as last entry",
                    cut[segments]);
    }
  }
};

static_assert(IntervalMask<packed_mask>);

}  // namespace smx
