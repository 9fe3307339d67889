// SPDX-License-Identifier: Apache-2.0
/// \file  The primitives along the last axis on a range of rows, one thread's part of the work: vector code
/// where the axis is contiguous (or, for reductions, the one before it), plain loops elsewhere. Shapes were
/// checked before.
#pragma once

#include <algorithm>

#include <smx/backend/cpu/columns.hpp>
#include <smx/backend/row_loops.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Whether the last axis of every view is contiguous.
template <class... V> bool contiguous_rows(V const&... v) {
  return (... && (v.str[3] == 1 || v.ext[3] == 1));
}

namespace detail {
/// f(i) for every row: i is its index with 0 along the last axis.
template <class F> void each_row(extents<4> const& e, F const& f) {
  extents<4> i = {};
  for (i[0] = 0; i[0] < e[0]; ++i[0])
    for (i[1] = 0; i[1] < e[1]; ++i[1])
      for (i[2] = 0; i[2] < e[2]; ++i[2]) f(static_cast<extents<4> const&>(i));
}
template <class V> auto* row_of(V const& v, extents<4> const& i) { return &loops::at(v, i); }
}  // namespace detail

/// Whether reduce runs down contiguous columns: such work is best cut in whole blocks of them.
template <class T> bool reduces_columns(view<T const, 4, host_space> const& x) {
  return Compute<T> && x.str[2] == 1 && x.str[3] != 1 && x.ext[3] > 1;
}

template <class T>
void reduce(reduction how, view<T const, 4, host_space> x, compute_t<T> beta, view<T, 4, host_space> y) {
  if constexpr (Compute<T>) {
    index_t const n = x.ext[3];
    auto const put = [&](T& to, double sum) {
      to = static_cast<T>(beta == T(0) ? sum : static_cast<double>(beta) * static_cast<double>(to) + sum);
    };
    if (reduces_columns(x)) {
      for (index_t b = 0; b < x.ext[0]; ++b)
        for (index_t h = 0; h < x.ext[1]; ++h)
          for (index_t c = 0; c < x.ext[2]; c += column_block<T>) {
            index_t const some = std::min(column_block<T>, x.ext[2] - c), ld = x.str[3];
            T const* const from = &x(b, h, c, 0);
            if (how == reduction::max) {
              T top[column_block<T>];
              max_columns(n, some, from, ld, top);
              for (index_t j = 0; j < some; ++j) y(b, h, c + j, 0) = top[j];
            } else {
              double sums[column_block<T>];
              sum_columns(n, some, sums, [=](index_t r, auto at) { return at(from + r * ld); });
              for (index_t j = 0; j < some; ++j) put(y(b, h, c + j, 0), sums[j]);
            }
          }
      return;
    }
    if (contiguous_rows(x)) {
      detail::each_row(x.ext, [&](extents<4> const& i) {
        T const* const row = detail::row_of(x, i);
        T& to = loops::at(y, i);
        if (how == reduction::max)
          to = row_max(n, row);
        else
          put(to, row_sum(n, row));
      });
      return;
    }
  }
  loops::reduce<T>(how, x, beta, y);
}

template <Mask M, class T>
void softmax(M const& mask, score_origin const& o, view<T const, 4, host_space> x, view<T, 4, host_space> y,
             view<T, 4, host_space> lse) {
  if constexpr (Compute<T>) {
    if (contiguous_rows(x, y)) {
      index_t const n = x.ext[3];
      detail::each_row(x.ext, [&](extents<4> const& i) {
        index_t const b = o.batch + i[0], h = o.head + i[1], r = o.row + i[2];
        index_range const seen = mask.keys(b, h, {r, r + 1}, o.key + n);
        index_t const first = std::clamp(seen.first - o.key, index_t(0), n),
                      last = std::clamp(seen.last - o.key, first, n);
        bool const all =
            first == last || mask.tile(b, h, {r, r + 1}, {o.key + first, o.key + last}) == tile_class::full;
        T* const to = detail::row_of(y, i);
        loops::at(lse, i) = softmax_row(
            last - first, all, [&](index_t j) { return mask.allow(b, h, r, o.key + first + j); },
            detail::row_of(x, i) + first, to + first);
        std::fill(to, to + first, T(0));
        std::fill(to + last, to + n, T(0));
      });
      return;
    }
  }
  loops::softmax<M, T>(mask, o, x, y, lse);
}

template <class T>
void softmax_backward(view<T const, 4, host_space> y, view<T const, 4, host_space> dy,
                      view<T, 4, host_space> dx) {
  if constexpr (Compute<T>) {
    if (contiguous_rows(y, dy, dx)) {
      detail::each_row(y.ext, [&](extents<4> const& i) {
        softmax_backward_row(y.ext[3], detail::row_of(y, i), detail::row_of(dy, i), detail::row_of(dx, i));
      });
      return;
    }
  }
  loops::softmax_backward<T>(y, dy, dx);
}

