// SPDX-License-Identifier: Apache-2.0
/// \file  A learned dense mixing matrix along the sequence: y = W x, W (L',L), optionally causal (lower
/// triangular).
///
/// The baseline of every curve. Cost: 2 L' L flops a channel (the causal form multiplies the zeros too), L' L
/// weights. Causal: the part of W above the diagonal is never read (a NaN there, or in a later position of x,
/// changes nothing) and its gradient is 0; row i depends on x[0..i] bit for bit.
#pragma once

#include <cmath>

#include <smx/backend/shapes.hpp>
#include <smx/mixers/concept.hpp>

namespace smx {

/// Causal = false: y[i] = sum_j W[i,j] x[j]. Causal = true: the sum stops at j = i.
/// Shapes: x (B,H,L,D), W (L',L), y (B,H,L',D). Throws precondition_error for other extents, a
/// last axis that is not contiguous, y that overlaps x, dx that overlaps x or dy.
template <Compute T, bool Causal = false> struct dense {
  using scalar = T;
  static constexpr traits about{.name = Causal ? "dense_causal" : "dense",
                                .causality = Causal ? causality::exact : causality::none,
                                .flops_exponent = 2};

  index_t length = 0;         ///< L
  index_t output_length = 0;  ///< L'; 0: L. Causal needs L' = L.
  friend bool operator==(dense const&, dense const&) = default;

  template <class A> struct weights { array<A, T, 2> w; };  // (L',L)
  template <class A> struct inputs { array<A, T, 4> x; };   // (B,H,L,D)
  static constexpr int input_count = 1;
  template <class A> struct tape {};

  index_t rows() const { return output_length == 0 ? length : output_length; }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    f(
        weight_info<2>{
            "w", {rows(), length}, {initializer::law::normal, 1 / std::sqrt(static_cast<double>(length))}},
        w.w...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }

  template <class X> extents<4> output_extents(X const& x) const {
    extents<4> e = x.x.extents();
    e[2] = rows();
    return e;
  }

  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    check(a.x, w.w);
    expects_extents("dense: y", y.ext, output_extents(a));
    expects_contiguous_rows("dense: y", y);
    expects(!overlaps(a.x, y), "dense: y: expected memory apart from x, got an overlap");
    if constexpr (!Causal) {
      be.gemm(op::none, op::none, T(1), matrix(w.w), a.x, T(0), y);
    } else {
      each_block(be, w.w, [&](index_range rows, in<B, T, 4> diagonal) {
        auto const yi = rows_of(y, rows);  // (B,H,I,D)
        be.gemm_select(op::none, op::none, T(1), diagonal, rows_of(a.x, rows), T(0), yi);
        if (rows.first > 0)
          be.gemm(op::none, op::none, T(1), block(w.w, rows, before(rows)), rows_of(a.x, before(rows)), T(1),
                  yi);
      });
    }
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w.w);
    expects_extents("dense: dy", dy.ext, output_extents(a));
    expects_extents("dense: dx", dx.x.ext, a.x.ext);
    expects_extents("dense: dw", dw.w.ext, w.w.ext);
    expects_contiguous_rows("dense: dy", dy);
    expects_contiguous_rows("dense: dx", dx.x);
    expects_contiguous_rows("dense: dw", dw.w);
    expects(!overlaps(dy, dx.x) && !overlaps(a.x, dx.x),
            "dense: dx: expected memory apart from dy and x, got an overlap");
    if constexpr (!Causal) {
      be.gemm(op::transpose, op::none, T(1), matrix(w.w), dy, T(0), dx.x);
      each_item(a.x.ext, [&](index_t b, index_t h) {
        be.gemm(op::none, op::transpose, T(1), one(dy, b, h), one(a.x, b, h), T(1), matrix(dw.w));
      });
    } else {
      each_block(be, w.w, [&](index_range rows, in<B, T, 4> diagonal) {
        auto const di = rows_of(dx.x, rows);  // (B,H,I,D)
        be.gemm_select(op::transpose, op::none, T(1), diagonal, rows_of(dy, rows), T(0), di);
        index_range const after{rows.last, length};
        if (after.first < length)
          be.gemm(op::transpose, op::none, T(1), block(w.w, after, rows), rows_of(dy, after), T(1), di);
        auto frame = be.scope();
        auto g = be.template scratch<T>(extents<2>{rows.last - rows.first, rows.last - rows.first});
        each_item(a.x.ext, [&](index_t b, index_t h) {
          auto const dyi = rows_of(one(dy, b, h), rows);  // (1,1,I,D)
          be.gemm(op::none, op::transpose, T(1), dyi, rows_of(one(a.x, b, h), rows), b + h == 0 ? T(0) : T(1),
                  matrix(g));
          if (rows.first > 0)
            be.gemm(op::none, op::transpose, T(1), dyi, rows_of(one(a.x, b, h), before(rows)), T(1),
                    block(dw.w, rows, before(rows)));
        });
        auto const to = slice(slice(dw.w, 0, rows.first, g.ext[0]), 1, rows.first, g.ext[1]);
        auto kept = be.template scratch<T>(g.ext);
        be.generate(lower_triangle<B>{g}, kept);
        be.map(add{}, to, as_input(to), as_input(kept));
      });
    }
  }

  // What kernels are named by, which nvcc wants to be public.
  /// Entry (i,j) of a square matrix on and below the diagonal, 0 above it, where nothing is read.
  template <class B> struct lower_triangle {
    in<B, T, 2> m;
    SMX_HD T operator()(extents<2> const& i) const { return i[1] <= i[0] ? m(i[0], i[1]) : T(0); }
  };

 private:
  /// Rows of W that are taken together: their diagonal block is masked, what lies left of it is a plain
  /// product.
  static constexpr index_t block_rows = 128;

  template <class X, class W> void check(X const& x, W const& w) const {
    expects_value(length >= 1, "dense: length", "at least 1", length);
    expects_value(rows() >= 1, "dense: output_length", "at least 1", rows());
    expects_value(!Causal || rows() == length, "dense: output_length", "that of a causal matrix, length",
                  rows());
    expects_extents("dense: x", x.ext, {-1, -1, length, -1});
    expects_extents("dense: w", w.ext, {rows(), length});
    expects_contiguous_rows("dense: x", x);
    expects_contiguous_rows("dense: w", w);
  }
  static index_range before(index_range rows) { return {0, rows.first}; }
  template <class V> static auto matrix(V const& w) { return broadcast_axis(broadcast_axis(w, 0, 1), 0, 1); }
  template <class V> static auto block(V const& w, index_range rows, index_range cols) {
    return matrix(
        slice(slice(w, 0, rows.first, rows.last - rows.first), 1, cols.first, cols.last - cols.first));
  }
  template <class V> static V rows_of(V const& v, index_range rows) {
    return slice(v, 2, rows.first, rows.last - rows.first);
  }
  template <class V> static V one(V const& v, index_t b, index_t h) {
    return slice(slice(v, 0, b, 1), 1, h, 1);
  }

  template <class F> static void each_item(extents<4> const& e, F const& f) {
    for (index_t b = 0; b < e[0]; ++b)
      for (index_t h = 0; h < e[1]; ++h) f(b, h);
  }
  /// f(rows, their diagonal block of W with zeros above the diagonal)
  template <class B, class F> void each_block(B& be, in<B, T, 2> w, F const& f) const {
    for (index_t first = 0; first < length; first += block_rows) {
      auto frame = be.scope();
      index_range const rows{first, first + block_rows < length ? first + block_rows : length};
      index_t const n = rows.last - rows.first;
      auto diagonal = be.template scratch<T>(extents<2>{n, n});
      be.generate(lower_triangle<B>{slice(slice(w, 0, first, n), 1, first, n)}, diagonal);
      f(rows, in<B, T, 4>(matrix(diagonal)));
    }
  }
};

}  // namespace smx
