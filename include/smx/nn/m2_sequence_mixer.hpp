// SPDX-License-Identifier: Apache-2.0
/// \file  The sequence mixer of Monarch Mixer models (M2-BERT): two gates around a long convolution whose
/// kernel is a network of the position. D. Fu et al., "Monarch Mixer", NeurIPS 2023; to the reference,
/// bert/src/mm.
///
///   u = norm(x), or x;  (g, h, v) = short(W_in u);  y = W_out (h (k * (g v) + skip (g v)) + k_2 * u + skip_2
///   u)
///
/// short: 3 causal taps also where the long convolution is bidirectional. The terms of k_2 are those of
/// `residual`. Cost: 8 D^2 flops a row and the convolutions, O(L log L) a channel.
#pragma once

#include <smx/mixers/long_convolution.hpp>
#include <smx/nn/hyena_filter.hpp>
#include <smx/nn/norm.hpp>
#include <smx/nn/short_convolution.hpp>

namespace smx {

/// Kernels k, k_2 of (capacity,D) and what the parts remember.
template <class A, class T> struct m2_mixer_state {
  array<A, T, 2> k, k_residual;
  short_convolution_state<A, T> gates;
  convolution_stream<A, T> main, residual;
  index_t capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    f("k", s.k...);
    f("k_residual", s.k_residual...);
    short_convolution_state<A, T>::for_each_array(detail::prefixed("short.", f), s.gates...);
    convolution_stream<A, T>::for_each_array(detail::prefixed("main.", f), s.main...);
    convolution_stream<A, T>::for_each_array(detail::prefixed("residual.", f), s.residual...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    short_convolution_state<A, T>::for_each_counter(detail::prefixed("short.", f), s.gates...);
    convolution_stream<A, T>::for_each_counter(detail::prefixed("main.", f), s.main...);
    convolution_stream<A, T>::for_each_counter(detail::prefixed("residual.", f), s.residual...);
    f("capacity", s.capacity...);
    f("position", s.position...);
  }
  index_t tokens() const { return position; }
  template <class S> void expect_counters(S const& read) const {
    nn::expect_part_counters(gates, read.gates, read.position);
    nn::expect_part_counters(main, read.main, read.position);
    if (residual.capacity > 0) nn::expect_part_counters(residual, read.residual, read.position);
  }
};

/// Shapes: x, y (B,1,L,D), L <= max_length. Throws precondition_error for other extents and a longer L (the
/// reference shifts the reversed kernel then, without a word).
///
/// Kernels depend on no input. For many inputs of one length without gradients: `prepare` once, `apply`
/// often. A stream keeps the kernels of its make_state.
template <Compute T, convolution_kind Kind = convolution_kind::causal> struct m2_sequence_mixer {
  static_assert(Kind != convolution_kind::circular, "m2_sequence_mixer: causal or bidirectional");
  using scalar = T;
  using convolution = long_convolution<T, Kind>;
  static constexpr bool bidirectional = Kind == convolution_kind::bidirectional;
  static constexpr traits about{
      .name = bidirectional ? "m2_sequence_mixer_bidirectional" : "m2_sequence_mixer",
      .causality = convolution::about.causality,
      .data_dependent = true,
      .streaming = convolution::about.streaming,
      .flops_exponent = 1};
  static constexpr int input_count = 1;

  index_t channels = 0;     ///< D
  index_t max_length = 0;   ///< of the kernels
  bool residual = true;     ///< whether u goes through a long convolution of its own
  bool input_norm = false;  ///< whether x is normalised first, with eps 1e-5
  double deviation = 0;     ///< of W_in and W_out, as in linear
  index_t width = 128;      ///< of the kernels' networks
  index_t features = 5;
  index_t hidden = 2;
  double frequency = 10, modulation = 1, shift = 0;
  friend bool operator==(m2_sequence_mixer const&, m2_sequence_mixer const&) = default;

  template <class A> struct weights {
    typename layer_norm<T>::template weights<A> norm;
    typename linear<T>::template weights<A> in, out;
    typename short_convolution<T>::template weights<A> gates;
    typename hyena_filter<T>::template weights<A> filter, residual_filter;
    array<A, T, 1> skip, residual_skip;  // (D)
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  /// One convolution: its kernels (L,D), their network's tape and their spectra.
  template <class A> struct kernel_tape {
    array<A, T, 2> k, k_rev;
    typename hyena_filter<T>::template tape<A> filter;
    typename convolution::template tape<A> spectra;
  };
  template <class A> struct tape {
    array<A, T, 4> u, p, c, z;  // normalised input, W_in u, short(W_in u), what W_out is applied to
    typename layer_norm<T>::template tape<A> norm;
    kernel_tape<A> main, residual;
  };
  template <class A> using state = m2_mixer_state<A, T>;
  /// Kernels for inputs of one length, and the maps.
  template <class A> struct prepared {
    typename linear<T>::template prepared<A> in, out;
    typename convolution::template prepared<A> main, residual;
    index_t length = 0;
    std::size_t bytes() const {
      return in.bytes() + out.bytes() + main.storage.bytes() + residual.storage.bytes();
    }
  };

  linear<T> in_map() const { return {channels, 3 * channels, true, deviation}; }
  linear<T> out_map() const { return {channels, channels, true, deviation}; }
  layer_norm<T> norm() const { return {channels, 1e-5}; }
  short_convolution<T> gates() const { return {3 * channels, 3}; }
  hyena_filter<T> filter() const {
    return {channels, max_length, width, features, hidden, bidirectional, frequency, modulation, shift};
  }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    expects_value(channels >= 1, "m2_sequence_mixer: channels", "at least 1", channels);
    if (input_norm) norm().for_each_weight(nn::under("norm.", f), w.norm...);
    in_map().for_each_weight(nn::under("in.", f), w.in...);
    gates().for_each_weight(nn::under("short.", f), w.gates...);
    initializer const of_skip{initializer::law::normal, 1};
    filter().for_each_weight(nn::under("filter.", f), w.filter...);
    f(weight_info<1>{"skip", {channels}, of_skip}, w.skip...);
    if (residual) {
      filter().for_each_weight(nn::under("residual_filter.", f), w.residual_filter...);
      f(weight_info<1>{"residual_skip", {channels}, of_skip}, w.residual_skip...);
    }
    out_map().for_each_weight(nn::under("out.", f), w.out...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }

  /// The tables of the kernels' networks, which `initialize` leaves at zero.
  template <class B> void fill_tables(B& be, weights<writes<B>> const& w) const {
    filter().fill_tables(be, w.filter);
    if (residual) filter().fill_tables(be, w.residual_filter);
  }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    check(a.x);
    tape<writes<B>> t;
    extents<4> const wide = with_channels(a.x.ext, 3 * channels);
    if (input_norm) {
      t.u = be.template scratch<T>(a.x.ext);
      t.norm = norm().make_tape(be, {a.x});
    }
    t.p = be.template scratch<T>(wide);
    t.c = be.template scratch<T>(wide);
    t.z = be.template scratch<T>(a.x.ext);
    t.main = make_kernel_tape(be, a);
    if (residual) t.residual = make_kernel_tape(be, a);
    return t;
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a.x, w, y);
    index_t const length = a.x.ext[2];
    auto frame = be.scope();
    if (t.p.size() != 0) {
      filter().forward(be, w.filter, t.main.filter, t.main.k, t.main.k_rev);
      if (residual)
        filter().forward(be, w.residual_filter, t.residual.filter, t.residual.k, t.residual.k_rev);
      return run(
          be, w, {}, {}, a.x, t, y,
          [&](auto const& x, auto const& to) {
            at_length(length).forward(be, kernels<B>(t.main, w.skip), x, t.main.spectra, to);
          },
          [&](auto const& x, auto const& to) {
            at_length(length).forward(be, kernels<B>(t.residual, w.residual_skip), x, t.residual.spectra, to);
          });
    }
    auto const convolve = [&](auto const& from, auto const& skip, auto const& x, auto const& to) {
      auto inner = be.scope();
      kernel_tape<writes<B>> k = scratch_kernels(be, length);
      filter().forward(be, from, {}, k.k, k.k_rev);
      at_length(length).forward(be, kernels<B>(k, skip), x, {}, to);
    };
    run(
        be, w, {}, {}, a.x, {}, y, [&](auto const& x, auto const& to) { convolve(w.filter, w.skip, x, to); },
        [&](auto const& x, auto const& to) { convolve(w.residual_filter, w.residual_skip, x, to); });
  }

