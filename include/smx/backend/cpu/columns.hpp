// SPDX-License-Identifier: Apache-2.0
/// \file  Recurrences and sums down the rows of matrices whose columns are contiguous: columns are
/// independent, so they are the lanes. An entry's bits do not depend on which columns are computed with it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <smx/backend/cpu/rows.hpp>
#include <smx/core/op.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Columns that run down together: four vectors of AVX-512, a row of them is one or more whole cache lines.
template <class T> inline constexpr index_t column_block = 256 / static_cast<index_t>(sizeof(T));

namespace detail {

/// W vectors of one row; the last one may be a part.
template <class T, int W, bool Whole> struct strip {
  vec<T> v[W];
  SMX_INLINE void read(T const* p, part<T> const& last) {
    SMX_UNROLL for (int w = 0; w < W; ++w) v[w] = Whole ? load(p + w * lanes<T>) : load(p, last);
  }
  SMX_INLINE void write(T* p, part<T> const& last) const {
    SMX_UNROLL for (int w = 0; w < W; ++w) {
      if constexpr (Whole)
        store(p + w * lanes<T>, v[w]);
      else
        store(p, v[w], last);
    }
  }
};

/// f.operator()<strip>(first column, part) over n columns: four vectors at a time, then one, then a part of
/// one.
template <class T, class F> SMX_INLINE void each_strip(index_t n, F const& f) {
  index_t c = 0;
  for (; c + 4 * lanes<T> <= n; c += 4 * lanes<T>) f(strip<T, 4, true>{}, c, part<T>());
  for (; c + lanes<T> <= n; c += lanes<T>) f(strip<T, 1, true>{}, c, part<T>());
  if (c < n) f(strip<T, 1, false>{}, c, part<T>(n - c));
}

}  // namespace detail

/// y_t = exp(a_t) y_(t-1) + x_t for n columns; row t of x is x + t ldx. `shared`: a has one column for all of
/// them. y may be x.
template <class T>
void decayed_scan_columns(index_t rows, index_t n, T const* a, index_t lda, bool shared, T const* x,
                          index_t ldx, T* y, index_t ldy) {
  detail::each_strip<T>(n, [&](auto state, index_t c, part<T> const& last) {
    for (auto& v : state.v) v = vec<T>{};
    auto next = state, decay = state;
    for (index_t t = 0; t < rows; ++t) {
      if (shared) {
        T const one = std::exp(a[t * lda]);
        for (auto& v : decay.v) v = splat(one);
      } else {
        decay.read(a + t * lda + c, last);
        for (auto& v : decay.v) v = exp(v);
      }
      next.read(x + t * ldx + c, last);
      for (std::size_t w = 0; w < std::size(state.v); ++w) state.v[w] = decay.v[w] * state.v[w] + next.v[w];
      state.write(y + t * ldy + c, last);
    }
  });
}

/// X := op(A)^-1 X for n columns of X (rows, n); entry (r, c) of A, unit lower triangular, is a[r a_row + c
/// a_col].
template <class T>
void solve_unit_lower_columns(op t, index_t rows, index_t n, T const* a, index_t a_row, index_t a_col, T* x,
                              index_t ldx) {
  bool const down = t == op::none;
  T const* const first = down ? a : a + (rows - 1) * (a_row + a_col);
  index_t const along = down ? a_row : -a_col,
                across = down ? a_col : -a_row;  // of op(A), from its first row on
  T* const top = down ? x : x + (rows - 1) * ldx;
  index_t const step = down ? ldx : -ldx;
  detail::each_strip<T>(n, [&](auto row, index_t c, part<T> const& last) {
    auto known = row;
    for (index_t r = 0; r < rows; ++r) {
      row.read(top + r * step + c, last);
      for (index_t k = 0; k < r; ++k) {
        known.read(top + k * step + c, last);
        T const entry = first[r * along + k * across];
        for (std::size_t w = 0; w < std::size(row.v); ++w) row.v[w] -= entry * known.v[w];
      }
      row.write(top + r * step + c, last);
    }
  });
}

/// sums[c] := sum over r < rows of f(r, at), for n columns; see each_entry for f.
template <class F> SMX_INLINE void sum_columns(index_t rows, index_t n, double* sums, F const& f) {
  std::fill(sums, sums + n, 0.0);
  for (index_t r = 0; r < rows; ++r)
    each_entry(n, [&](auto at) { at(sums, at(static_cast<double const*>(sums)) + f(r, at)); });
}

/// to += x
template <class T> void add_row(index_t n, T const* x, T* to) {
  detail::each_strip<T>(n, [=](auto sum, index_t c, part<T> const& last) {
    auto more = sum;
    sum.read(to + c, last);
    more.read(x + c, last);
    for (std::size_t w = 0; w < std::size(sum.v); ++w) sum.v[w] += more.v[w];
    sum.write(to + c, last);
  });
}

/// to[c] := the largest of the column, NaN if one entry is NaN.
template <class T> void max_columns(index_t rows, index_t n, T const* x, index_t ldx, T* to) {
  detail::each_strip<T>(n, [&](auto top, index_t c, part<T> const& last) {
    for (auto& v : top.v) v = splat(-std::numeric_limits<T>::infinity());
    auto next = top;
    for (index_t r = 0; r < rows; ++r) {
      next.read(x + r * ldx + c, last);
      for (std::size_t w = 0; w < std::size(top.v); ++w)
        top.v[w] = next.v[w] > top.v[w] || next.v[w] != next.v[w] ? next.v[w] : top.v[w];
    }
    top.write(to + c, last);
  });
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
