// SPDX-License-Identifier: Apache-2.0
/// \file  Causal attention whose rows look ahead, each as far as it was told.
///
/// Adaptive right context: G. Strimel et al., "Lookahead When It Matters: Adaptive Non-causal Transformers
/// for Streaming Neural Transducers", ICML 2023.
#pragma once

#include <smx/core/mask/concept.hpp>
#include <smx/core/space.hpp>
#include <smx/core/view.hpp>

namespace smx {

/// Query i of batch entry b sees keys j <= i + offset + ahead(b, i). `ahead` (B,L) or (1,L) is not owned, and
/// is read wherever the mask is asked; entries may be negative, or beyond every key, and later rows may see
/// less than earlier ones.
struct lookahead_mask {
  static constexpr bool causal = false;
  view<index_t const, 2, host_space> ahead = {};
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(lookahead_mask const& a, lookahead_mask const& b) {
    return a.ahead.ptr == b.ahead.ptr && a.ahead.ext == b.ahead.ext && a.ahead.str == b.ahead.str &&
           a.offset == b.offset;
  }

  constexpr lookahead_mask after(index_t rows) const {
    return {slice(ahead, 1, rows, ahead.ext[1] - rows), offset + rows};
  }
  SMX_HD constexpr index_range row(index_t b, index_t, index_t i) const {
    index_t const far = detail::beyond_every_key, n = ahead(ahead.ext[0] == 1 ? 0 : b, i);
    return {0, i + offset + 1 + (n < -far ? -far : n < far ? n : far)};
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return detail::contains(row(b, h, i), j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    index_range const ends = extremes(b, h, rows);
    if (keys.last <= ends.first) return tile_class::full;
    return ends.last <= keys.first ? tile_class::empty : tile_class::partial;
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    return detail::within_count({0, extremes(b, h, rows).last}, count);
  }
  void expect_fits(extents<4> const& scores) const {
    expects(ahead.ptr != nullptr, "mask: lookahead: expected an array, got none");
    expects_value(ahead.ext[0] == 1 || ahead.ext[0] == scores[0], "mask: lookahead",
                  "rows for each batch entry, or for all; batch entries", ahead.ext[0]);
    expects_value(ahead.ext[1] >= scores[2], "mask: lookahead", "an entry for each query; entries",
                  ahead.ext[1]);
  }

 private:
  /// The least and the greatest end of what the rows see.
  SMX_HD constexpr index_range extremes(index_t b, index_t h, index_range rows) const {
    index_t const end = row(b, h, rows.first).last;
    index_range ends{end, end};
    for (index_t i = rows.first + 1; i < rows.last; ++i) {
      index_t const next = row(b, h, i).last;
      ends = {next < ends.first ? next : ends.first, next > ends.last ? next : ends.last};
    }
    return ends;
  }
};

static_assert(IntervalMask<lookahead_mask> && ShiftableMask<lookahead_mask>);

}  // namespace smx