  /// The kernels' spectra for inputs of `length` positions and W_in, W_out, in memory of their own.
  template <class B> prepared<owns<B>> prepare(B& be, weights<reads<B>> const& w, index_t length) const {
    expect_length(length);
    auto frame = be.scope();
    prepared<owns<B>> p;
    p.in = in_map().prepare(be, w.in, length), p.out = out_map().prepare(be, w.out, length);
    kernel_tape<writes<B>> const k = scratch_kernels(be, length);
    filter().forward(be, w.filter, {}, k.k, k.k_rev);
    p.main = at_length(length).prepare(be, kernels<B>(k, w.skip), length);
    if (residual) {
      be.synchronize();
      filter().forward(be, w.residual_filter, {}, k.k, k.k_rev);
      p.residual = at_length(length).prepare(be, kernels<B>(k, w.residual_skip), length);
    }
    p.length = length;
    return p;
  }
  /// forward with prepared kernels.
  template <class B>
  void apply(B& be, weights<reads<B>> const& w, prepared<owns<B>> const& p, inputs<reads<B>> const& a,
             out<B, T, 4> y) const {
    check(a.x, w, y);
    expects_value(p.length == a.x.ext[2], "m2_sequence_mixer: prepared", "kernels for the length of x",
                  p.length);
    auto frame = be.scope();
    run(
        be, w, p.in, p.out, a.x, {}, y,
        [&](auto const& x, auto const& to) { at_length(p.length).apply(be, p.main, x, to); },
        [&](auto const& x, auto const& to) { at_length(p.length).apply(be, p.residual, x, to); });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x);
    nn::check_weights(*this, w);
    nn::check_weight_gradients(*this, dw);
    nn::check_gradients("m2_sequence_mixer: dy", "m2_sequence_mixer: dx", dy, dx.x, a.x, a.x.ext);
    expects_extents("m2_sequence_mixer: tape", t.z.ext, a.x.ext);
    index_t const length = a.x.ext[2];
    auto frame = be.scope();
    auto const dz = be.template scratch<T>(a.x.ext), du = be.template scratch<T>(a.x.ext);
    auto const dc = be.template scratch<T>(t.c.ext), dp = be.template scratch<T>(t.p.ext);
    in<B, T, 4> const u = input_norm ? as_input(t.u) : a.x;
    out_map().backward(be, w.out, {as_input(t.z)}, {}, dy, dw.out, {dz});
    convolve_back(be, t.main, w.filter, w.skip, dw.filter, dw.skip, gated_inputs<B>(as_input(t.c)),
                  as_input(dz), gated_outputs<B>(dc), length);
    gates().backward(be, w.gates, {as_input(t.p)}, {}, as_input(dc), dw.gates, {dp});
    auto const to = input_norm ? du : dx.x;
    in_map().backward(be, w.in, {u}, {}, as_input(dp), dw.in, {to});
    if (residual) {
      auto const more = be.template scratch<T>(a.x.ext);
      convolve_back(be, t.residual, w.residual_filter, w.residual_skip, dw.residual_filter, dw.residual_skip,
                    plain<B>(u), as_input(dz), plain_out<B>(more), length);
      be.map(add{}, to, as_input(to), as_input(more));
    }
    if (input_norm) norm().backward(be, w.norm, {a.x}, t.norm, as_input(du), dw.norm, {dx.x});
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const requires(about.streaming) {
    check(a.x);
    expects_value(capacity >= 1 && capacity <= max_length, "m2_sequence_mixer: capacity", "1 to max_length",
                  capacity);
    state<owns<B>> s;
    s.capacity = capacity;
    s.gates = gates().make_state(be, w.gates, {wide(a.x)}, capacity);
    auto const begin = [&](auto const& from, auto const& skip, auto& k, auto& stream) {
      k = tensor<T, 2, space_t<B>>(be.memory(), extents<2>{capacity, channels});
      filter().forward(be, from, {}, k.view(), {});
      stream = at_length(capacity).make_state(be, stream_kernels<B>(k, skip), plain<B>(a.x), capacity);
    };
    begin(w.filter, w.skip, s.k, s.main);
    if (residual) begin(w.residual_filter, w.residual_skip, s.k_residual, s.residual);
    return s;
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const requires(about.streaming) {
    check(a.x, w, y);
    index_t const count = a.x.ext[2];
    extents<4> const& rows = s.gates.rows.extents();
    expects_extents("m2_sequence_mixer: x", a.x.ext, {rows[0], rows[1], -1, channels});
    expects_value(s.position + count <= s.capacity, "m2_sequence_mixer: state",
                  "room for the positions within its capacity; positions", s.position + count);
    auto frame = be.scope();
    auto const conv = at_length(s.capacity);
    run_with(
        be, w, {}, {}, a.x, {}, y,
        [&](auto const& p, auto const& c) { gates().prefill(be, w.gates, {p}, s.gates, c); },
        [&](auto const& x, auto const& to) {
          conv.prefill(be, stream_kernels<B>(s.k, w.skip), x, s.main, to);
        },
        [&](auto const& x, auto const& to) {
          conv.prefill(be, stream_kernels<B>(s.k_residual, w.residual_skip), x, s.residual, to);
        });
    s.position += count;
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    expects_value(a.x.ext[2] == 1, "m2_sequence_mixer: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

 private:
  void expect_length(index_t length) const {
    expects_value(length >= 1 && length <= max_length, "m2_sequence_mixer: length of x", "1 to max_length",
                  length);
  }
  template <class X> void check(X const& x) const {
    expects_extents("m2_sequence_mixer: x", x.ext, {-1, 1, -1, channels});
    expects_contiguous_rows("m2_sequence_mixer: x", x);
    expect_length(x.ext[2]);
  }
  template <class X, class W, class Y> void check(X const& x, W const& w, Y const& y) const {
    check(x);
    nn::check_weights(*this, w);
    nn::check_output("m2_sequence_mixer: y", x, y, x.ext);
  }
  static extents<4> with_channels(extents<4> e, index_t n) {
    e[3] = n;
    return e;
  }
  template <class V> V wide(V const& x) const { return V(nullptr, with_channels(x.ext, 3 * channels)); }
  convolution at_length(index_t length) const { return {.channels = channels, .taps = length}; }

  template <class B> kernel_tape<writes<B>> scratch_kernels(B& be, index_t length) const {
    kernel_tape<writes<B>> k;
    k.k = be.template scratch<T>(extents<2>{length, channels});
    if (bidirectional) k.k_rev = be.template scratch<T>(extents<2>{length, channels});
    return k;
  }
  template <class B> kernel_tape<writes<B>> make_kernel_tape(B& be, inputs<reads<B>> const& a) const {
    index_t const length = a.x.ext[2];
    kernel_tape<writes<B>> k = scratch_kernels(be, length);
    k.filter = filter().make_tape(be, length);
    k.spectra = at_length(length).make_tape(be, plain<B>(a.x));
    return k;
  }
  template <class B>
  static weights_in<convolution, B> kernels(kernel_tape<writes<B>> const& k, in<B, T, 1> skip) {
    weights_in<convolution, B> w;
    w.k = swap_axes(as_input(k.k), 0, 1), w.skip = skip;
    if (bidirectional) w.k_rev = swap_axes(as_input(k.k_rev), 0, 1);
    return w;
  }
  template <class B>
  static weights_in<convolution, B> stream_kernels(tensor<T, 2, space_t<B>> const& k, in<B, T, 1> skip) {
    weights_in<convolution, B> w;
    w.k = swap_axes(k.cview(), 0, 1), w.skip = skip;
    return w;
  }
  template <class V> V third(V const& c, index_t which) const {
    return slice(c, 3, which * channels, channels);
  }
  template <class B> inputs_in<convolution, B> plain(in<B, T, 4> x) const { return {x, {}, {}}; }
  template <class B> inputs_out<convolution, B> plain_out(out<B, T, 4> x) const { return {x, {}, {}}; }
  template <class B> inputs_in<convolution, B> gated_inputs(in<B, T, 4> c) const {
    return {third(c, 2), third(c, 0), third(c, 1)};
  }
  template <class B> inputs_out<convolution, B> gated_outputs(out<B, T, 4> c) const {
    return {third(c, 2), third(c, 0), third(c, 1)};
  }

  template <class B> using map_of = typename linear<T>::template prepared<owns<B>>;
  template <class B, class Main, class Residual>
  void run(B& be, weights<reads<B>> const& w, map_of<B> const& w_in, map_of<B> const& w_out, in<B, T, 4> x,
           tape<writes<B>> const& t, out<B, T, 4> y, Main const& main, Residual const& of_residual) const {
    run_with(
        be, w, w_in, w_out, x, t, y,
        [&](auto const& p, auto const& c) { gates().forward(be, w.gates, {p}, {}, c); }, main, of_residual);
  }
  /// The program, with the parts that remember something passed in: gate(p, c), main(inputs, y),
  /// of_residual(inputs, y).
  template <class B, class Gate, class Main, class Residual>
  void run_with(B& be, weights<reads<B>> const& w, map_of<B> const& w_in, map_of<B> const& w_out,
                in<B, T, 4> x, tape<writes<B>> const& t, out<B, T, 4> y, Gate const& gate, Main const& main,
                Residual const& of_residual) const {
    bool const record = t.p.size() != 0;
    auto const array_of = [&](auto const& recorded, extents<4> const& e) {
      return record ? recorded : be.template scratch<T>(e);
    };
    in<B, T, 4> u = x;
    if (input_norm) {
      auto const to = array_of(t.u, x.ext);
      norm().forward(be, w.norm, {x}, t.norm, to);
      u = to;
    }
    extents<4> const e = with_channels(x.ext, 3 * channels);
    auto const p = array_of(t.p, e), c = array_of(t.c, e), z = array_of(t.z, x.ext);
    in_map().apply(be, w.in, w_in, {u}, p);
    gate(as_input(p), c);
    main(gated_inputs<B>(as_input(c)), z);
    if (residual) {
      of_residual(plain<B>(u), y);
      be.map(add{}, z, as_input(z), as_input(y));
    }
    out_map().apply(be, w.out, w_out, {as_input(z)}, y);
  }

  template <class B>
  void convolve_back(B& be, kernel_tape<writes<B>> const& t,
                     typename hyena_filter<T>::template weights<reads<B>> const& w, in<B, T, 1> skip,
                     typename hyena_filter<T>::template weights<writes<B>> const& dw, out<B, T, 1> dskip,
                     inputs_in<convolution, B> const& x, in<B, T, 4> dy, inputs_out<convolution, B> const& dx,
                     index_t length) const {
    auto frame = be.scope();
    kernel_tape<writes<B>> const dk = scratch_kernels(be, length);
    be.map(constant<T>{T(0)}, dk.k);
    weights_out<convolution, B> to;
    to.k = swap_axes(dk.k, 0, 1), to.skip = dskip;
    if (bidirectional) {
      be.map(constant<T>{T(0)}, dk.k_rev);
      to.k_rev = swap_axes(dk.k_rev, 0, 1);
    }
    at_length(length).backward(be, kernels<B>(t, skip), x, t.spectra, dy, to, dx);
    filter().backward(be, w, t.filter, dk.k, dk.k_rev, dw);
  }
};

}  // namespace smx
