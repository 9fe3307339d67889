// SPDX-License-Identifier: Apache-2.0
/// \file  The primitives as plain loops over host views, sums in double: what the reference backend is made
/// of.
#pragma once

#include <cmath>
#include <limits>

#include <smx/backend/shapes.hpp>
#include <smx/core/config.hpp>

namespace smx::loops {

/// f(index) for every index of `e`, the last one fastest.
template <int R, class F> void for_each_index(extents<R> const& e, F&& f) {
  for (int r = 0; r < R; ++r)
    if (e[r] == 0) return;
  extents<R> i = {};
  for (;;) {
    f(static_cast<extents<R> const&>(i));
    int r = R - 1;
    while (r >= 0 && ++i[r] == e[r]) i[r--] = 0;
    if (r < 0) return;
  }
}

/// The entry of v at an index.
template <class T, int R, class S> SMX_INLINE constexpr T& at(view<T, R, S> const& v, extents<R> const& i) {
  index_t offset = 0;
  for (int r = 0; r < R; ++r) offset += i[r] * v.str[r];
  return v.ptr[offset];
}

/// Select: terms whose entry of op(A) is zero are left out.
template <bool Select, class T>
void gemm(op ta, op tb, double alpha, view<T const, 4, host_space> a, view<T const, 4, host_space> b,
          double beta, view<T, 4, host_space> c) {
  detail::check_gemm(ta, tb, a, b, c);
  a = detail::broadcast_batch(a, c.ext[0], c.ext[1]);
  b = detail::broadcast_batch(b, c.ext[0], c.ext[1]);
  if (ta == op::transpose) a = swap_axes(a, 2, 3);
  if (tb == op::transpose) b = swap_axes(b, 2, 3);
  for_each_index(c.ext, [&](extents<4> const& i) {
    T const* const row = smx::detail::advance(a.ptr, i[0] * a.str[0] + i[1] * a.str[1] + i[2] * a.str[2]);
    T const* const column = smx::detail::advance(b.ptr, i[0] * b.str[0] + i[1] * b.str[1] + i[3] * b.str[3]);
    index_t const terms = a.ext[3], along = a.str[3], down = b.str[2];
    double sum = 0;
    for (index_t k = 0; k < terms; ++k) {
      double const left = static_cast<double>(row[k * along]);
      if (Select && left == 0) continue;
      sum += left * static_cast<double>(column[k * down]);
    }
    T& to = at(c, i);
    to = static_cast<T>(
        static_cast<compute_t<T>>(beta == 0 ? alpha * sum : alpha * sum + beta * static_cast<double>(to)));
  });
}

template <class F, class T, int R, class... X>
void map(F const& f, view<T, R, host_space> y, view<X const, R, host_space>... x) {
  detail::check_map(y, x...);
  for_each_index(y.ext, [&](extents<R> const& i) { at(y, i) = static_cast<T>(f(at(x, i)...)); });
}

template <class F, class T, int R> void generate(F const& f, view<T, R, host_space> y) {
  for_each_index(y.ext, [&](extents<R> const& i) { at(y, i) = static_cast<T>(f(i)); });
}

template <class X, class T, int R> void copy(view<X const, R, host_space> x, view<T, R, host_space> y) {
  expects_extents("copy: y", y.ext, x.ext);
  for_each_index(y.ext, [&](extents<R> const& i) {
    if constexpr (std::is_same_v<X, T>)
      at(y, i) = at(x, i);
    else
      at(y, i) = static_cast<T>(static_cast<compute_t<T>>(static_cast<compute_t<X>>(at(x, i))));
  });
}

template <class T>
void reduce(reduction how, view<T const, 4, host_space> x, double beta, view<T, 4, host_space> y) {
  detail::check_reduce(x, y);
  for_each_index(y.ext, [&](extents<4> const& i) {
    T const* row = &at(x, i);
    double value = how == reduction::sum ? 0.0 : static_cast<double>(*row);
    for (index_t l = 0; l < x.ext[3]; ++l) {
      double const entry = static_cast<double>(row[l * x.str[3]]);
      if (how == reduction::sum)
        value += entry;
      else if (entry > value || entry != entry)
        value = entry;
    }
    T& to = at(y, i);
    to = static_cast<T>(how == reduction::max || beta == 0 ? value : beta * static_cast<double>(to) + value);
  });
}

template <class M, class T>
void softmax(M const& mask, score_origin const& o, view<T const, 4, host_space> x, view<T, 4, host_space> y,
             view<T, 4, host_space> lse) {
  detail::check_softmax(x, y, lse);
  for_each_index(lse.ext, [&](extents<4> const& i) {
    auto const seen = [&](index_t j) {
      return mask.allow(o.batch + i[0], o.head + i[1], o.row + i[2], o.key + j);
    };
    auto const score = [&](index_t j) { return static_cast<double>(x(i[0], i[1], i[2], j)); };
    double top = -std::numeric_limits<double>::infinity();
    for (index_t j = 0; j < x.ext[3]; ++j)
      if (seen(j) && (score(j) > top || std::isnan(score(j)))) top = score(j);
    // -inf - -inf would be NaN; with every allowed score -inf the row is empty
    double const shift = std::isinf(top) && top < 0 ? 0.0 : top;
    double sum = 0;
    for (index_t j = 0; j < x.ext[3]; ++j)
      if (seen(j)) sum += std::exp(score(j) - shift);
    double const total = shift + std::log(sum);
    for (index_t j = 0; j < x.ext[3]; ++j)
      y(i[0], i[1], i[2], j) = seen(j) && sum != 0 ? static_cast<T>(std::exp(score(j) - shift) / sum) : T(0);
    at(lse, i) = static_cast<T>(total);
  });
}

template <class T>
void softmax_backward(view<T const, 4, host_space> y, view<T const, 4, host_space> dy,
                      view<T, 4, host_space> dx) {
  detail::check_softmax_backward(y, dy, dx);
  for_each_index(extents<3>{y.ext[0], y.ext[1], y.ext[2]}, [&](extents<3> const& i) {
    double dot = 0;
    for (index_t j = 0; j < y.ext[3]; ++j) {
      double const p = static_cast<double>(y(i[0], i[1], i[2], j));
      if (p != 0) dot += p * static_cast<double>(dy(i[0], i[1], i[2], j));
    }
    for (index_t j = 0; j < y.ext[3]; ++j) {
      double const p = static_cast<double>(y(i[0], i[1], i[2], j));
      dx(i[0], i[1], i[2], j) =
          p != 0 ? static_cast<T>(p * (static_cast<double>(dy(i[0], i[1], i[2], j)) - dot)) : T(0);
    }
  });
}

}  // namespace smx::loops
