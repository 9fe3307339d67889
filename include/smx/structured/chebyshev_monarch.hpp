// SPDX-License-Identifier: Apache-2.0
/// \file  Triangular Monarch matrices for polynomials in the Chebyshev basis, last degree first.
///
/// With powers Z^{s_a} replaced by T_{s_a}(x), the polynomials q_j = prod_a sum_{c <= j_a} W_a[j mod s_a][c,
/// j_a] T_c(T_{s_a}(x)) have degree j, so that a signal whose position i is the coefficient of degree n - 1 -
/// i stays causal under products: the coefficient of degree 2 n - 2 - i of a product knows the first i + 1 of
/// each factor. Counted from the top degree down the matrix of coefficients is a triangular Monarch matrix C
/// (triangular_monarch.hpp). Its rows belong to the products of T_{i_a s_a}; the fold F turns those into
/// single T_m, one digit after the other, by
///
///   T_{q s} T_r = (T_{q s + r} + T_{q s - r}) / 2,     0 < r < s, q > 0
///
/// and between single T the top coefficients of a product are half of a convolution: T_i T_j = (T_{i+j} +
/// T_{|i-j|}) / 2, |i - j| <= n - 1. This class is F C and its inverse; F takes O(n) work a digit and is
/// lower triangular too: row t of a stage adds half of row t - 2 (t mod s) - 2.
#pragma once

#include <smx/structured/convolution.hpp>
#include <smx/structured/triangular_monarch.hpp>

