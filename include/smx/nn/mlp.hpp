// SPDX-License-Identifier: Apache-2.0
/// \file  The feed-forward layers of transformers. mlp: y = W_2 f(W_1 x); glu: with (g, v) the two halves of
/// W_1 x, y = W_2 (f(g) v). Over dense (linear) or block-diagonal maps: glu<T, block_diagonal<T>> without a
/// bias in W_1 is the dimension mixer of M2-BERT.
///
/// N. Shazeer, "GLU Variants Improve Transformer", arXiv 2002.05202; D. Fu et al., "Monarch Mixer", NeurIPS
/// 2023.
#pragma once

#include <smx/mixers/block_diagonal.hpp>
#include <smx/nn/activation.hpp>
#include <smx/nn/linear.hpp>
#include <smx/nn/prepared.hpp>

namespace smx {

/// `up` maps D to I channels (glu: to 2 I), `down` maps I to D'. The names of their weights get the members'
/// names in front. Shapes: x (B,H,L,D), y (B,H,L,D'). Throws precondition_error for what the maps refuse and
/// for maps that do not fit each other.
template <Compute T, bool Gated, class Map = linear<T>, class Act = gelu_erf_activation> struct feed_forward {
  using scalar = T;
  static constexpr traits about{.name = Gated ? "glu" : "mlp",
                                .causality = causality::exact,
                                .data_dependent = true,
                                .flops_exponent = 1,
                                .pointwise = true};
  static constexpr int input_count = 1;

  Map up = {}, down = {};
  friend bool operator==(feed_forward const&, feed_forward const&) = default;

  template <class A> struct weights { typename Map::template weights<A> up, down; };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape { array<A, T, 4> h, z; };  // W_1 x and what W_2 is applied to

  template <class A> struct prepared {
    nn::prepared_part<Map, A> up, down;
    std::size_t bytes() const { return up.bytes() + down.bytes(); }
  };

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    up.for_each_weight(nn::under("up.", f), w.up...);
    down.for_each_weight(nn::under("down.", f), w.down...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const {
    extents<4> e = x.x.extents();
    e[3] = down.output();
    return e;
  }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    extents<4> e = a.x.ext;
    e[3] = up.output();
    auto const h = be.template scratch<T>(e);
    e[3] = down.channels;
    return {h, be.template scratch<T>(e)};
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a.x, w);
    expects_extents(Gated ? "glu: y" : "mlp: y", y.ext, output_extents(a));
    run(
        be, a.x, t, [&](auto const& x, auto const& h) { up.forward(be, w.up, {x}, {}, h); },
        [&](auto const& z) { down.forward(be, w.down, {z}, {}, y); });
  }
  template <class B> prepared<owns<B>> prepare(B& be, weights<reads<B>> const& w, index_t length) const {
    return {nn::prepare_part(be, up, w.up, length), nn::prepare_part(be, down, w.down, length)};
  }
  template <class B>
  void apply(B& be, weights<reads<B>> const& w, prepared<owns<B>> const& p, inputs<reads<B>> const& a,
             out<B, T, 4> y) const {
    check(a.x, w);
    expects_extents(Gated ? "glu: y" : "mlp: y", y.ext, output_extents(a));
    run(
        be, a.x, {}, [&](auto const& x, auto const& h) { nn::apply_part(be, up, w.up, p.up, {x}, h); },
        [&](auto const& z) { nn::apply_part(be, down, w.down, p.down, {z}, y); });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    nn::check_weight_gradients(*this, dw);
    nn::check_gradients(Gated ? "glu: dy" : "mlp: dy", Gated ? "glu: dx" : "mlp: dx", dy, dx.x, a.x,
                        output_extents(a));
    extents<4> e = a.x.ext;
    e[3] = up.output();
    expects_extents(Gated ? "glu: tape" : "mlp: tape", t.h.ext, e);
    auto frame = be.scope();
    auto const dh = be.template scratch<T>(e);
    e[3] = down.channels;
    auto const dz = be.template scratch<T>(e);
    down.backward(be, w.down, {as_input(t.z)}, {}, dy, dw.down, {dz});
    if constexpr (Gated) {
      auto const g = as_input(half(t.h, 0)), v = as_input(half(t.h, 1));
      be.map(nn::d_gated<typename Act::slope>{}, half(dh, 0), as_input(dz), g, v);
      be.map(nn::gated<typename Act::value>{}, half(dh, 1), g, as_input(dz));
    } else {
      be.map(nn::times_slope<typename Act::slope>{}, dh, as_input(dz), as_input(t.h));
    }
    up.backward(be, w.up, {a.x}, {}, as_input(dh), dw.up, {dx.x});
  }

 private:
  /// The program, with the maps passed in: of_up(x, W_1 x), of_down(z).
  template <class B, class Up, class Down>
  void run(B& be, in<B, T, 4> x, tape<writes<B>> const& t, Up const& of_up, Down const& of_down) const {
    auto frame = be.scope();
    auto const used = t.h.size() != 0 ? t : make_tape(be, inputs<reads<B>>{x});
    of_up(x, used.h);
    if constexpr (Gated)
      be.map(nn::gated<typename Act::value>{}, used.z, as_input(half(used.h, 0)), as_input(half(used.h, 1)));
    else
      be.map(typename Act::value{}, used.z, as_input(used.h));
    of_down(as_input(used.z));
  }
  void check_options() const {
    expects_value(
        up.output() == down.channels * (Gated ? 2 : 1), Gated ? "glu: up" : "mlp: up",
        Gated ? "twice the channels of down; output channels" : "the channels of down; output channels",
        up.output());
  }
  template <class X, class W> void check(X const& x, W const& w) const {
    check_options();
    nn::check_weights(*this, w);
    expects_extents(Gated ? "glu: x" : "mlp: x", x.ext, {-1, -1, -1, up.channels});
    expects_contiguous_rows(Gated ? "glu: x" : "mlp: x", x);
  }
  template <class V> V half(V const& h, index_t which) const {
    return slice(h, 3, which * down.channels, down.channels);
  }
};

template <Compute T, class Map = linear<T>, class Act = gelu_erf_activation>
using mlp = feed_forward<T, false, Map, Act>;
template <Compute T, class Map = linear<T>, class Act = gelu_erf_activation>
using glu = feed_forward<T, true, Map, Act>;

}  // namespace smx
