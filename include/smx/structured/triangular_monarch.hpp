// SPDX-License-Identifier: Apache-2.0
/// \file  Lower triangular Monarch matrices: the matrix C, its inverse, their adjoints, a row at a time.
///
/// A position is j = j_0 + j_1 s_1 + ... + j_{p-1} s_{p-1} with s_a = d_0 ... d_{a-1}. Column j of C holds
/// the coefficients of the polynomial q_j(Z) = prod_a sum_{c >= j_a} W_a[j mod s_a][c, j_a] Z^(c s_a): its
/// lowest power is Z^j and its highest one Z^(n-1) at most, which is what makes a product of such polynomials
/// causal (D. Fu et al., "Monarch Mixer", NeurIPS 2023, section 4). The blocks W_a[J] (d_a, d_a), one for
/// each value J < s_a of the digits below, are lower triangular with positive diagonals, so that C is, too:
///
///   C = S_0 S_1 ... S_{p-1},     (S_a x)[.., i, .., J] = sum_{j <= i} W_a[J][i,j] x[.., j, .., J]
///
/// and C^-1 solves one triangular system a block and stage, digit 0 first. Work: n (d_0 + ... + d_{p-1})
/// multiply-adds or half of that, O(p n^(1 + 1/p)); a row of C x or of C^-1 x given the rows before it: d_0 +
/// ... + d_{p-1}.
///
/// Parameters: entry (i,j) below the diagonal is itself; on the diagonal theta stands for exp(theta) > 0, so
/// that the identity is all zeros; above it nothing is read and gradients are 0.
#pragma once

#include <cmath>
#include <limits>

#include <smx/structured/lower_blocks.hpp>
#include <smx/structured/monarch_factors.hpp>

