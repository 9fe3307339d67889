// SPDX-License-Identifier: Apache-2.0
/// \file  Elementwise loops that compilers vectorise: axes that lie contiguously in every view are fused, and
/// the innermost
///        loop has unit strides where the data have them.
#pragma once

#include <array>
#include <tuple>
#include <utility>

#include <smx/backend/cpu/simd.hpp>
#include <smx/core/view.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Drops axes of extent 1 and merges neighbours that every view walks as one; returns how many axes are left
/// (0 to R).
template <int R, class... V> int fuse_axes(extents<R>& ext, V&... v) {
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

/// y := f(x...) over one row of n entries.
template <class F, class Y, class... X>
SMX_INLINE void map_row(F const& f, index_t n, Y* y, index_t sy, std::pair<X const*, index_t>... x) {
  if (sy == 1 && (... && (x.second == 1))) {
    for (index_t i = 0; i < n; ++i) y[i] = static_cast<Y>(f(x.first[i]...));
  } else if (sy == 1 && (... && (x.second == 1 || x.second == 0))) {
    auto const row = [&](auto... one) {  // broadcast operands become scalars
      for (index_t i = 0; i < n; ++i) y[i] = static_cast<Y>(f(x.first[one * i]...));
    };
    row(x.second...);
  } else {
    for (index_t i = 0; i < n; ++i) y[i * sy] = static_cast<Y>(f(x.first[i * x.second]...));
  }
}

/// Rows [first, last) of the array whose fused extents are ext[0..axes-1]; the last axis is the row.
template <int R, class F, class Y, class... X, class S>
void map_rows(F const& f, int axes, extents<R> const& ext, index_t first, index_t last,
              view<Y, R, S> const& y, view<X, R, S> const&... x) {
  index_t const n = axes == 0 ? 1 : ext[axes - 1];
  int const q = axes == 0 ? 0 : axes - 1;
  for (index_t row = first; row < last; ++row) {
    extents<R> at = {};
    index_t rest = row;
    for (int r = q - 1; r >= 0; --r) {
      at[r] = rest % ext[r];
      rest /= ext[r];
    }
    auto const start = [&](auto const& v) {
      index_t offset = 0;
      for (int r = 0; r < q; ++r) offset += at[r] * v.str[r];
      return v.ptr + offset;
    };
    map_row(f, n, start(y), axes == 0 ? 1 : y.str[q],
            std::pair<std::remove_const_t<X> const*, index_t>(start(x), axes == 0 ? 1 : x.str[q])...);
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
