// SPDX-License-Identifier: Apache-2.0
/// \file  Norms, scans, triangular solves and table look-ups as plain loops over host views.
#pragma once

#include <cmath>

#include <smx/backend/loops.hpp>

namespace smx::loops {

template <class T>
void norm(norm_kind kind, double eps, view<T const, 4, host_space> x, view<T const, 4, host_space> gain,
          view<T const, 4, host_space> bias, view<T, 4, host_space> y, view<T, 4, host_space> mean,
          view<T, 4, host_space> scale) {
  index_t const n = x.ext[3];
  detail::check_norm(x, gain, bias, y, mean, scale);
  for_each_index(mean.ext, [&](extents<4> const& i) {
    auto const entry = [&](index_t j) { return static_cast<double>(x(i[0], i[1], i[2], j)); };
    double center = 0, square = 0;
    if (kind == norm_kind::layer) {
      for (index_t j = 0; j < n; ++j) center += entry(j);
      center /= static_cast<double>(n);
    }
    for (index_t j = 0; j < n; ++j) square += (entry(j) - center) * (entry(j) - center);
    double const factor = 1 / std::sqrt(square / static_cast<double>(n) + eps);
    for (index_t j = 0; j < n; ++j) {
      double const shift = bias.size() != 0 ? static_cast<double>(bias(0, 0, 0, j)) : 0.0;
      y(i[0], i[1], i[2], j) =
          static_cast<T>((entry(j) - center) * factor * static_cast<double>(gain(0, 0, 0, j)) + shift);
    }
    at(mean, i) = static_cast<T>(center);
    at(scale, i) = static_cast<T>(factor);
  });
}

/// With h = (x - mean) scale and g = dy gain: dx = scale (g - avg(g) - h avg(g h)); rms norm lacks the avg(g)
/// term.
template <class T>
void norm_backward(norm_kind kind, view<T const, 4, host_space> x, view<T const, 4, host_space> gain,
                   view<T const, 4, host_space> mean, view<T const, 4, host_space> scale,
                   view<T const, 4, host_space> dy, view<T, 4, host_space> dx, view<T, 4, host_space> dgain,
                   view<T, 4, host_space> dbias) {
  index_t const n = x.ext[3];
  detail::check_norm_backward(x, gain, mean, scale, dy, dx, dgain, dbias);
  for_each_index(mean.ext, [&](extents<4> const& i) {
    double const center = static_cast<double>(at(mean, i)), factor = static_cast<double>(at(scale, i));
    auto const h = [&](index_t j) { return (static_cast<double>(x(i[0], i[1], i[2], j)) - center) * factor; };
    auto const upstream = [&](index_t j) { return static_cast<double>(dy(i[0], i[1], i[2], j)); };
    double average = 0, product = 0;
    for (index_t j = 0; j < n; ++j) {
      double const g = upstream(j) * static_cast<double>(gain(0, 0, 0, j));
      average += g;
      product += g * h(j);
    }
    average = kind == norm_kind::layer ? average / static_cast<double>(n) : 0.0;
    product /= static_cast<double>(n);
    for (index_t j = 0; j < n; ++j) {
      double const g = upstream(j), hj = h(j);  // read before dx, which may be dy, is written
      dgain(0, 0, 0, j) = static_cast<T>(static_cast<double>(dgain(0, 0, 0, j)) + g * hj);
      if (dbias.size() != 0) dbias(0, 0, 0, j) = static_cast<T>(static_cast<double>(dbias(0, 0, 0, j)) + g);
      dx(i[0], i[1], i[2], j) =
          static_cast<T>(factor * (g * static_cast<double>(gain(0, 0, 0, j)) - average - hj * product));
    }
  });
}

template <class T> void cumulative_sum(view<T const, 4, host_space> x, view<T, 4, host_space> y) {
  detail::check_cumulative_sum(x, y);
  for_each_index(extents<3>{x.ext[0], x.ext[1], x.ext[2]}, [&](extents<3> const& i) {
    double sum = 0;
    for (index_t j = 0; j < x.ext[3]; ++j)
      y(i[0], i[1], i[2], j) = static_cast<T>(sum += static_cast<double>(x(i[0], i[1], i[2], j)));
  });
}

template <class T>
void decayed_scan(view<T const, 4, host_space> a, view<T const, 4, host_space> x, view<T, 4, host_space> y) {
  detail::check_decayed_scan(a, x, y);
  for_each_index(extents<3>{x.ext[0], x.ext[1], x.ext[3]}, [&](extents<3> const& i) {
    double state = 0;
    for (index_t t = 0; t < x.ext[2]; ++t) {
      double const decay = std::exp(static_cast<double>(a(i[0], i[1], t, a.ext[3] == 1 ? 0 : i[2])));
      state = decay * state + static_cast<double>(x(i[0], i[1], t, i[2]));
      y(i[0], i[1], t, i[2]) = static_cast<T>(state);
    }
  });
}

template <class T> void solve_unit_lower(op t, view<T const, 4, host_space> a, view<T, 4, host_space> x) {
  detail::check_solve_unit_lower(a, x);
  index_t const n = x.ext[2];
  for_each_index(extents<3>{x.ext[0], x.ext[1], x.ext[3]}, [&](extents<3> const& i) {
    for (index_t step = 0; step < n; ++step) {
      index_t const r = t == op::none ? step : n - 1 - step;
      double value = static_cast<double>(x(i[0], i[1], r, i[2]));
      for (index_t k = 0; k < step; ++k) {
        index_t const c = t == op::none ? k : n - 1 - k;
        double const entry = static_cast<double>(t == op::none ? a(i[0], i[1], r, c) : a(i[0], i[1], c, r));
        value -= entry * static_cast<double>(x(i[0], i[1], c, i[2]));
      }
      x(i[0], i[1], r, i[2]) = static_cast<T>(value);
    }
  });
}

/// Throws unless every row lies in the table.
inline void check_rows(char const* argument, view<index_t const, 1, host_space> rows, index_t count) {
  for (index_t i = 0; i < rows.ext[0]; ++i)
    expects_value(rows(i) >= 0 && rows(i) < count, argument, "a row inside the table", rows(i));
}

template <class T>
void gather(view<T const, 2, host_space> table, view<index_t const, 1, host_space> rows,
            view<T, 2, host_space> y) {
  detail::check_gather(table, rows, y);
  check_rows("gather: rows", rows, table.ext[0]);
  for_each_index(y.ext, [&](extents<2> const& i) { at(y, i) = table(rows(i[0]), i[1]); });
}

template <class T>
void scatter_add(view<index_t const, 1, host_space> rows, view<T const, 2, host_space> dy,
                 view<T, 2, host_space> dtable) {
  detail::check_scatter_add(rows, dy, dtable);
  check_rows("scatter_add: rows", rows, dtable.ext[0]);
  for_each_index(dy.ext, [&](extents<2> const& i) { dtable(rows(i[0]), i[1]) += at(dy, i); });
}

}  // namespace smx::loops