namespace smx {

inline constexpr int max_triangular_order = 4;

/// C for the first `rows` positions of a length whose digits are `factors`, top digit first. Blocks of groups
/// of channels: factor[a] is (G, s_a, d_a, d_a), a = 0 the lowest digit; of the top digit as many rows are
/// used as the positions need. Panels are (B,N,C): columns of one group, N = padded() rows.
template <class T, class S> class triangular_monarch {
 public:
  template <int R> using read = view<T const, R, S>;
  template <int R> using write = view<T, R, S>;
  /// One view for each digit, lowest first.
  template <class V> struct digits_of { V of[max_triangular_order]; };
  using blocks_in = digits_of<read<4>>;    ///< each (G,s_a,d_a,d_a)
  using blocks_out = digits_of<write<4>>;  ///< each (G,s_a,d_a,d_a)
  /// What solves need: rows divided by their diagonal entry, and 1 / diagonal.
  struct unit_rows {
    blocks_in unit;
    digits_of<read<3>> reciprocal;  // each (G,s_a,d_a)
  };

  /// The last argument says what positions count from in other bases (chebyshev_monarch.hpp); powers have one
  /// way.
  triangular_monarch(monarch_digits const& factors, index_t rows, bool = false) : order_(factors.size()) {
    index_t s = 1;
    for (int a = 0; a < order_; ++a) {
      digit_[a] = factors[order_ - 1 - a];
      low_[a] = s;
      if (a + 1 < order_) s *= digit_[a];
    }
    digit_[order_ - 1] = (rows + s - 1) / s;
  }

  int order() const { return order_; }
  index_t padded() const { return low_[order_ - 1] * digit_[order_ - 1]; }
  /// Multiply-adds of C for one column, zeros of the diagonal blocks included.
  index_t work() const {
    index_t sum = 0;
    for (int a = 0; a < order_; ++a) sum += digit_[a];
    return padded() * sum;
  }

  /// The blocks as matrices, in scratch: exponentials on the diagonal, zeros above it.
  template <class B> blocks_in matrices(B& be, blocks_in const& w) const {
    blocks_in to;
    for (int a = 0; a < order_; ++a) {
      auto m = be.template scratch<T>(used(w.of[a], a).ext);
      be.generate(lower_entries{used(w.of[a], a)}, m);
      to.of[a] = m;
    }
    return to;
  }
  template <class B> unit_rows solvers(B& be, blocks_in const& w) const {
    unit_rows to;
    for (int a = 0; a < order_; ++a) {
      auto const from = used(w.of[a], a);
      auto m = be.template scratch<T>(from.ext);
      auto r = be.template scratch<T>(extents<3>{from.ext[0], from.ext[1], from.ext[2]});
      be.generate(unit_lower_entries{from}, m);
      be.generate(reciprocal_entries{from}, r);
      to.unit.of[a] = m;
      to.reciprocal.of[a] = r;
    }
    return to;
  }
  /// Zeros, in scratch, for the gradients of matrices(): what product_adjoint and solve_adjoint add to.
  template <class B> blocks_out zero_gradients(B& be, blocks_in const& w) const {
    blocks_out to;
    for (int a = 0; a < order_; ++a) {
      to.of[a] = be.template scratch<T>(used(w.of[a], a).ext);
      be.map(constant<T>{T(0)}, to.of[a]);
    }
    return to;
  }
  /// dw += the gradient of the parameters, from that of the matrices.
  template <class B>
  void add_gradients(B& be, blocks_in const& w, blocks_out const& dm, blocks_out const& dw) const {
    for (int a = 0; a < order_; ++a) {
      auto frame = be.scope();
      auto kept = be.template scratch<T>(dm.of[a].ext);
      be.generate(parameter_gradient{as_input(dm.of[a]), used(w.of[a], a)}, kept);
      auto const to = used(dw.of[a], a);
      be.map(add{}, to, as_input(to), as_input(kept));
    }
  }

  /// C x for the columns of group g: x (B,N,C) in scratch, which is overwritten, and as much more scratch;
  /// the result is in one of the two. keep(a, panel) sees the input of each stage.
  template <class B, class Keep>
  write<3> product(B& be, blocks_in const& m, index_t g, write<3> x, Keep const& keep) const {
    auto other = be.template scratch<T>(x.ext);
    for (int a = order_ - 1; a >= 0; --a) {
      keep(a, as_input(x));
      stage(be, op::none, a, fix_axis(m.of[a], 0, g), as_input(x), other);
      write<3> const done = other;
      other = x;
      x = done;
    }
    return x;
  }
  /// x := C^-1 x. keep(a, panel) sees the output of each stage.
  template <class B, class Keep>
  void solve(B& be, unit_rows const& m, index_t g, write<3> x, Keep const& keep) const {
    for (int a = 0; a < order_; ++a) {
      solve_stage(be, op::none, a, m, g, x);
      keep(a, as_input(x));
    }
  }
  /// From dy (overwritten) to the gradient of x, with what product's keep saw: dm += dy input^T at each
  /// stage.
  template <class B>
  write<3> product_adjoint(B& be, blocks_in const& m, index_t g, digits_of<read<3>> const& input, write<3> dy,
                           blocks_out const& dm) const {
    auto other = be.template scratch<T>(dy.ext);
    for (int a = 0; a < order_; ++a) {
      outer(be, T(1), a, as_input(dy), input.of[a], fix_axis(dm.of[a], 0, g));
      stage(be, op::transpose, a, fix_axis(m.of[a], 0, g), as_input(dy), other);
      write<3> const done = other;
      other = dy;
      dy = done;
    }
    return dy;
  }
  /// dy := the gradient of x, with what solve's keep saw: dm -= dx output^T at each stage.
  template <class B>
  void solve_adjoint(B& be, unit_rows const& m, index_t g, digits_of<read<3>> const& output, write<3> dy,
                     blocks_out const& dm) const {
    for (int a = order_ - 1; a >= 0; --a) {
      solve_stage(be, op::transpose, a, m, g, dy);
      outer(be, T(-1), a, as_input(dy), output.of[a], fix_axis(dm.of[a], 0, g));
    }
  }

  /// Rows that a stream keeps: of the top digit all, of the others one run of the digit above.
  index_t history_rows() const { return history_row(order_ - 1, 0) + padded(); }
  /// The rows of stage a after `count` positions, from those of a panel (B,N,C) to a history (B,R,C).
  template <class B> void remember(B& be, int a, index_t count, read<3> panel, write<3> history) const {
    index_t const run = a + 1 < order_ ? low_[a + 1] : padded(), rows = a + 1 < order_ ? count % run : count;
    if (rows > 0) be.copy(slice(panel, 1, count - rows, rows), slice(history, 1, history_row(a, 0), rows));
  }
  /// Row t of C x: x, y (B,H,1,D), history (B,H,R,D) of the rows before t.
  template <class B>
  void product_step(B& be, blocks_in const& w, index_t t, read<4> x, write<4> history, write<4> y) const {
    auto frame = be.scope();
    auto z = be.template scratch<T>(x.ext);
    be.copy(x, z);
    for (int a = order_ - 1; a >= 0; --a) {
      be.copy(as_input(z), slice(history, 2, history_row(a, t), 1));
      scale(be, T(1), w.of[a], a, t, z);
      add_past(be, T(1), w.of[a], a, t, as_input(history), z);
    }
    be.copy(as_input(z), y);
  }
  /// Row t of C^-1 x.
  template <class B>
  void solve_step(B& be, blocks_in const& w, index_t t, read<4> x, write<4> history, write<4> y) const {
    auto frame = be.scope();
    auto z = be.template scratch<T>(x.ext);
    be.copy(x, z);
    for (int a = 0; a < order_; ++a) {
      add_past(be, T(-1), w.of[a], a, t, as_input(history), z);
      scale(be, T(-1), w.of[a], a, t, z);
      be.copy(as_input(z), slice(history, 2, history_row(a, t), 1));
    }
    be.copy(as_input(z), y);
  }

  // What kernels are named by, which nvcc wants to be public.
  struct lower_entries {
    read<4> w;
    SMX_HD T operator()(extents<4> const& i) const {
      return i[3] > i[2]   ? T(0)
             : i[3] < i[2] ? w(i[0], i[1], i[2], i[3])
                           : std::exp(w(i[0], i[1], i[2], i[2]));
    }
  };
  struct unit_lower_entries {
    read<4> w;
    SMX_HD T operator()(extents<4> const& i) const {
      if (i[3] >= i[2]) return i[3] == i[2] ? T(1) : T(0);
      return w(i[0], i[1], i[2], i[3]) * std::exp(-w(i[0], i[1], i[2], i[2]));
    }
  };
  struct reciprocal_entries {
    read<4> w;
    SMX_HD T operator()(extents<3> const& i) const { return std::exp(-w(i[0], i[1], i[2], i[2])); }
  };
  struct parameter_gradient {
    read<4> dm, w;
    SMX_HD T operator()(extents<4> const& i) const {
      if (i[3] > i[2]) return T(0);
      T const d = dm(i[0], i[1], i[2], i[3]);
      return i[3] < i[2] ? d : d * std::exp(w(i[0], i[1], i[2], i[2]));
    }
  };
  /// exp(sign theta) of one diagonal entry, for each group.
  struct diagonal_entries {
    read<4> w;
    index_t block, row;
    T sign;
    SMX_HD T operator()(extents<1> const& i) const { return std::exp(sign * w(i[0], block, row, row)); }
  };

 private:
  /// The part of the blocks of digit a that these rows need.
  template <class V> V used(V const& w, int a) const {
    return slice(slice(w, 2, 0, digit_[a]), 3, 0, digit_[a]);
  }

  /// f(blocks (.,.,d,d), panels (n0,n1,d,C)...) for batches that cover a stage; blocks are (s_a,d,d).
  template <class M, class F, class... X>
  void each_batch(int a, M const& m, F const& f, X const&... x) const {
    auto const digits = [&](auto const& v) {  // (B,high,d,low,C)
      return split_axis(split_axis(v, 1, v.ext[1] / low_[a] / digit_[a], digit_[a] * low_[a]), 2, digit_[a],
                        low_[a]);
    };
    if (low_[a] == 1)
      f(broadcast_axis(m, 0, 1), fix_axis(digits(x), 3, 0)...);
    else if (a + 1 == order_)
      f(broadcast_axis(m, 0, 1), swap_axes(fix_axis(digits(x), 1, 0), 1, 2)...);
    else
      for (index_t b = 0; b < batch_of(x...); ++b)
        f(broadcast_axis(m, 0, 1), swap_axes(fix_axis(digits(x), 0, b), 1, 2)...);
  }
  template <class X, class... More> static index_t batch_of(X const& x, More const&...) { return x.ext[0]; }

  /// y = op(S_a) x.
  template <class B> void stage(B& be, op t, int a, read<3> m, read<3> x, write<3> y) const {
    each_batch(
        a, m,
        [&](read<4> const& w, read<4> const& from, write<4> const& to) {
          detail::lower_blocks<B, T>::multiply(be, t, w, from, T(0), to);
        },
        x, y);
  }
  /// x := op(S_a)^-1 x, S_a = diagonal times unit lower triangular.
  template <class B> void solve_stage(B& be, op t, int a, unit_rows const& m, index_t g, write<3> x) const {
    if (t == op::none) divide(be, a, m, g, x);
    each_batch(
        a, fix_axis(m.unit.of[a], 0, g),
        [&](read<4> const& w, write<4> const& to) { detail::lower_blocks<B, T>::solve(be, t, w, to); }, x);
    if (t == op::transpose) divide(be, a, m, g, x);
  }
  template <class B> void divide(B& be, int a, unit_rows const& m, index_t g, write<3> x) const {
    index_t const high = x.ext[1] / low_[a] / digit_[a];
    auto const v = split_axis(split_axis(x, 1, high, digit_[a] * low_[a]), 2, digit_[a], low_[a]);
    auto const r = swap_axes(fix_axis(m.reciprocal.of[a], 0, g), 0, 1);  // (d,s)
    be.map(multiply{}, v, as_input(v),
           broadcast_axis(broadcast_axis(broadcast_axis(r, 2, x.ext[2]), 0, high), 0, x.ext[0]));
  }
  /// dm += sign sum over batch, higher digits and columns of up x^T, in that order.
  template <class B> void outer(B& be, T sign, int a, read<3> up, read<3> x, write<3> dm) const {
    index_t const run = digit_[a] * low_[a];
    auto const digits = [&](read<3> const& v, index_t b, index_t h) {  // (1,low,d,C)
      return swap_axes(split_axis(slice(slice(v, 0, b, 1), 1, h * run, run), 1, digit_[a], low_[a]), 1, 2);
    };
    for (index_t b = 0; b < x.ext[0]; ++b)
      for (index_t h = 0; h < x.ext[1] / run; ++h)
        detail::lower_blocks<B, T>::outer(be, sign, digits(up, b, h), digits(x, b, h),
                                          broadcast_axis(dm, 0, 1));
  }

  /// Where a history keeps position t of stage a: runs of the lower digits first.
  index_t history_row(int a, index_t t) const {
    index_t first = 0;
    for (int b = 1; b <= a; ++b) first += low_[b];
    return first + (a + 1 < order_ ? t % low_[a + 1] : t);
  }
  index_t digit_at(int a, index_t t) const { return a + 1 < order_ ? t / low_[a] % digit_[a] : t / low_[a]; }

  /// z *= exp(sign theta) of the diagonal entry of position t.
  template <class B> void scale(B& be, T sign, read<4> w, int a, index_t t, write<4> z) const {
    auto frame = be.scope();
    index_t const groups = w.ext[0];
    auto factor = be.template scratch<T>(extents<1>{groups});
    be.generate(diagonal_entries{w, t % low_[a], digit_at(a, t), sign}, factor);
    auto const v = split_axis(fix_axis(z, 2, 0), 2, groups, z.ext[3] / groups);  // (B,H,G,D/G)
    be.map(multiply{}, v, as_input(v),
           broadcast_axis(broadcast_axis(broadcast_axis(as_input(factor), 1, v.ext[3]), 0, v.ext[1]), 0,
                          v.ext[0]));
  }
  /// z += sign sum_{j < i} W_a[J][i,j] (row j of stage a).
  template <class B>
  void add_past(B& be, T sign, read<4> w, int a, index_t t, read<4> history, write<4> z) const {
    index_t const i = digit_at(a, t), block = t % low_[a];
    detail::add_past_rows<B, T>(be, sign, fix_axis(fix_axis(w, 1, block), 1, i), i, history,
                                history_row(a, block), low_[a], z);
  }

  int order_;
  index_t digit_[max_triangular_order] = {};
  index_t low_[max_triangular_order] = {};
};

/// Blocks given as matrices to parameters: below the diagonal as they are, the logarithm of the diagonal,
/// zeros above, which are not read. blocks, parameters (G,s,d,d) in host memory. Throws precondition_error
/// for a diagonal entry that is not a positive number: such a matrix has no causal inverse or no parameters.
template <class T>
void triangular_parameters(view<T const, 4, host_space> blocks, view<T, 4, host_space> parameters) {
  expects_extents("triangular_parameters: blocks", blocks.ext, {-1, -1, -1, blocks.ext[2]});
  expects_extents("triangular_parameters: parameters", parameters.ext, blocks.ext);
  extents<4> const e = blocks.ext;
  for (index_t n = 0; n < e[0] * e[1] * e[2]; ++n) {
    T const d = blocks(n / e[2] / e[1], n / e[2] % e[1], n % e[2], n % e[2]);
    expects_value(d > T(0) && d <= std::numeric_limits<T>::max(), "triangular_parameters: blocks",
                  "positive numbers on every diagonal; block and row", n);
  }
  for (index_t g = 0; g < e[0]; ++g)
    for (index_t s = 0; s < e[1]; ++s)
      for (index_t i = 0; i < e[2]; ++i)
        for (index_t j = 0; j < e[3]; ++j)
          parameters(g, s, i, j) = j < i ? blocks(g, s, i, j) : j == i ? std::log(blocks(g, s, i, i)) : T(0);
}

}  // namespace smx
