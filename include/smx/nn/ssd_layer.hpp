// SPDX-License-Identifier: Apache-2.0
/// \file  The layer of Mamba-2 around `ssd`. T. Dao and A. Gu, "Transformers are SSMs", ICML 2024.
///
///   (z, c, dt) = W_in x;  (x', B, C) = silu(short(c));  y = W_out norm(silu(z) ssd(x', dt, B, C))
///
/// norm: root mean square over the I / G inner channels of each group. Cost: 2 D (2 I + 2 G N + H) + 2 D I
/// flops a row and the scan; a stream keeps I N + 3 (I + 2 G N) numbers, whatever its length.
#pragma once

#include <smx/mixers/ssd.hpp>
#include <smx/nn/activation.hpp>
#include <smx/nn/linear.hpp>
#include <smx/nn/norm.hpp>
#include <smx/nn/short_convolution.hpp>

namespace smx {

template <class A, class T> struct ssd_layer_state {
  short_convolution_state<A, T> rows;
  scan_state<A, T> scan;
  index_t capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    short_convolution_state<A, T>::for_each_array(detail::prefixed("short.", f), s.rows...);
    scan_state<A, T>::for_each_array(detail::prefixed("scan.", f), s.scan...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    short_convolution_state<A, T>::for_each_counter(detail::prefixed("short.", f), s.rows...);
    scan_state<A, T>::for_each_counter(detail::prefixed("scan.", f), s.scan...);
    f("capacity", s.capacity...);
    f("position", s.position...);
  }
  index_t tokens() const { return position; }
};

/// Shapes: x, y (B,1,L,D). W_in has rows for z (I), x' (I), B and C (G N each) and dt (H), as Mamba-2 orders
/// them. Throws precondition_error for other extents, heads that do not divide I, groups that do not divide
/// the heads, for what the parts refuse, and for overlaps.
template <Compute T> struct ssd_layer {
  using scalar = T;
  static constexpr traits about{.name = "ssd_layer",
                                .causality = causality::exact,
                                .data_dependent = true,
                                .streaming = true,
                                .flops_exponent = 1};
  static constexpr int input_count = 1;

  index_t channels = 0;        ///< D
  index_t inner_channels = 0;  ///< I; 0: 2 D
  index_t heads = 1;           ///< H
  index_t groups = 1;          ///< G
  index_t state_size = 64;     ///< N
  index_t taps = 4;            ///< of the short convolution
  bool bias = false;           ///< of W_in and W_out
  double eps = 1e-5;
  double deviation = 0;  ///< of W_in and W_out, as in linear
  ssd<T> mix = {};       ///< its options; heads are set from here
  friend bool operator==(ssd_layer const&, ssd_layer const&) = default;

  template <class A> struct weights {
    typename linear<T>::template weights<A> in, out;
    typename short_convolution<T>::template weights<A> rows;
    typename ssd<T>::template weights<A> mix;
    typename rms_norm<T>::template weights<A> norm;
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {
    array<A, T, 4> p, c, s, y, n;  // W_in x; short(c), its silu; the gated scan and its norm
    typename ssd<T>::template tape<A> mix;
    array<A, T, 4> mean, scale;  // of the norm: (B,G,L,1)
  };
  template <class A> using state = ssd_layer_state<A, T>;

  index_t inner() const { return inner_channels == 0 ? 2 * channels : inner_channels; }
  index_t mixed() const { return inner() + 2 * groups * state_size; }
  linear<T> in_map() const { return {channels, inner() + mixed() + heads, bias, deviation}; }
  linear<T> out_map() const { return {inner(), channels, bias, deviation}; }
  short_convolution<T> rows() const { return {mixed(), taps}; }
  /// Of one group.
  rms_norm<T> norm() const { return {inner() / groups, eps}; }
  ssd<T> mixer() const {
    ssd<T> m = mix;
    m.heads = heads;
    if (m.skip == skip_kind::channel) m.head_dim = inner() / heads;
    return m;
  }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    in_map().for_each_weight(nn::under("in.", f), w.in...);
    rows().for_each_weight(nn::under("short.", f), w.rows...);
    mixer().for_each_weight(nn::under("ssd.", f), w.mix...);
    rms_norm<T>{inner(), eps}.for_each_weight(nn::under("norm.", f), w.norm...);
    out_map().for_each_weight(nn::under("out.", f), w.out...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    check(a.x);
    tape<writes<B>> t;
    t.p = be.template scratch<T>(with_channels(a.x.ext, in_map().output()));
    t.c = be.template scratch<T>(with_channels(a.x.ext, mixed()));
    t.s = be.template scratch<T>(t.c.ext);
    t.y = be.template scratch<T>(with_channels(a.x.ext, inner()));
    t.n = be.template scratch<T>(t.y.ext);
    t.mix = mixer().make_tape(be, parts<B>(as_input(t.p), as_input(t.s)));
    t.mean = be.template scratch<T>(column(a.x.ext)), t.scale = be.template scratch<T>(column(a.x.ext));
    return t;
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a.x, y);
    run(
        be, w, a.x, t, y, [&](auto const& c, auto const& to) { rows().forward(be, w.rows, {c}, {}, to); },
        [&](auto const& x, auto const& to) { mixer().forward(be, w.mix, x, t.mix, to); });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x);
    nn::check_gradients("ssd_layer: dy", "ssd_layer: dx", dy, dx.x, a.x, a.x.ext);
    expects_extents("ssd_layer: tape", t.p.ext, with_channels(a.x.ext, in_map().output()));
    auto frame = be.scope();
    auto const dn = be.template scratch<T>(t.n.ext), d_gated = be.template scratch<T>(t.y.ext);
    auto const ds = be.template scratch<T>(t.s.ext), dp = be.template scratch<T>(t.p.ext);
    out_map().backward(be, w.out, {as_input(t.n)}, {}, dy, dw.out, {dn});
    for (index_t g = 0; g < groups; ++g)
      norm().backward(be, gain(w.norm, g), {as_input(of_group(t.y, g))}, norm_tape(t, g),
                      as_input(of_group(dn, g)), gain(dw.norm, g), {of_group(d_gated, g)});
    inputs_out<ssd<T>, B> to;
    split(dp, ds, to);
    mixer().backward(be, w.mix, parts<B>(as_input(t.p), as_input(t.s)), t.mix,
                     as_input(by_head(d_gated, heads)), dw.mix, to);
    be.map(nn::times_slope<d_silu>{}, ds, as_input(ds), as_input(t.c));
    rows().backward(be, w.rows, {convolved(as_input(t.p))}, {}, as_input(ds), dw.rows, {convolved(dp)});
    in_map().backward(be, w.in, {a.x}, {}, as_input(dp), dw.in, {dx.x});
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const {
    check(a.x);
    in<B, T, 4> const p(nullptr, with_channels(a.x.ext, in_map().output())),
        s(nullptr, with_channels(a.x.ext, mixed()));
    return {rows().make_state(be, w.rows, {s}, capacity),
            mixer().make_state(be, w.mix, parts<B>(p, s), capacity), capacity, 0};
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const {
    check(a.x, y);
    index_t const count = a.x.ext[2];
    extents<4> const& past = s.rows.rows.extents();
    expects_extents("ssd_layer: x", a.x.ext, {past[0], past[1], -1, channels});
    expects_value(s.position + count <= s.capacity, "ssd_layer: state",
                  "room for the positions within its capacity; positions", s.position + count);
    run(
        be, w, a.x, {}, y,
        [&](auto const& c, auto const& to) { rows().prefill(be, w.rows, {c}, s.rows, to); },
        [&](auto const& x, auto const& to) { mixer().prefill(be, w.mix, x, s.scan, to); });
    s.position += count;
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const {
    expects_value(a.x.ext[2] == 1, "ssd_layer: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

 private:
  void check_options() const {
    expects_value(channels >= 1, "ssd_layer: channels", "at least 1", channels);
    expects_value(heads >= 1 && inner() % heads == 0, "ssd_layer: heads", "a divisor of the inner channels",
                  heads);
    expects_value(groups >= 1 && heads % groups == 0, "ssd_layer: groups", "a divisor of heads", groups);
    expects_value(state_size >= 1, "ssd_layer: state_size", "at least 1", state_size);
  }
  template <class X> void check(X const& x) const {
    check_options();
    expects_extents("ssd_layer: x", x.ext, {-1, 1, -1, channels});
    expects_contiguous_rows("ssd_layer: x", x);
  }
  template <class X, class Y> void check(X const& x, Y const& y) const {
    check(x);
    expects_extents("ssd_layer: y", y.ext, x.ext);
    expects_contiguous_rows("ssd_layer: y", y);
    expects(!overlaps(x, y), "ssd_layer: y: expected memory apart from x, got an overlap");
  }
  static extents<4> with_channels(extents<4> e, index_t n) {
    e[3] = n;
    return e;
  }
  /// (B,1,L,n d) as (B,n,L,d).
  template <class V> static auto by_head(V const& v, index_t n) {
    return swap_axes(split_axis(fix_axis(v, 1, 0), 2, n, v.ext[3] / n), 1, 2);
  }
  extents<4> column(extents<4> const& x) const { return {x[0], groups, x[2], 1}; }
  /// The inner channels of group g: of an array, of the norm's weight, of its tape.
  template <class V> V of_group(V const& v, index_t g) const {
    return slice(v, 3, g * (inner() / groups), inner() / groups);
  }
  template <class W> W gain(W w, index_t g) const {
    w.weight = slice(w.weight, 0, g * (inner() / groups), inner() / groups);
    return w;
  }
  template <class A> static typename rms_norm<T>::template tape<A> norm_tape(tape<A> const& t, index_t g) {
    return {slice(t.mean, 1, g, 1), slice(t.scale, 1, g, 1)};
  }
  /// The channels of W_in x that the short convolution takes.
  template <class V> V convolved(V const& p) const { return slice(p, 3, inner(), mixed()); }
  /// The inputs of the scan, or their gradients, as parts of p (W_in x) and s (x', B, C).
  template <class V, class X> void split(V const& p, V const& s, X& to) const {
    index_t const bc = groups * state_size;
    to.x = by_head(slice(s, 3, 0, inner()), heads);
    to.b = by_head(slice(s, 3, inner(), bc), groups);
    to.c = by_head(slice(s, 3, inner() + bc, bc), groups);
    to.z = by_head(slice(p, 3, 0, inner()), heads);
    to.dt = by_head(slice(p, 3, inner() + mixed(), heads), heads);
  }
  template <class B> inputs_in<ssd<T>, B> parts(in<B, T, 4> p, in<B, T, 4> s) const {
    inputs_in<ssd<T>, B> x;
    split(p, s, x);
    return x;
  }

  /// The program, with the parts that remember something passed in: convolve(c, to), scan(inputs, to).
  template <class B, class Convolve, class Scan>
  void run(B& be, weights<reads<B>> const& w, in<B, T, 4> x, tape<writes<B>> const& t, out<B, T, 4> y,
           Convolve const& convolve, Scan const& scan) const {
    auto frame = be.scope();
    bool const record = t.p.size() != 0;
    auto const array_of = [&](auto const& recorded, index_t n) {
      return record ? recorded : be.template scratch<T>(with_channels(x.ext, n));
    };
    auto const p = array_of(t.p, in_map().output()), c = array_of(t.c, mixed()), s = array_of(t.s, mixed());
    auto const o = array_of(t.y, inner()), n = array_of(t.n, inner());
    in_map().forward(be, w.in, {x}, {}, p);
    convolve(convolved(as_input(p)), c);
    be.map(silu{}, s, as_input(c));
    scan(parts<B>(as_input(p), as_input(s)), by_head(o, heads));
    for (index_t g = 0; g < groups; ++g)
      norm().forward(be, gain(w.norm, g), {as_input(of_group(o, g))},
                     record ? norm_tape(t, g) : typename rms_norm<T>::template tape<writes<B>>{},
                     of_group(n, g));
    out_map().forward(be, w.out, {as_input(n)}, {}, y);
  }
};

}  // namespace smx
