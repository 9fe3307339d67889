// SPDX-License-Identifier: Apache-2.0
/// \file  Short causal convolution of every channel: y_t = bias + sum_k w[k] x_{t-K+1+k}, x_t = 0 for t < 0.
/// The last tap acts on the newest position. 2 K flops an entry. The filter in front of gated convolutions
/// (M. Poli et al., ICML 2023) and of Mamba-2.
#pragma once

#include <cmath>

#include <smx/nn/layer.hpp>

namespace smx {

/// The last K - 1 inputs (at least one); zero at the start.
template <class A, class T> struct short_convolution_state {
  array<A, T, 4> rows;  // (B,H,max(K-1,1),D)
  index_t capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) { f("rows", s.rows...); }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    f("capacity", s.capacity...);
    f("position", s.position...);
  }
  index_t tokens() const { return position; }
};

/// Shapes: x, y (B,H,L,D), weight (D,K), bias (D) if any. Throws precondition_error for other extents, a last
/// axis that is not contiguous, fewer than 1 tap, and overlaps.
template <Compute T> struct short_convolution {
  using scalar = T;
  static constexpr traits about{
      .name = "short_convolution", .causality = causality::exact, .streaming = true, .flops_exponent = 1};
  static constexpr int input_count = 1;

  index_t channels = 0;
  index_t taps = 3;  ///< K
  bool bias = true;
  friend bool operator==(short_convolution const&, short_convolution const&) = default;

  template <class A> struct weights {
    array<A, T, 2> weight;  // (D,K)
    array<A, T, 1> bias;    // (D)
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {};
  template <class A> using state = short_convolution_state<A, T>;

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    // the law of the reference: both U(+-1 / sqrt(K))
    initializer const init{initializer::law::uniform, 1 / std::sqrt(static_cast<double>(taps))};
    f(weight_info<2>{"weight", {channels, taps}, init}, w.weight...);
    if (bias) f(weight_info<1>{"bias", {channels}, init}, w.bias...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    check(a.x, w);
    nn::check_output("short_convolution: y", a.x, y, a.x.ext);
    auto frame = be.scope();
    auto const by_tap = transposed_taps<B>(be, w);
    index_t const length = a.x.ext[2];
    index_t const head = length < taps - 1 ? length : taps - 1;  // rows that see less than K inputs
    for (index_t t = 0; t < head; ++t)
      add_taps<B>(be, w, by_tap, taps - 1 - t, slice(a.x, 2, 0, t + 1), slice(y, 2, t, 1));
    if (length > head) add_taps<B>(be, w, by_tap, 0, a.x, slice(y, 2, head, length - head));
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    nn::check_gradients("short_convolution: dy", "short_convolution: dx", dy, dx.x, a.x, a.x.ext);
    expects_extents("short_convolution: dweight", dw.weight.ext, {channels, taps});
    if (bias) expects_extents("short_convolution: dbias", dw.bias.ext, {channels});
    auto frame = be.scope();
    auto const by_tap = transposed_taps<B>(be, w);
    index_t const length = a.x.ext[2];
    auto const product = be.template scratch<T>(a.x.ext);
    auto const sums = be.template scratch<T>(extents<1>{channels});
    for (index_t lag = 0; lag < taps; ++lag) {
      index_t const k = taps - 1 - lag;
      index_t const n = length - lag;
      if (lag == 0)
        be.map(multiply{}, dx.x, dy, tap<B>(by_tap, k, a.x.ext));
      else if (n > 0)
        be.map(multiply_add{}, slice(dx.x, 2, 0, n), slice(dy, 2, lag, n),
               tap<B>(by_tap, k, rows_of(a.x.ext, n)), as_input(slice(dx.x, 2, 0, n)));
      if (n <= 0) continue;
      auto const terms = slice(product, 2, 0, n);
      be.map(multiply{}, terms, slice(dy, 2, lag, n), slice(a.x, 2, 0, n));
      be.map(constant<T>{T(0)}, sums);
      nn::add_rows<B, T>(be, as_input(terms), sums);
      auto const to = fix_axis(dw.weight, 1, k);
      be.map(add{}, to, as_input(to), as_input(sums));
    }
    if (bias) nn::add_rows<B, T>(be, dy, dw.bias);
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const&, inputs<reads<B>> const& a,
                            index_t capacity) const {
    check_options();
    expects_extents("short_convolution: x", a.x.ext, {-1, -1, -1, channels});
    expects_value(capacity >= 1, "short_convolution: capacity", "at least 1", capacity);
    return {tensor<T, 4, space_t<B>>(be.memory(), extents<4>{a.x.ext[0], a.x.ext[1], kept_rows(), channels}),
            capacity, 0};
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const {
    check(a.x, w);
    nn::check_output("short_convolution: y", a.x, y, a.x.ext);
    extents<4> e = a.x.ext;
    expects_extents("short_convolution: x", e, {s.rows.extents()[0], s.rows.extents()[1], -1, channels});
    expects_extents("short_convolution: state", s.rows.extents(), {-1, -1, kept_rows(), channels});
    index_t const count = e[2];
    expects_value(s.position + count <= s.capacity, "short_convolution: state",
                  "room for the positions within its capacity; positions", s.position + count);
    auto frame = be.scope();
    auto const by_tap = transposed_taps<B>(be, w);
    // rows that see what the state holds come from a copy of both, the others from x
    index_t const kept = kept_rows(), head = count < kept ? count : kept;
    e[2] = kept + head;
    auto const all = be.template scratch<T>(e);
    be.copy(s.rows.cview(), slice(all, 2, 0, kept));
    be.copy(slice(a.x, 2, 0, head), slice(all, 2, kept, head));
    add_taps<B>(be, w, by_tap, 0, slice(as_input(all), 2, kept - (taps - 1), taps - 1 + head),
                slice(y, 2, 0, head));
    if (count > head) {
      add_taps<B>(be, w, by_tap, 0, slice(a.x, 2, head - (taps - 1), count - head + taps - 1),
                  slice(y, 2, head, count - head));
      be.copy(slice(a.x, 2, count - kept, kept), s.rows.view());
    } else {
      be.copy(as_input(slice(all, 2, head, kept)), s.rows.view());
    }
    s.position += count;
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const {
    expects_value(a.x.ext[2] == 1, "short_convolution: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

  // What kernels are named by, which nvcc wants to be public.
  /// bias + w x + w x + ...
  struct weighted_sum {
    template <class... WX> SMX_HD T operator()(T first, WX... wx) const { return sum(first, wx...); }
    SMX_HD static T sum(T s) { return s; }
    template <class... WX> SMX_HD static T sum(T s, T w, T x, WX... wx) { return sum(s + w * x, wx...); }
  };

 private:
  void check_options() const {
    expects_value(channels >= 1, "short_convolution: channels", "at least 1", channels);
    expects_value(taps >= 1, "short_convolution: taps", "at least 1", taps);
  }
  template <class X, class W> void check(X const& x, W const& w) const {
    check_options();
    expects_extents("short_convolution: x", x.ext, {-1, -1, -1, channels});
    expects_contiguous_rows("short_convolution: x", x);
    expects_extents("short_convolution: weight", w.weight.ext, {channels, taps});
    if (bias) expects_extents("short_convolution: bias", w.bias.ext, {channels});
  }
  /// A tensor has one row at least: with one tap its state holds a row that nothing reads.
  index_t kept_rows() const { return taps > 1 ? taps - 1 : 1; }
  static extents<4> rows_of(extents<4> e, index_t n) {
    e[2] = n;
    return e;
  }
  /// The taps as rows (K,D): their channels must lie one after the other.
  template <class B> in<B, T, 2> transposed_taps(B& be, weights<reads<B>> const& w) const {
    auto const to = be.template scratch<T>(extents<2>{taps, channels});
    be.copy(swap_axes(w.weight, 0, 1), to);
    return to;
  }
  template <class B> static in<B, T, 4> tap(in<B, T, 2> by_tap, index_t k, extents<4> const& e) {
    return nn::for_rows(fix_axis(by_tap, 0, k), e);
  }
  /// y_t = bias + sum over the taps from `first` on of w[k] x_{t+k-first}, for all rows of y.
  template <class B>
  void add_taps(B& be, weights<reads<B>> const& w, in<B, T, 2> by_tap, index_t first, in<B, T, 4> x,
                out<B, T, 4> y) const {
    index_t const n = y.ext[2];
    if (bias)
      be.map(identity{}, y, nn::for_rows(w.bias, y.ext));
    else
      be.map(constant<T>{T(0)}, y);
    auto const t = [&](index_t k) { return tap<B>(by_tap, k, y.ext); };
    auto const rows = [&](index_t k) { return slice(x, 2, k - first, n); };
    index_t k = first;
    for (; k + 3 <= taps; k += 3)
      be.map(weighted_sum{}, y, as_input(y), t(k), rows(k), t(k + 1), rows(k + 1), t(k + 2), rows(k + 2));
    for (; k < taps; ++k) be.map(weighted_sum{}, y, as_input(y), t(k), rows(k));
  }
};

}  // namespace smx
