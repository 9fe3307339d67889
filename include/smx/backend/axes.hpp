// SPDX-License-Identifier: Apache-2.0
/// \file  The axes of an elementwise primitive in the order of its output's memory, as few of them as
/// possible: what every backend does before it walks them.
#pragma once

#include <utility>

#include <smx/core/view.hpp>

namespace smx::detail {

/// Sorts the axes by the output's strides, the largest first.
template <int R, class Y, class... X> SMX_INLINE void order_axes(extents<R>& ext, Y& y, X&... x) {
  auto const size = [&](int r) { return y.str[r] < 0 ? -y.str[r] : y.str[r]; };
  for (int r = 1; r < R; ++r)
    for (int q = r; q > 0 && size(q - 1) < size(q); --q) {
      std::swap(ext[q - 1], ext[q]);
      std::swap(y.str[q - 1], y.str[q]);
      (std::swap(x.str[q - 1], x.str[q]), ...);
    }
}

/// Drops axes of extent 1 and merges neighbours that every view walks as one; returns how many axes are left
/// (0 to R).
template <int R, class... V> SMX_INLINE int fuse_axes(extents<R>& ext, V&... v) {
  int n = 0;
  auto const keep = [&](int r) {
    ext[n] = ext[r];
    ((v.str[n] = v.str[r]), ...);
    ++n;
  };
  for (int r = 0; r < R; ++r) {
    if (ext[r] == 1) continue;
    bool const merges = n > 0 && (... && (v.str[n - 1] == v.str[r] * ext[r]));
    if (merges) {
      ext[n - 1] *= ext[r];
      ((v.str[n - 1] = v.str[r]), ...);
    } else {
      keep(r);
    }
  }
  return n;
}

}  // namespace smx::detail
