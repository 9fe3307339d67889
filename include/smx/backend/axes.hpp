// SPDX-License-Identifier: Apache-2.0
/// \file  The axes of an elementwise primitive in the order of its output's memory, as few of them as
/// possible: what every backend does before it walks them.
#pragma once

#include <utility>

#include <smx/core/extents.hpp>

namespace smx::detail {

/// Sorts the axes by the strides of the first of `views` arrays, the largest first, drops axes of extent 1
/// and merges neighbours that every array walks as one. ext and each strides[v] have `rank` entries and are
/// overwritten; returns how many axes are left (0 to rank).
inline int simplify_axes(int rank, index_t* ext, index_t* const* strides, int views) {
  auto const size = [&](int r) { return strides[0][r] < 0 ? -strides[0][r] : strides[0][r]; };
  for (int r = 1; r < rank; ++r)
    for (int q = r; q > 0 && size(q - 1) < size(q); --q) {
      std::swap(ext[q - 1], ext[q]);
      for (int v = 0; v < views; ++v) std::swap(strides[v][q - 1], strides[v][q]);
    }
  int n = 0;
  for (int r = 0; r < rank; ++r) {
    index_t const count = ext[r];
    if (count == 1) continue;
    bool merges = n > 0;
    for (int v = 0; v < views && merges; ++v) merges = strides[v][n - 1] == strides[v][r] * count;
    if (merges)
      ext[n - 1] *= count;
    else
      ext[n++] = count;
    for (int v = 0; v < views; ++v) strides[v][n - 1] = strides[v][r];
  }
  return n;
}

}  // namespace smx::detail
