// SPDX-License-Identifier: Apache-2.0
/// \file  Two gates around any causal mixer of one input: the gated operator of Hyena, H3 and Monarch Mixer
/// with the long convolution left open. M. Poli et al., "Hyena Hierarchy", ICML 2023; D. Fu et al., "Monarch
/// Mixer", NeurIPS 2023.
///
///   (g, h, v) = short(W_in x);  y = W_out (h mixer(g v))
///
/// Cost: 8 D^2 flops a row and the mixer.
#pragma once

#include <smx/nn/linear.hpp>
#include <smx/nn/short_convolution.hpp>

namespace smx {

template <class A, class M> struct gated_mixer_state {
  short_convolution_state<A, typename M::scalar> gates;
  typename M::template state<A> mixer;
  index_t capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    short_convolution_state<A, typename M::scalar>::for_each_array(detail::prefixed("short.", f), s.gates...);
    M::template state<A>::for_each_array(detail::prefixed("mixer.", f), s.mixer...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    short_convolution_state<A, typename M::scalar>::for_each_counter(detail::prefixed("short.", f),
                                                                     s.gates...);
    M::template state<A>::for_each_counter(detail::prefixed("mixer.", f), s.mixer...);
    f("capacity", s.capacity...);
    f("position", s.position...);
  }
  index_t tokens() const { return position; }
  template <class S> void expect_counters(S const& read) const {
    if constexpr (requires { mixer.expect_counters(read.mixer); }) mixer.expect_counters(read.mixer);
  }
};

/// Shapes: x, y (B,1,L,D); the mixer maps (B,1,L,D) to the same. Its weights' names get "mixer." in front. It
/// streams, and is causal, as the mixer is. Throws precondition_error for other extents, a mixer of other
/// channels, for what the parts refuse, and for overlaps.
template <class M> struct gated_mixer {
  static_assert(M::about.causality != causality::none, "gated_mixer: the mixer must be causal");
  using scalar = typename M::scalar;
  using T = scalar;
  static constexpr traits about{.name = "gated_mixer",
                                .causality = M::about.causality,
                                .data_dependent = true,
                                .streaming = M::about.streaming,
                                .flops_exponent = M::about.flops_exponent};
  static constexpr int input_count = 1;

  M mixer = {};
  index_t taps = 3;      ///< of the short convolution
  double deviation = 0;  ///< of W_in and W_out, as in linear
  friend bool operator==(gated_mixer const&, gated_mixer const&) = default;

  template <class A> struct weights {
    typename linear<T>::template weights<A> in, out;
    typename short_convolution<T>::template weights<A> gates;
    typename M::template weights<A> mixer;
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {
    array<A, T, 4> p, c, u, m, z;  // W_in x, short(W_in x), g v, mixer(g v), h mixer(g v)
    typename M::template tape<A> mixer;
  };
  template <class A> using state = gated_mixer_state<A, M>;

  index_t channels() const { return mixer.channels; }
  linear<T> in_map() const { return {channels(), 3 * channels(), true, deviation}; }
  linear<T> out_map() const { return {channels(), channels(), true, deviation}; }
  short_convolution<T> gates() const { return {3 * channels(), taps}; }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    in_map().for_each_weight(nn::under("in.", f), w.in...);
    gates().for_each_weight(nn::under("short.", f), w.gates...);
    mixer.for_each_weight(nn::under("mixer.", f), w.mixer...);
    out_map().for_each_weight(nn::under("out.", f), w.out...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    check(a.x);
    tape<writes<B>> t;
    extents<4> const wide = with_channels(a.x.ext, 3 * channels());
    t.p = be.template scratch<T>(wide), t.c = be.template scratch<T>(wide);
    t.u = be.template scratch<T>(a.x.ext), t.m = be.template scratch<T>(a.x.ext);
    t.z = be.template scratch<T>(a.x.ext);
    t.mixer = mixer.make_tape(be, inner<B>(as_input(t.u)));
    return t;
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a.x, y);
    run(
        be, w, a.x, t, y, [&](auto const& p, auto const& c) { gates().forward(be, w.gates, {p}, {}, c); },
        [&](auto const& u, auto const& m) { mixer.forward(be, w.mixer, inner<B>(u), t.mixer, m); });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x);
    nn::check_gradients("gated_mixer: dy", "gated_mixer: dx", dy, dx.x, a.x, a.x.ext);
    expects_extents("gated_mixer: tape", t.z.ext, a.x.ext);
    auto frame = be.scope();
    auto const dz = be.template scratch<T>(a.x.ext), du = be.template scratch<T>(a.x.ext);
    auto const dc = be.template scratch<T>(t.c.ext), dp = be.template scratch<T>(t.p.ext);
    out_map().backward(be, w.out, {as_input(t.z)}, {}, dy, dw.out, {dz});
    in<B, T, 4> const c = t.c;
    be.map(multiply{}, third(dc, 1), as_input(dz), as_input(t.m));
    be.map(multiply{}, dz, as_input(dz), third(c, 1));
    inputs_out<M, B> to;
    to.x = du;
    mixer.backward(be, w.mixer, inner<B>(as_input(t.u)), t.mixer, as_input(dz), dw.mixer, to);
    be.map(multiply{}, third(dc, 0), as_input(du), third(c, 2));
    be.map(multiply{}, third(dc, 2), as_input(du), third(c, 0));
    gates().backward(be, w.gates, {as_input(t.p)}, {}, as_input(dc), dw.gates, {dp});
    in_map().backward(be, w.in, {a.x}, {}, as_input(dp), dw.in, {dx.x});
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const requires(about.streaming) {
    check(a.x);
    in<B, T, 4> const wide(nullptr, with_channels(a.x.ext, 3 * channels()));
    return {gates().make_state(be, w.gates, {wide}, capacity),
            mixer.make_state(be, w.mixer, inner<B>(a.x), capacity), capacity, 0};
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const requires(about.streaming) {
    check(a.x, y);
    index_t const count = a.x.ext[2];
    extents<4> const& rows = s.gates.rows.extents();
    expects_extents("gated_mixer: x", a.x.ext, {rows[0], rows[1], -1, channels()});
    expects_value(s.position + count <= s.capacity && count <= detail::room(s.mixer), "gated_mixer: state",
                  "room for the positions within its capacity; positions", s.position + count);
    run(
        be, w, a.x, {}, y,
        [&](auto const& p, auto const& c) { gates().prefill(be, w.gates, {p}, s.gates, c); },
        [&](auto const& u, auto const& m) { mixer.prefill(be, w.mixer, inner<B>(u), s.mixer, m); });
    s.position += count;
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    expects_value(a.x.ext[2] == 1, "gated_mixer: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

 private:
  template <class X> void check(X const& x) const {
    expects_value(channels() >= 1, "gated_mixer: channels", "at least 1", channels());
    expects_extents("gated_mixer: x", x.ext, {-1, 1, -1, channels()});
    expects_contiguous_rows("gated_mixer: x", x);
  }
  template <class X, class Y> void check(X const& x, Y const& y) const {
    check(x);
    expects_extents("gated_mixer: y", y.ext, x.ext);
    expects_contiguous_rows("gated_mixer: y", y);
    expects(!overlaps(x, y), "gated_mixer: y: expected memory apart from x, got an overlap");
  }
  static extents<4> with_channels(extents<4> e, index_t n) {
    e[3] = n;
    return e;
  }
  template <class V> V third(V const& c, index_t which) const {
    return slice(c, 3, which * channels(), channels());
  }
  template <class B> static inputs_in<M, B> inner(in<B, T, 4> u) {
    inputs_in<M, B> x;
    x.x = u;
    return x;
  }

  /// The program, with the parts that remember something passed in: gate(p, c), mix(u, m).
  template <class B, class Gate, class Mix>
  void run(B& be, weights<reads<B>> const& w, in<B, T, 4> x, tape<writes<B>> const& t, out<B, T, 4> y,
           Gate const& gate, Mix const& mix) const {
    auto frame = be.scope();
    bool const record = t.p.size() != 0;
    auto const array_of = [&](auto const& recorded, extents<4> const& e) {
      return record ? recorded : be.template scratch<T>(e);
    };
    extents<4> const wide = with_channels(x.ext, 3 * channels());
    auto const p = array_of(t.p, wide), c = array_of(t.c, wide);
    auto const u = array_of(t.u, x.ext), m = array_of(t.m, x.ext), z = array_of(t.z, x.ext);
    in_map().forward(be, w.in, {x}, {}, p);
    gate(as_input(p), c);
    be.map(multiply{}, u, as_input(third(c, 0)), as_input(third(c, 2)));
    mix(as_input(u), m);
    be.map(multiply{}, z, as_input(third(c, 1)), as_input(m));
    out_map().forward(be, w.out, {as_input(z)}, {}, y);
  }
};

}  // namespace smx
