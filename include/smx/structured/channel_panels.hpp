// SPDX-License-Identifier: Apache-2.0
/// \file  Signals (B,H,L,D) cut into panels of columns: channels in groups that share a structured matrix.
#pragma once

#include <smx/backend/shapes.hpp>

namespace smx {

/// D channels in groups of equal width, one behind the other.
struct channel_groups {
  index_t channels = 0, groups = 1;

  index_t width() const { return channels / groups; }

  /// f(head, group, function from (B,N,D) to the group's columns), in a fixed order.
  template <class F> void each(index_t heads, F const& f) const {
    index_t const w = width();
    for (index_t h = 0; h < heads; ++h)
      for (index_t g = 0; g < groups; ++g) f(h, g, [=](auto const& v) { return slice(v, 2, g * w, w); });
  }

  /// f(sub, group, function from (B,H,N,D) to (1,N,C)) over panels of one batch entry and some columns of a
  /// group: independent work that takes `numbers` entries of T as scratch for each column. As many columns as
  /// keep that in 512 KB, from 16 to 64.
  template <class T, class B, class F>
  void each_panel(B& be, extents<4> const& e, index_t numbers, F const& f) const {
    index_t const w = width(), all = groups,
                  fit = (index_t{512} << 10) / (numbers * static_cast<index_t>(sizeof(T))) / 16 * 16,
                  most = fit < 16   ? 16
                         : fit > 64 ? 64
                                    : fit,
                  columns = most < w ? most : w, runs = (w + columns - 1) / columns, heads = e[1];
    std::size_t const bytes = static_cast<std::size_t>(numbers * columns) * sizeof(T);
    be.tiles(e[0] * heads * all * runs, bytes, [=, &f](auto& sub, index_t first, index_t count) {
      for (index_t i = first; i < first + count; ++i) {
        index_t const from = i % runs * columns, g = i / runs % all, h = i / runs / all % heads,
                      b = i / runs / all / heads, n = from + columns < w ? columns : w - from;
        auto frame = sub.scope();
        f(sub, g,
          [=](auto const& v) { return slice(slice(fix_axis(v, 1, h), 0, b, 1), 2, g * w + from, n); });
      }
    });
  }
};

namespace detail {

/// p (B,n,C) in scratch with `rows` rows, from row `first` on; zeros before and behind.
template <class B, class T> out<B, T, 3> padded_panel(B& be, in<B, T, 3> p, index_t rows, index_t first = 0) {
  auto q = be.template scratch<T>(extents<3>{p.ext[0], rows, p.ext[2]});
  index_t const last = first + p.ext[1];
  be.copy(p, slice(q, 1, first, p.ext[1]));
  if (first > 0) be.map(constant<T>{T(0)}, slice(q, 1, 0, first));
  if (last < rows) be.map(constant<T>{T(0)}, slice(q, 1, last, rows - last));
  return q;
}

}  // namespace detail

}  // namespace smx
