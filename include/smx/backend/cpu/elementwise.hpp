// SPDX-License-Identifier: Apache-2.0
/// \file  Elementwise loops over one row, which compilers vectorise, and the walk of map over all rows.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include <smx/backend/cpu/activations.hpp>
#include <smx/backend/cpu/map_walk.hpp>
#include <smx/core/functors.hpp>
#include <smx/core/view.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// y := f(x...) over one row of n entries; for what activations.hpp has, on vectors.
template <class F, class Y, class... X>
SMX_INLINE void map_row(F const& f, index_t n, Y* y, index_t sy, std::pair<X const*, index_t>... x) {
  if constexpr (OnVectors<F, Y, X...>) {
    map_vectors(f, n, y, sy, x...);
  } else if (sy == 1 && (... && (x.second == 1))) {
    if constexpr (std::is_same_v<F, identity> && (... && std::is_same_v<X, Y>)) {
      (std::memmove(y, x.first, static_cast<std::size_t>(n) * sizeof(Y)), ...);
      return;
    }
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

/// map_row over rows, behind one signature for all types.
template <class F, class Y, class... X>
void map_rows_of(void const* f, index_t rows, index_t n, map_run const* runs) {
  F const& function = *static_cast<F const*>(f);
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    auto const call = [&](void* y, auto... x) {
      map_row(function, n, static_cast<Y*>(y), runs[0].step,
              std::pair<X const*, index_t>(static_cast<X const*>(x), runs[I + 1].step)...);
    };
    for (index_t i = 0; i < rows; ++i) call(runs[0].row(i), runs[I + 1].row(i)...);
  }
  (std::index_sequence_for<X...>{});
}

/// y := f(x...), ready to be walked. Refers to f.
template <class F, class Y, class... X> map_walk make_map_walk(F const& f, Y const& y, X const&... x) {
  static_assert(sizeof...(X) < map_walk::max_arrays);
  using to = typename Y::value_type;
  map_walk walk(&f, map_rows_of<F, to, typename X::value_type...>,
                std::is_same_v<F, identity> && (... && std::is_same_v<typename X::value_type, to>));
  walk.add(y);
  (walk.add(x), ...);
  walk.plan();
  return walk;
}

/// y(i...) := f(i), row by row.
template <class F, class T, int R, class S>
void generate_rows(F const& f, index_t first, view<T, R, S> const& y) {
  extents<R> i = {};
  index_t rows = 1;
  for (int r = 0; r + 1 < R; ++r) rows *= y.ext[r];
  for (index_t row = 0; row < rows; ++row) {
    index_t offset = 0, rest = row;
    for (int r = R - 2; r >= 0; --r) {
      i[r] = rest % y.ext[r];
      rest /= y.ext[r];
      offset += i[r] * y.str[r];
    }
    extents<R> at = i;
    at[0] += first;
    index_t const origin = at[R - 1];
    for (index_t j = 0; j < y.ext[R - 1]; ++j) {
      at[R - 1] = origin + j;
      y.ptr[offset + j * y.str[R - 1]] = static_cast<T>(f(static_cast<extents<R> const&>(at)));
    }
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
