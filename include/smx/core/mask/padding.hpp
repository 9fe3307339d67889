// SPDX-License-Identifier: Apache-2.0
/// \file  Sequences of different lengths in one batch, filled up at the end.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// Every query of batch entry b sees keys j < lengths[b]. `lengths` has `count` entries, one for each batch
/// entry or one for all; it is not owned, and is read wherever the mask is asked.
struct padding_mask {
  static constexpr bool causal = false;
  index_t const* lengths = nullptr;
  index_t count = 0;
  friend constexpr bool operator==(padding_mask const&, padding_mask const&) = default;

  SMX_HD constexpr index_range row(index_t b, index_t, index_t) const {
    return {0, lengths[count == 1 ? 0 : b]};
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return detail::ordered_allow(*this, b, h, i, j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    return detail::ordered_tile(*this, b, h, rows, keys);
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t n) const {
    return detail::ordered_keys(*this, b, h, rows, n);
  }
  void expect_fits(extents<4> const& scores) const {
    expects(lengths != nullptr, "mask: padded lengths: expected an array, got none");
    expects_value(count == 1 || count == scores[0], "mask: padded lengths",
                  "one for each batch entry, or one for all; entries", count);
    for (index_t b = 0; b < count; ++b)
      expects_value(0 <= lengths[b] && lengths[b] <= scores[3], "mask: padded length",
                    "0 to the number of keys", lengths[b]);
  }
};

static_assert(IntervalMask<padding_mask>);

}  // namespace smx
