// SPDX-License-Identifier: Apache-2.0
/// \file  A mask that was written down entry by entry.
#pragma once

#include <smx/core/mask/concept.hpp>
#include <smx/core/space.hpp>
#include <smx/core/view.hpp>

namespace smx {

/// Query i sees key j where visible(b, h, i, j). Axes of extent 1, and of stride 0, serve all entries. The
/// array is not owned, and is read wherever the mask is asked; it may have more rows and keys than are asked
/// about, which are not read. A tile is looked through until it is known to be partial.
struct boolean_mask {
  static constexpr bool causal = false;
  view<bool const, 4, host_space> visible = {};
  friend constexpr bool operator==(boolean_mask const& a, boolean_mask const& b) {
    return a.visible.ptr == b.visible.ptr && a.visible.ext == b.visible.ext && a.visible.str == b.visible.str;
  }

  constexpr boolean_mask after(index_t rows) const {
    return visible.ext[2] == 1 ? *this : boolean_mask{slice(visible, 2, rows, visible.ext[2] - rows)};
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return visible.ptr[at(0, b) + at(1, h) + at(2, i) + at(3, j)];
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    bool const one = allow(b, h, rows.first, keys.first);
    for (index_t i = rows.first; i < rows.last; ++i) {
      bool const* const row = visible.ptr + at(0, b) + at(1, h) + at(2, i);
      for (index_t j = keys.first; j < keys.last; ++j)
        if (row[at(3, j)] != one) return tile_class::partial;
    }
    return one ? tile_class::full : tile_class::empty;
  }
  SMX_HD constexpr index_range keys(index_t, index_t, index_range, index_t count) const { return {0, count}; }
  void expect_fits(extents<4> const& scores) const {
    expects(visible.ptr != nullptr, "mask: visible: expected an array, got none");
    for (int axis = 0; axis < 2; ++axis)
      expects_value(visible.ext[axis] == 1 || visible.ext[axis] == scores[axis], "mask: visible",
                    axis == 0 ? "an entry for each batch entry, or one for all; entries"
                              : "an entry for each query head, or one for all; entries",
                    visible.ext[axis]);
    for (int axis = 2; axis < 4; ++axis)
      expects_value(visible.ext[axis] == 1 || visible.ext[axis] >= scores[axis], "mask: visible",
                    axis == 2 ? "an entry for each query, or one for all; entries"
                              : "an entry for each key, or one for all; entries",
                    visible.ext[axis]);
  }

 private:
  SMX_HD constexpr index_t at(int axis, index_t n) const {
    return visible.ext[axis] == 1 ? 0 : n * visible.str[axis];
  }
};

static_assert(ShiftableMask<boolean_mask>);

}  // namespace smx
