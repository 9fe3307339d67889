// SPDX-License-Identifier: Apache-2.0
/// \file  A layer inside of a residual connection with a norm. pre: y = x + f(norm(x)); post: y = norm(x +
/// f(x)). R. Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020.
#pragma once

#include <smx/nn/norm.hpp>
#include <smx/nn/prepared.hpp>
#include <smx/nn/seed.hpp>

namespace smx {

enum class norm_placement : char { pre, post };

/// Shapes: x, y (B,H,L,D). The weights are those of `norm` and `inner`, whose names get "norm." and "inner."
/// in front. It streams, and is causal, as the inner layer is. Throws precondition_error for what the parts
/// refuse, for an inner layer that changes the extents, and for overlaps.
template <class Inner, norm_placement Place = norm_placement::pre,
          class Norm = layer_norm<typename Inner::scalar>>
struct residual {
  using scalar = typename Inner::scalar;
  using T = scalar;
  static constexpr bool pre = Place == norm_placement::pre;
  static constexpr traits about = [] {
    traits t = Inner::about;
    t.name = pre ? "residual_pre_norm" : "residual_post_norm";
    t.data_dependent = true;
    t.row_separable = t.normalised = t.truncates = t.evicts = false;
    t.same_source = true;
    return t;
  }();
  static constexpr int input_count = 1;

  Norm norm = {};
  Inner inner = {};
  friend bool operator==(residual const&, residual const&) = default;

  template <class A> struct weights {
    typename Norm::template weights<A> norm;
    typename Inner::template weights<A> inner;
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  /// h: what the inner layer (pre) or the norm (post) is applied to.
  template <class A> struct tape {
    array<A, T, 4> h;
    typename Norm::template tape<A> norm;
    typename Inner::template tape<A> inner;
  };
  template <class A> using state = nn::part_state<Inner, A>;
  static constexpr bool prepares = nn::prepares<Inner>;
  template <class A> using prepared = nn::prepared_part<Inner, A>;

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    norm.for_each_weight(nn::under("norm.", f), w.norm...);
    inner.for_each_weight(nn::under("inner.", f), w.inner...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  void reseed(std::uint64_t seed) { nn::reseed(inner, seed); }
  bool draws() const { return nn::draws(inner); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    tape<writes<B>> t;
    t.h = be.template scratch<T>(a.x.ext);
    t.norm = norm.make_tape(be, {as_input(t.h)});
    t.inner = inner.make_tape(be, {pre ? as_input(t.h) : a.x});
    return t;
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a.x, w, y);
    run(be, w, a.x, t, y,
        [&](auto const& x, auto const& to) { inner.forward(be, w.inner, {x}, t.inner, to); });
  }
  template <class B> prepared<owns<B>> prepare(B& be, weights<reads<B>> const& w, index_t length) const {
    return nn::prepare_part(be, inner, w.inner, length);
  }
  template <class B>
  void apply(B& be, weights<reads<B>> const& w, prepared<owns<B>> const& p, inputs<reads<B>> const& a,
             out<B, T, 4> y) const {
    check(a.x, w, y);
    run(be, w, a.x, {}, y,
        [&](auto const& x, auto const& to) { nn::apply_part(be, inner, w.inner, p, {x}, to); });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    nn::check_weight_gradients(*this, dw);
    nn::check_gradients("residual: dy", "residual: dx", dy, dx.x, a.x, a.x.ext);
    expects_extents("residual: tape", t.h.ext, a.x.ext);
    auto frame = be.scope();
    auto const dh = be.template scratch<T>(a.x.ext);
    in<B, T, 4> const h = t.h;
    if constexpr (pre) {
      inner.backward(be, w.inner, {h}, t.inner, dy, dw.inner, {dh});
      norm.backward(be, w.norm, {a.x}, t.norm, as_input(dh), dw.norm, {dx.x});
      be.map(add{}, dx.x, as_input(dx.x), dy);
    } else {
      norm.backward(be, w.norm, {h}, t.norm, dy, dw.norm, {dh});
      inner.backward(be, w.inner, {a.x}, t.inner, as_input(dh), dw.inner, {dx.x});
      be.map(add{}, dx.x, as_input(dx.x), as_input(dh));
    }
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const requires(about.streaming) {
    return inner.make_state(be, w.inner, {a.x}, capacity);
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const requires(about.streaming) {
    check(a.x, w, y);
    run(be, w, a.x, {}, y, [&](auto const& x, auto const& to) { inner.prefill(be, w.inner, {x}, s, to); });
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    expects_value(a.x.ext[2] == 1, "residual: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

 private:
  /// The program, with the inner layer as a function from x to y.
  template <class B, class F>
  void run(B& be, weights<reads<B>> const& w, in<B, T, 4> x, tape<writes<B>> const& t, out<B, T, 4> y,
           F const& of_inner) const {
    auto frame = be.scope();
    bool const record = t.h.size() != 0;
    if constexpr (pre) {
      auto const h = record ? t.h : be.template scratch<T>(x.ext);
      norm.forward(be, w.norm, {x}, t.norm, h);
      of_inner(as_input(h), y);
      be.map(add{}, y, as_input(y), x);
    } else {
      auto const h = record ? t.h : y;
      of_inner(x, h);
      be.map(add{}, h, as_input(h), x);
      norm.forward(be, w.norm, {as_input(h)}, t.norm, y);
    }
  }
  template <class X, class W> void check(X const& x, W const& w) const {
    nn::check_weights(*this, w);
    expects_extents("residual: x", x.ext, {-1, -1, -1, norm.channels});
    expects_contiguous_rows("residual: x", x);
    expects_extents("residual: inner", inner.output_extents(nn::input_of_extents{x.ext}), x.ext);
  }
  template <class X, class W, class Y> void check(X const& x, W const& w, Y const& y) const {
    check(x, w);
    nn::check_output("residual: y", x, y, x.ext);
  }
};

}  // namespace smx
