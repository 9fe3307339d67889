// SPDX-License-Identifier: Apache-2.0
/// \file  Learnable causal Monarch mixing: a causal convolution between two triangular Monarch matrices.
///
/// With polynomials q_j of lowest degree j (structured/triangular_monarch.hpp) as bases of the input, the
/// kernel and the output, the product of the polynomials sum k_j q1_j and sum u_j q2_j, written in the basis
/// q0, is causal (D. Fu et al., "Monarch Mixer: A Simple Sub-Quadratic GEMM-Based Architecture", NeurIPS
/// 2023, theorem 3; min degree j, max degree < N/2). Multiplying polynomials is convolving their
/// coefficients, so that all is real and needs neither padded digits nor twiddles:
///
///   y = C0^-1 conv(C1 k, C2 x),     every channel with its own k, C0, C1, C2 shared by groups of channels
///
/// With C0 = C1 = C2 = I (weights 0) this is the causal convolution; in general it is no function of i - j.
///
/// Cost: 2 L (d_1 + ... + d_p) flops for each of the three matrices and a long convolution. A step costs 2
/// (d_1
/// + ... + d_p) a channel for C2, as much for C0^-1, and the convolution's step.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <smx/mixers/causal_monarch_state.hpp>
#include <smx/mixers/long_convolution.hpp>
#include <smx/structured/channel_panels.hpp>
#include <smx/structured/chebyshev_monarch.hpp>
#include <smx/structured/triangular_monarch.hpp>

namespace smx {

/// What the polynomials are written in. powers: of lowest degree i at position i. chebyshev: Chebyshev
/// polynomials, of degree n - 1 - i at position i, n = d_0 ... d_{p-1} > length (chebyshev_monarch.hpp).
enum class polynomial_basis : char { powers, chebyshev };

/// Shapes: x, y (B,H,L',D) with L' <= length; heads share weights. k (D,length); of C2 "input", C1 "kernel",
/// C0 "output": digit a of the position, 0 the lowest, has blocks (groups, s_a, d_a, d_a), s_a = d_0 ...
/// d_{a-1}; group g are the channels g D / groups onwards. Entries above a diagonal are not read, diagonals
/// are exp(theta). Any strides along x and y; y may be x; dx apart from x and dy; last axes of blocks
/// contiguous.
///
/// Evaluation::exact keeps rows from later positions bit for bit. With a transform a later position moves row
/// i by at most long_convolution::rounding_bound(L) ||C1 k||_1 ||C2 x||_2 sum_j |C0^-1[i,j]|.
///
/// Throws precondition_error for orders outside 2..4, factors that do not multiply up to the length
/// (chebyshev: length + 1; padded in the top digit only), groups that do not divide the channels, other
/// extents.
template <Compute T, evaluation How = evaluation::transform,
          polynomial_basis Basis = polynomial_basis::powers>
struct causal_monarch {
  using scalar = T;
  using convolution = long_convolution<T, convolution_kind::causal, How>;
  static constexpr bool exact = How == evaluation::exact;
  static constexpr bool is_chebyshev = Basis == polynomial_basis::chebyshev;
  static constexpr traits about{.name = is_chebyshev ? exact ? "chebyshev_monarch_exact" : "chebyshev_monarch"
                                        : exact      ? "causal_monarch_exact"
                                                     : "causal_monarch",
                                .causality = exact ? causality::exact : causality::rounding,
                                .streaming = true,
                                .flops_exponent = 1.5};
  static constexpr int input_count = 1;

  index_t channels = 0;
  index_t length = 0;           ///< positions at most
  int order = 2;                ///< digits of a position: 2, 3 or 4
  monarch_digits factors = {};  ///< of the length, top digit first; empty: monarch_factors(length, order)
  index_t groups = 1;           ///< of channels, each with blocks of its own
  bool direct_kernel = false;   ///< whether k itself is the kernel: no C1
  friend bool operator==(causal_monarch const&, causal_monarch const&) = default;

  template <class A> struct weights {
    array<A, T, 2> k;  // (D,length)
    array<A, T, 4> input[max_triangular_order], kernel[max_triangular_order],
        output[max_triangular_order];  // each (G,s_a,d_a,d_a)
  };
  template <class A> struct inputs { array<A, T, 4> x; };  // (B,H,L,D)
  /// C2 x and its convolution, like x; C1 k (L,D), and what the convolution keeps.
  template <class A> struct tape {
    array<A, T, 4> coefficients, product;
    array<A, T, 2> taps;
    typename convolution::template tape<A> spectra;
  };
  template <class A> using state = causal_monarch_state<A, T>;