template <class T>
void norm(norm_kind kind, double eps, view<T const, 4, host_space> x, view<T const, 4, host_space> gain,
          view<T const, 4, host_space> bias, view<T, 4, host_space> y, view<T, 4, host_space> mean,
          view<T, 4, host_space> scale) {
  if constexpr (Compute<T>) {
    if (contiguous_rows(x, gain, y) && (bias.size() == 0 || contiguous_rows(bias))) {
      T const* const shift = bias.size() == 0 ? nullptr : bias.ptr;
      detail::each_row(x.ext, [&](extents<4> const& i) {
        norm_row(kind, eps, x.ext[3], detail::row_of(x, i), gain.ptr, shift, detail::row_of(y, i),
                 &loops::at(mean, i), &loops::at(scale, i));
      });
      return;
    }
  }
  loops::norm<T>(kind, eps, x, gain, bias, y, mean, scale);
}

template <class T> void cumulative_sum(view<T const, 4, host_space> x, view<T, 4, host_space> y) {
  index_t const sx = x.str[3], sy = y.str[3];
  detail::each_row({x.ext[0], x.ext[1], x.ext[2], 1}, [&](extents<4> const& i) {
    T const* const from = detail::row_of(x, i);
    T* const to = detail::row_of(y, i);
    double sum = 0;
    for (index_t j = 0; j < x.ext[3]; ++j)
      to[j * sy] = static_cast<T>(sum += static_cast<double>(from[j * sx]));
  });
}

/// One (batch, head); `shared`: one decay for all columns.
template <class T>
void decayed_scan(view<T const, 4, host_space> a, bool shared, view<T const, 4, host_space> x,
                  view<T, 4, host_space> y) {
  if constexpr (Compute<T>) {
    if (contiguous_rows(x, y) && (shared || contiguous_rows(a)))
      return decayed_scan_columns(x.ext[2], x.ext[3], a.ptr, a.str[2], shared, x.ptr, x.str[2], y.ptr,
                                  y.str[2]);
  }
  loops::decayed_scan<T>(a, x, y);
}

/// One (batch, head).
template <class T> void solve_unit_lower(op t, view<T const, 4, host_space> a, view<T, 4, host_space> x) {
  if constexpr (Compute<T>) {
    if (contiguous_rows(x))
      return solve_unit_lower_columns(t, x.ext[2], x.ext[3], a.ptr, a.str[2], a.str[3], x.ptr, x.str[2]);
  }
  loops::solve_unit_lower<T>(t, a, x);
}

/// to += x, n entries.
template <class T> void add_strided(index_t n, T const* x, index_t sx, T* to, index_t st) {
  if constexpr (Compute<T>) {
    if (sx == 1 && st == 1) return add_row(n, x, to);
  }
  for (index_t j = 0; j < n; ++j) to[j * st] += x[j * sx];
}

/// dx of norm_backward, contiguous rows only.
template <class T>
void norm_backward_input(norm_kind kind, view<T const, 4, host_space> x, view<T const, 4, host_space> gain,
                         view<T const, 4, host_space> mean, view<T const, 4, host_space> scale,
                         view<T const, 4, host_space> dy, view<T, 4, host_space> dx) {
  detail::each_row(x.ext, [&](extents<4> const& i) {
    norm_backward_row(kind, x.ext[3], detail::row_of(x, i), gain.ptr, loops::at(mean, i), loops::at(scale, i),
                      detail::row_of(dy, i), detail::row_of(dx, i));
  });
}

/// Columns whose weight gradients are summed together: pieces of rows of 1 KB or more, sums in L1.
inline constexpr index_t norm_gradient_block = 256;

/// dgain and dbias (unless empty) of norm_backward for columns first .. first + n - 1, at most
/// norm_gradient_block of them: sums over all rows, in their order.
template <class T>
void norm_backward_weights(index_t first, index_t n, view<T const, 4, host_space> x,
                           view<T const, 4, host_space> mean, view<T const, 4, host_space> scale,
                           view<T const, 4, host_space> dy, view<T, 4, host_space> dgain,
                           view<T, 4, host_space> dbias) {
  double gains[norm_gradient_block] = {}, biases[norm_gradient_block] = {};
  detail::each_row(x.ext, [&](extents<4> const& i) {
    T const *const xr = detail::row_of(x, i) + first, *const gr = detail::row_of(dy, i) + first;
    auto const center = static_cast<double>(loops::at(mean, i)),
               factor = static_cast<double>(loops::at(scale, i));
    each_entry(n, [&](auto at) {
      auto const g = at(gr);
      at(gains, at(static_cast<double const*>(gains)) + g * ((at(xr) - center) * factor));
      at(biases, at(static_cast<double const*>(biases)) + g);
    });
  });
  auto const add = [&](T& to, double sum) { to = static_cast<T>(static_cast<double>(to) + sum); };
  for (index_t j = 0; j < n; ++j) {
    add(dgain(0, 0, 0, first + j), gains[j]);
    if (dbias.size() != 0) add(dbias(0, 0, 0, first + j), biases[j]);
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