namespace smx {

/// F C for the first `rows` positions; members as in triangular_monarch. `factors`, top digit first, are
/// those of n; `product`: positions count down from degree 2 n - 1 instead of n - 1.
template <class T, class S> class chebyshev_monarch_matrix {
 public:
  using inner = triangular_monarch<T, S>;
  template <int R> using read = view<T const, R, S>;
  template <int R> using write = view<T, R, S>;
  template <class V> using digits_of = typename inner::template digits_of<V>;
  using blocks_in = typename inner::blocks_in;
  using blocks_out = typename inner::blocks_out;
  using unit_rows = typename inner::unit_rows;

  chebyshev_monarch_matrix(monarch_digits const& factors, index_t rows, bool product)
      : c_(factors, rows), order_(factors.size()) {
    index_t s = 1;
    for (int a = 0; a < order_; s *= digit_[a], ++a) {
      digit_[a] = factors[order_ - 1 - a] * (product && a + 1 == order_ ? 2 : 1);
      low_[a] = s;
    }
  }

  index_t padded() const { return c_.padded(); }
  template <class B> blocks_in matrices(B& be, blocks_in const& w) const { return c_.matrices(be, w); }
  template <class B> unit_rows solvers(B& be, blocks_in const& w) const { return c_.solvers(be, w); }
  template <class B> blocks_out zero_gradients(B& be, blocks_in const& w) const {
    return c_.zero_gradients(be, w);
  }
  template <class B>
  void add_gradients(B& be, blocks_in const& w, blocks_out const& dm, blocks_out const& dw) const {
    c_.add_gradients(be, w, dm, dw);
  }

  /// F C x; keep sees the inputs of the stages of C, then those of F, numbered on.
  template <class B, class Keep>
  write<3> product(B& be, blocks_in const& m, index_t g, write<3> x, Keep const& keep) const {
    write<3> const v = c_.product(be, m, g, x, keep);
    for (int a = 1; a < order_; ++a) {
      keep(order_ + a - 1, as_input(v));
      fold(be, op::none, false, a, v);
    }
    return v;
  }
  /// x := C^-1 F^-1 x; keep sees the outputs of the stages.
  template <class B, class Keep>
  void solve(B& be, unit_rows const& m, index_t g, write<3> x, Keep const& keep) const {
    for (int a = order_ - 1; a > 0; --a) {
      fold(be, op::none, true, a, x);
      keep(order_ + a - 1, as_input(x));
    }
    c_.solve(be, m, g, x, keep);
  }
  template <class B>
  write<3> product_adjoint(B& be, blocks_in const& m, index_t g, digits_of<read<3>> const& input, write<3> dy,
                           blocks_out const& dm) const {
    for (int a = order_ - 1; a > 0; --a) fold(be, op::transpose, false, a, dy);
    return c_.product_adjoint(be, m, g, input, dy, dm);
  }
  template <class B>
  void solve_adjoint(B& be, unit_rows const& m, index_t g, digits_of<read<3>> const& output, write<3> dy,
                     blocks_out const& dm) const {
    c_.solve_adjoint(be, m, g, output, dy, dm);
    for (int a = 1; a < order_; ++a) fold(be, op::transpose, true, a, dy);
  }

  /// Rows that a stream keeps: those of C, and of each fold this and the previous run of s_a rows.
  index_t history_rows() const { return c_.history_rows() + fold_rows(order_); }
  template <class B> void remember(B& be, int stage, index_t count, read<3> panel, write<3> history) const {
    if (stage < order_) return c_.remember(be, stage, count, panel, inner_rows(history, 1));
    int const a = stage - order_ + 1;
    index_t const s = low_[a], begun = count / s * s;
    for (index_t from : {begun - s, begun}) {
      index_t const rows = from == begun ? count - begun : s;
      if (from >= 0 && rows > 0)
        be.copy(slice(panel, 1, from, rows), slice(history, 1, history_row(a, from), rows));
    }
  }
  template <class B>
  void product_step(B& be, blocks_in const& w, index_t t, read<4> x, write<4> history, write<4> y) const {
    c_.product_step(be, w, t, x, inner_rows(history, 2), y);
    for (int a = 1; a < order_; ++a) {
      be.copy(as_input(y), slice(history, 2, history_row(a, t), 1));
      fold_row(be, false, a, t, history, y);
    }
  }
  template <class B>
  void solve_step(B& be, blocks_in const& w, index_t t, read<4> x, write<4> history, write<4> y) const {
    auto frame = be.scope();
    auto const z = be.template scratch<T>(x.ext);
    be.copy(x, z);
    for (int a = order_ - 1; a > 0; --a) {
      fold_row(be, true, a, t, history, z);
      be.copy(as_input(z), slice(history, 2, history_row(a, t), 1));
    }
    c_.solve_step(be, w, t, as_input(z), inner_rows(history, 2), y);
  }

  // What kernels are named by, which nvcc wants to be public.
  /// self x + other r
  struct combine {
    T self, other;
    SMX_HD T operator()(T x, T r) const { return self * x + other * r; }
  };

 private:
  /// Of row q of a fold, or of its inverse. The last row, degrees below s, stands for themselves.
  combine factors_of(int a, index_t q, bool inverse) const {
    T const self = q + 1 == digit_[a] ? T(1) : T(0.5);
    return inverse ? combine{T(1) / self, T(-0.5) / self} : combine{self, T(0.5)};
  }

  /// x := op(F_a) x or op(F_a)^-1 x, in place, in the order in which each row still, or already, finds the
  /// neighbour that it needs.
  template <class B> void fold(B& be, op t, bool inverse, int a, write<3> x) const {
    index_t const s = low_[a];
    if (s == 1) return;
    index_t const run = a + 1 < order_ ? digit_[a] : x.ext[1] / s, step = t == op::none ? -1 : 1;
    auto const v = split_axis(split_axis(x, 1, x.ext[1] / s / run, run * s), 2, run, s);  // (B,high,run,s,C)
    auto const row = [&](index_t q) { return slice(fix_axis(v, 2, q), 2, 0, s - 1); };
    bool const down = (step < 0) != inverse;
    for (index_t k = 0; k < run; ++k) {
      index_t const q = down ? run - 1 - k : k, next = q + step;
      combine f = factors_of(a, q, inverse);
      if (next < 0 || next >= run) {
        if (f.self != T(1)) be.map(scale_by<T>{f.self}, row(q), as_input(row(q)));
        continue;
      }
      be.map(f, row(q), as_input(row(q)), as_input(detail::reversed(row(next), 2)));
    }
  }
  /// Row t of a fold, given the rows before it.
  template <class B>
  void fold_row(B& be, bool inverse, int a, index_t t, write<4> history, write<4> z) const {
    index_t const s = low_[a], r = t % s, q = a + 1 < order_ ? t / s % digit_[a] : t / s;
    if (r == s - 1) return;
    combine const f = factors_of(a, q, inverse);
    if (q == 0)
      be.map(scale_by<T>{f.self}, z, as_input(z));
    else
      be.map(f, z, as_input(z), as_input(slice(history, 2, history_row(a, t - 2 * r - 2), 1)));
  }
  index_t fold_rows(int until) const {
    index_t rows = 0;
    for (int b = 1; b < until; ++b) rows += 2 * low_[b];
    return rows;
  }
  /// The folds' rows come first: how many C keeps depends on the length.
  index_t history_row(int a, index_t t) const { return fold_rows(a) + t % (2 * low_[a]); }
  template <class V> V inner_rows(V const& history, int axis) const {
    index_t const first = fold_rows(order_);
    return slice(history, axis, first, history.ext[axis] - first);
  }

  inner c_;
  int order_;
  index_t digit_[max_triangular_order] = {};
  index_t low_[max_triangular_order] = {};
};

}  // namespace smx