  /// The digits of a position, top digit first.
  monarch_digits digits() const {
    expects_value(channels >= 1, "causal_monarch: channels", "at least 1", channels);
    expects_value(length >= 1, "causal_monarch: length", "at least 1", length);
    expects_value(order >= 2 && order <= max_triangular_order, "causal_monarch: order", "2, 3 or 4", order);
    expects_value(groups >= 1 && channels % groups == 0, "causal_monarch: groups", "a divisor of channels",
                  groups);
    if (factors.empty()) return monarch_factors(length + shift, order);
    expects_value(factors.size() == order, "causal_monarch: factors", "as many factors as the order",
                  factors.size());
    check_factors("causal_monarch: factors", factors, length + shift);
    return factors;
  }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    monarch_digits const d = digits();
    f(weight_info<2>{"k", {channels, length}, normal(1, length)}, w.k...);
    index_t s = 1;
    for (int a = 0; a < order; s *= d[order - 1 - a], ++a) {
      index_t const n = d[order - 1 - a];
      extents<4> const e{groups, s, n, n};
      f(weight_info<4>{names.input[a], e, normal(0.1, n)}, w.input[a]...);
      if (!direct_kernel) f(weight_info<4>{names.kernel[a], e, normal(0.1, n)}, w.kernel[a]...);
      f(weight_info<4>{names.output[a], e, normal(0.1, n)}, w.output[a]...);
    }
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    check(a, a.x.ext, "causal_monarch: x");
    index_t const n = a.x.ext[2];
    return {be.template scratch<T>(a.x.ext), be.template scratch<T>(a.x.ext),
            be.template scratch<T>(extents<2>{n, channels}), between(n).make_tape(be, {a.x, {}, {}})};
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a, y.ext, "causal_monarch: y");
    check_weights(w, names);
    auto frame = be.scope();
    bool const record = t.coefficients.size() != 0;
    if (record) check_tape(a.x.ext, t);
    index_t const n = a.x.ext[2];
    auto const v = record ? t.coefficients : be.template scratch<T>(a.x.ext);
    auto const k = record ? t.taps : be.template scratch<T>(extents<2>{n, channels});
    out<B, T, 4> const h = record ? t.product : y;
    multiply_input(be, w, a.x, v, ignore);
    make_taps(be, w, k);
    between(n).forward(be, taps_weight(swap_axes(as_input(k), 0, 1)), {as_input(v), {}, {}}, t.spectra, h);
    solve_output(be, w, as_input(h), y, ignore);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a, dy.ext, "causal_monarch: dy");
    check_weights(w, names);
    check_weights(dw, gradient_names);
    expects_extents("causal_monarch: dx", dx.x.ext, a.x.ext);
    expects(!overlaps(dy, dx.x) && !overlaps(a.x, dx.x),
            "causal_monarch: dx: expected memory apart from dy and x, got an overlap");
    check_tape(a.x.ext, t);
    index_t const n = a.x.ext[2];
    auto const c = input_matrix<B>(n), c0 = output_matrix<B>(n);
    auto frame = be.scope();
    auto const dh = be.template scratch<T>(a.x.ext), dv = be.template scratch<T>(a.x.ext);
    {
      auto inner = be.scope();
      auto const m = c0.solvers(be, views(w.output));
      auto const dm = c0.zero_gradients(be, views(w.output));
      panels().each(a.x.ext[1], [&](index_t h, index_t g, auto const& part) {
        auto frame_of_group = be.scope();
        typename matrix<B>::template digits_of<in<B, T, 3>> rows;
        auto const solved =
            detail::padded_panel<B, T>(be, part(fix_axis(as_input(t.product), 1, h)), c0.padded(), shift);
        c0.solve(be, m, g, solved, recorder(be, rows));
        auto const upstream = detail::padded_panel<B, T>(be, part(fix_axis(dy, 1, h)), c0.padded(), shift);
        c0.solve_adjoint(be, m, g, rows, upstream, dm);
        be.copy(as_input(slice(upstream, 1, shift, n)), part(fix_axis(dh, 1, h)));
      });
      c0.add_gradients(be, views(w.output), dm, views(dw.output));
    }
    out<B, T, 2> const dtaps = be.template scratch<T>(extents<2>{n, channels});
    be.map(constant<T>{T(0)}, dtaps);
    {
      auto inner = be.scope();
      typename convolution::template weights<writes<B>> to;
      to.k = swap_axes(dtaps, 0, 1);
      between(n).backward(be, taps_weight(swap_axes(as_input(t.taps), 0, 1)),
                          {as_input(t.coefficients), {}, {}}, t.spectra, as_input(dh), to, {dv, {}, {}});
    }
    {
      auto inner = be.scope();
      adjoint(be, c, w.input, dw.input, a.x, as_input(dv),
              [&](index_t h, auto const& part, auto const& found) {
                be.copy(found, part(fix_axis(dx.x, 1, h)));
              });
    }
    auto const dk = slice(swap_axes(dw.k, 0, 1), 0, 0, n);  // (L,D)
    if (direct_kernel) {
      be.map(add{}, dk, as_input(dk), as_input(dtaps));
      return;
    }
    if (is_chebyshev) be.map(scale_by<T>{T(0.5)}, dtaps, as_input(dtaps));
    auto const rows = [](auto const& v) { return broadcast_axis(broadcast_axis(v, 0, 1), 0, 1); };
    adjoint(be, c, w.kernel, dw.kernel, rows(slice(swap_axes(w.k, 0, 1), 0, 0, n)), rows(as_input(dtaps)),
            [&](index_t, auto const& part, auto const& found) {
              auto const to = part(broadcast_axis(dk, 0, 1));
              be.map(add{}, to, as_input(to), found);
            });
  }

  /// A stream of at most `capacity` positions, and no more than length. The kernel C1 k is that of this call.
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const {
    expects_value(capacity >= 1, "causal_monarch: capacity", "at least 1", capacity);
    expects_extents("causal_monarch: x", a.x.ext, {-1, -1, -1, channels});
    check_weights(w, names);
    state<owns<B>> s;
    s.capacity = capacity < length ? capacity : length;
    auto const rows = [&](matrix<B> const& c) {
      return tensor<T, 4, space_t<B>>(be.memory(),
                                      extents<4>{a.x.ext[0], a.x.ext[1], c.history_rows(), channels});
    };
    s.input_rows = rows(input_matrix<B>(s.capacity));
    s.output_rows = rows(output_matrix<B>(s.capacity));
    s.taps = tensor<T, 2, space_t<B>>(be.memory(), extents<2>{s.capacity, channels});
    auto frame = be.scope();
    make_taps(be, w, s.taps.view());
    s.coefficients =
        between(s.capacity).make_state(be, taps_weight(stream_taps(s)), {a.x, {}, {}}, s.capacity);
    return s;
  }

  /// The outputs of the positions of x, which follow those that the state has seen.
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const {
    check(a, y.ext, "causal_monarch: y");
    check_weights(w, names);
    index_t const count = a.x.ext[2];
    expect_room(a, s, count);
    if (s.position > 0 || count == 1) {
      for (index_t t = 0; t < count; ++t) step(be, w, {slice(a.x, 2, t, 1)}, s, slice(y, 2, t, 1));
      return;
    }
    auto frame = be.scope();
    auto const v = be.template scratch<T>(a.x.ext), h = be.template scratch<T>(a.x.ext);
    auto const remember = [&](tensor<T, 4, space_t<B>>& rows, index_t n) {
      return [to = rows.view(), n](auto& sub, matrix<B> const& c, int stage, auto const& from,
                                   auto const& part) { c.remember(sub, stage, n, from, part(to)); };
    };
    multiply_input(be, w, a.x, v, remember(s.input_rows, count));
    between(s.capacity).prefill(be, taps_weight(stream_taps(s)), {as_input(v), {}, {}}, s.coefficients, h);
    solve_output(be, w, as_input(h), y, remember(s.output_rows, count + shift));
    s.position = count;
  }

  /// One position: extent 1 along L.
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const {
    check(a, y.ext, "causal_monarch: y");
    check_weights(w, names);
    expects_value(a.x.ext[2] == 1, "causal_monarch: x", "one position along L", a.x.ext[2]);
    expect_room(a, s, 1);
    auto frame = be.scope();
    auto const v = be.template scratch<T>(a.x.ext), h = be.template scratch<T>(a.x.ext);
    input_matrix<B>(s.capacity).product_step(be, views(w.input), s.position, a.x, s.input_rows.view(), v);
    between(s.capacity).step(be, taps_weight(stream_taps(s)), {as_input(v), {}, {}}, s.coefficients, h);
    output_matrix<B>(s.capacity)
        .solve_step(be, views(w.output), s.position + shift, as_input(h), s.output_rows.view(), y);
    ++s.position;
  }

 private:
  template <class B>
  using matrix = std::conditional_t<is_chebyshev, chebyshev_monarch_matrix<T, space_t<B>>,
                                    triangular_monarch<T, space_t<B>>>;
  /// Rows before the first: products of degrees below n have degree 2 n - 2, not 2 n - 1.
  static constexpr index_t shift = is_chebyshev ? 1 : 0;
  template <class B> matrix<B> input_matrix(index_t n) const { return {digits(), n, false}; }
  template <class B> matrix<B> output_matrix(index_t n) const { return {digits(), n + shift, true}; }
  channel_groups panels() const { return {channels, groups}; }
  static constexpr auto ignore = [](auto&&...) {};

  struct weight_names {
    char const *input[max_triangular_order], *kernel[max_triangular_order], *output[max_triangular_order], *k;
  };
  static constexpr weight_names names{{"input0", "input1", "input2", "input3"},
                                      {"kernel0", "kernel1", "kernel2", "kernel3"},
                                      {"output0", "output1", "output2", "output3"},
                                      "causal_monarch: k"};
  static constexpr weight_names gradient_names{{"dinput0", "dinput1", "dinput2", "dinput3"},
                                               {"dkernel0", "dkernel1", "dkernel2", "dkernel3"},
                                               {"doutput0", "doutput1", "doutput2", "doutput3"},
                                               "causal_monarch: dk"};

  static initializer normal(double scale, index_t n) {
    return {initializer::law::normal, scale / std::sqrt(static_cast<double>(n))};
  }
  template <class X> void check(X const& a, extents<4> const& y, char const* y_name) const {
    expects_extents("causal_monarch: x", a.x.ext, {-1, -1, -1, channels});
    expects_value(a.x.ext[2] <= length, "causal_monarch: x", "no more positions than length", a.x.ext[2]);
    expects_extents(y_name, y, a.x.ext);
  }
  template <class W> void check_weights(W const& w, weight_names const& name) const {
    monarch_digits const d = digits();
    expects_extents(name.k, w.k.ext, {channels, length});
    index_t s = 1;
    auto const one = [&](char const* what, auto const& v, index_t n) {
      expects_extents(what, v.ext, {groups, s, n, n});
      expects_contiguous_rows(what, v);
    };
    for (int a = 0; a < order; s *= d[order - 1 - a], ++a) {
      index_t const n = d[order - 1 - a];
      one(name.input[a], w.input[a], n);
      if (!direct_kernel) one(name.kernel[a], w.kernel[a], n);
      one(name.output[a], w.output[a], n);
    }
  }
  template <class V> void check_tape(extents<4> const& x, V const& t) const {
    expects_extents("causal_monarch: tape", t.coefficients.ext, x);
    expects_extents("causal_monarch: tape", t.product.ext, x);
    expects_extents("causal_monarch: tape", t.taps.ext, {x[2], channels});
  }
  template <class A, class S> void expect_room(A const& a, S const& s, index_t count) const {
    expects_value(s.position + count <= s.capacity, "causal_monarch: state",
                  "room for the positions within its capacity and the length; positions", s.position + count);
    auto const& rows = s.input_rows.extents();
    expects_extents("causal_monarch: x", a.x.ext, {rows[0], rows[1], -1, rows[3]});
  }

  convolution between(index_t n) const {
    return {.channels = channels, .taps = n, .skip = false, .truncate = true};
  }
  template <class V> static auto taps_weight(V const& k) {
    typename convolution::template weights<reads_in<typename V::space_type>> w;
    w.k = k;
    return w;
  }
  template <class S> static auto stream_taps(S const& s) { return swap_axes(s.taps.cview(), 0, 1); }

  template <class V> static auto views(V const (&w)[max_triangular_order]) {
    typename triangular_monarch<T, typename V::space_type>::template digits_of<V> v;
    std::copy(w, w + max_triangular_order, v.of);
    return v;
  }

  /// keep for product and solve: copies the panels, in scratch.
  template <class B, class Rows> auto recorder(B& be, Rows& rows) const {
    return [&be, &rows, n = order](int a, in<B, T, 3> p) {
      if (a >= n) return;
      auto copy = be.template scratch<T>(p.ext);
      be.copy(p, copy);
      rows.of[a] = copy;
    };
  }
  /// to = C2 x; keep(sub, C2, stage, panel, part) sees the inputs of the stages.
  template <class B, class Keep>
  void multiply_input(B& be, weights<reads<B>> const& w, in<B, T, 4> x, out<B, T, 4> to,
                      Keep const& keep) const {
    auto frame = be.scope();
    auto const c = input_matrix<B>(x.ext[2]);
    auto const m = c.matrices(be, views(w.input));
    panels().template each_panel<T>(
        be, x.ext, 2 * c.padded(), [&]<class Sub>(Sub& sub, index_t g, auto const& part) {
          auto const v = c.product(sub, m, g, detail::padded_panel<Sub, T>(sub, part(x), c.padded()),
                                   [&](int a, auto const& p) { keep(sub, c, a, p, part); });
          sub.copy(as_input(slice(v, 1, 0, x.ext[2])), part(to));
        });
  }
  /// y = C0^-1 h; keep(sub, C0, stage, panel, part) sees the outputs of the stages.
  template <class B, class Keep>
  void solve_output(B& be, weights<reads<B>> const& w, in<B, T, 4> h, out<B, T, 4> y,
                    Keep const& keep) const {
    auto frame = be.scope();
    auto const c = output_matrix<B>(h.ext[2]);
    auto const m = c.solvers(be, views(w.output));
    panels().template each_panel<T>(
        be, h.ext, 2 * c.padded(), [&]<class Sub>(Sub& sub, index_t g, auto const& part) {
          auto const v = detail::padded_panel<Sub, T>(sub, part(h), c.padded(), shift);
          c.solve(sub, m, g, v, [&](int a, auto const& p) { keep(sub, c, a, p, part); });
          sub.copy(as_input(slice(v, 1, shift, h.ext[2])), part(y));
        });
  }
  /// to (n,D) = the first n taps of the kernel, C1 k or k itself.
  template <class B> void make_taps(B& be, weights<reads<B>> const& w, out<B, T, 2> to) const {
    index_t const n = to.ext[0];
    auto const k = swap_axes(slice(w.k, 1, 0, n), 0, 1);  // (n,D)
    if (direct_kernel) return be.copy(k, to);
    auto const c = input_matrix<B>(n);
    auto frame = be.scope();
    auto const m = c.matrices(be, views(w.kernel));
    panels().each(1, [&](index_t, index_t g, auto const& part) {
      auto inner = be.scope();
      auto const v = c.product(
          be, m, g, detail::padded_panel<B, T>(be, part(broadcast_axis(k, 0, 1)), c.padded()), ignore);
      be.copy(as_input(slice(v, 1, 0, n)), part(broadcast_axis(to, 0, 1)));
    });
    if (is_chebyshev) be.map(scale_by<T>{T(0.5)}, to, as_input(to));
  }
  /// The adjoint of v = C x: dw += the gradient of the blocks, and give(head, part, dx of the part (B,n,C)).
  template <class B, class W, class DW, class Give>
  void adjoint(B& be, matrix<B> const& c, W const& w, DW const& dw, in<B, T, 4> x, in<B, T, 4> dv,
               Give const& give) const {
    auto const m = c.matrices(be, views(w));
    auto const dm = c.zero_gradients(be, views(w));
    panels().each(x.ext[1], [&](index_t h, index_t g, auto const& part) {
      auto frame = be.scope();
      typename matrix<B>::template digits_of<in<B, T, 3>> rows;
      c.product(be, m, g, detail::padded_panel<B, T>(be, part(fix_axis(x, 1, h)), c.padded()),
                recorder(be, rows));
      auto const upstream = detail::padded_panel<B, T>(be, part(fix_axis(dv, 1, h)), c.padded());
      give(h, part, as_input(slice(c.product_adjoint(be, m, g, rows, upstream, dm), 1, 0, x.ext[2])));
    });
    c.add_gradients(be, views(w), dm, views(dw));
  }
};

/// In the Chebyshev basis: y = (F C0)^-1 shifted(conv(F C1 k / 2, F C2 x)), F the fold of products T_{i_a
/// s_a} into single T, shifted by one position because the product's top degree is 2 n - 2. A direct k is F
/// C1 k / 2.
template <class T, evaluation How = evaluation::transform>
using chebyshev_monarch = causal_monarch<T, How, polynomial_basis::chebyshev>;

}  // namespace smx
