// SPDX-License-Identifier: Apache-2.0
/// \file  Products, solves and outer products with batches of lower triangular blocks, as programs over
/// primitives.
///
/// Rows are taken 16 at a time: the triangle on the diagonal with a product that leaves out its zeros, so
/// that a NaN in a later row never meets an earlier one, and what lies left of it as a plain product. That is
/// half of the square's work for large blocks. Blocks (n0,n1,d,d), panels (n0,n1,d,C); a batch extent of 1
/// broadcasts blocks.
#pragma once

#include <smx/backend/shapes.hpp>

namespace smx::detail {

template <class B, class T> class lower_blocks {
 public:
  using read = in<B, T, 4>;
  using write = out<B, T, 4>;

  /// y = op(W) x + beta y, zeros stored above the diagonals.
  static void multiply(B& be, op t, read w, read x, T beta, write y) {
    index_t const d = x.ext[2];
    each_strip(d, false, [&](index_t first, index_t last) {
      auto const target = rows(y, first, last);
      be.gemm_select(t, op::none, T(1), part(w, first, last, first, last), rows(x, first, last), beta,
                     target);
      if (t == op::none && first > 0)
        be.gemm(t, op::none, T(1), part(w, first, last, 0, first), rows(x, 0, first), T(1), target);
      if (t == op::transpose && last < d)
        be.gemm(t, op::none, T(1), part(w, last, d, first, last), rows(x, last, d), T(1), target);
    });
  }
  /// x := op(W)^-1 x for unit diagonals; nothing on or above them is read.
  static void solve(B& be, op t, read w, write x) {
    index_t const d = x.ext[2];
    each_strip(d, t == op::transpose, [&](index_t first, index_t last) {
      auto const target = rows(x, first, last);
      if (t == op::none && first > 0)
        be.gemm(t, op::none, T(-1), part(w, first, last, 0, first), as_input(rows(x, 0, first)), T(1),
                target);
      if (t == op::transpose && last < d)
        be.gemm(t, op::none, T(-1), part(w, last, d, first, last), as_input(rows(x, last, d)), T(1), target);
      be.solve_unit_lower(t, broadcast_batch(part(w, first, last, first, last), x.ext[0], x.ext[1]), target);
    });
  }
  /// dw += sign up x^T on and below the diagonals; above them at most the 16 rows of a triangle are touched.
  static void outer(B& be, T sign, read up, read x, write dw) {
    each_strip(x.ext[2], false, [&](index_t first, index_t last) {
      be.gemm(op::none, op::transpose, sign, rows(up, first, last), rows(x, 0, last), T(1),
              part(dw, first, last, 0, last));
    });
  }

 private:
  static constexpr index_t strip = 16;

  template <class F> static void each_strip(index_t d, bool upwards, F const& f) {
    index_t const count = (d + strip - 1) / strip;
    for (index_t k = 0; k < count; ++k) {
      index_t const first = (upwards ? count - 1 - k : k) * strip;
      f(first, first + strip < d ? first + strip : d);
    }
  }
  template <class V> static V rows(V const& v, index_t first, index_t last) {
    return slice(v, 2, first, last - first);
  }
  template <class V> static V part(V const& m, index_t r0, index_t r1, index_t c0, index_t c1) {
    return slice(slice(m, 2, r0, r1 - r0), 3, c0, c1 - c0);
  }
};

/// z += sign sum_{j < count} w_j past_j for every group of channels: z (B,H,1,D), w (G,n) of which `count`
/// are used, past (B,H,R,D) whose rows first, first + step, ... are meant.
template <class B, class T>
void add_past_rows(B& be, T sign, in<B, T, 2> w, index_t count, in<B, T, 4> past, index_t first, index_t step,
                   out<B, T, 4> z) {
  if (count == 0) return;
  index_t const groups = w.ext[0];
  auto const row = broadcast_axis(broadcast_axis(slice(w, 1, 0, count), 1, 1), 0, 1);  // (1,G,1,count)
  auto const split = [&](auto const& v) {  // (B,n,D) -> (B,G,n,D/G)
    return swap_axes(split_axis(v, 2, groups, v.ext[2] / groups), 1, 2);
  };
  for (index_t h = 0; h < z.ext[1]; ++h) {
    auto rows = slice(fix_axis(past, 1, h), 1, first, count);  // (B,count,D)
    rows.str[1] *= step;
    be.gemm(op::none, op::none, sign, row, split(rows), T(1), split(fix_axis(z, 1, h)));
  }
}

}  // namespace smx::detail
