// SPDX-License-Identifier: Apache-2.0
/// \file  A layer that records nothing: backward runs its forward again. One layer's tape at a time instead
/// of all of a stack's, for a third more arithmetic. T. Chen et al., "Training Deep Nets with Sublinear
/// Memory Cost", arXiv 1604.06174.
#pragma once

#include <smx/nn/layer.hpp>
#include <smx/nn/seed.hpp>

namespace smx {

/// Weights, names, shapes, states and gradients are those of the inner layer, the gradients bit for bit: its
/// forward is a function of the input, the weights and its seed. Memory: backward has the inner tape and an
/// output in scratch; between forward and backward nothing is kept but the caller's input. So it pays inside
/// of a stack: stack<recomputed<residual<...>>>.
template <class Inner> struct recomputed {
  using scalar = typename Inner::scalar;
  using T = scalar;
  static constexpr traits about = [] {
    traits t = Inner::about;
    t.row_separable = t.normalised = t.truncates = t.evicts = false;
    return t;
  }();
  static constexpr int input_count = 1;

  Inner inner = {};
  friend bool operator==(recomputed const&, recomputed const&) = default;

  template <class A> using weights = typename Inner::template weights<A>;
  template <class A> using inputs = typename Inner::template inputs<A>;
  template <class A> struct tape {};
  template <class A> using state = nn::part_state<Inner, A>;

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    inner.for_each_weight(std::forward<F>(f), std::forward<W>(w)...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) {
    Inner::for_each_input(std::forward<F>(f), std::forward<X>(x)...);
  }
  template <class X> extents<4> output_extents(X const& x) const { return inner.output_extents(x); }
  void reseed(std::uint64_t seed) { nn::reseed(inner, seed); }
  bool draws() const { return nn::draws(inner); }

  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }
  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    inner.forward(be, w, a, {}, y);
  }
  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    nn::check_weights(*this, w);
    nn::check_weight_gradients(*this, dw);
    expects_extents("recomputed: x", a.x.ext, {-1, -1, -1, -1});
    nn::check_gradients("recomputed: dy", "recomputed: dx", dy, dx.x, a.x, output_extents(a));
    auto frame = be.scope();
    auto const t = inner.make_tape(be, a);
    inner.forward(be, w, a, t, be.template scratch<T>(output_extents(a)));
    inner.backward(be, w, a, t, dy, dw, dx);
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const requires(about.streaming) {
    return inner.make_state(be, w, a, capacity);
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const requires(about.streaming) {
    inner.prefill(be, w, a, s, y);
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    inner.step(be, w, a, s, y);
  }
};

}  // namespace smx
