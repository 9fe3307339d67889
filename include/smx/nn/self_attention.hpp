// SPDX-License-Identifier: Apache-2.0
/// \file  Multi-head self-attention as a layer: y = W_o attention(W_q x, W_k x, W_v x). A. Vaswani et al.,
/// NeurIPS 2017.
#pragma once

#include <smx/mixers/attention.hpp>
#include <smx/nn/linear.hpp>

namespace smx {

/// Shapes: x, y (B,1,L,D); weights `qkv`: ((Hq + 2 Hkv) d, D), rows of the queries, keys and values one after
/// the other, head by head; `out`: (D, Hq d); those of the scores, if any, behind "mix.". d = D / Hq unless
/// head_dim. Streams where the attention does. Throws precondition_error for other extents and for heads that
/// do not divide.
template <Compute T, Mask MaskType = full_mask, class Scores = plain_scores> struct self_attention {
  using scalar = T;
  using mixer = attention<T, MaskType, Scores>;
  static constexpr traits about = [] {
    traits t = mixer::about;
    t.name = MaskType::causal ? "self_attention_causal" : "self_attention";
    t.same_source = true;
    t.row_separable = t.normalised = t.truncates = t.evicts = false;
    t.streaming = MaskType::causal && mixer::caches;
    return t;
  }();
  static constexpr int input_count = 1;

  index_t channels = 0;  ///< D
  index_t heads = 1;     ///< Hq
  index_t kv_heads = 0;  ///< Hkv; 0: Hq
  index_t head_dim = 0;  ///< d; 0: D / Hq
  bool bias = true;
  double deviation = 0;  ///< as in linear
  mixer mix = {};
  friend bool operator==(self_attention const&, self_attention const&) = default;

  template <class A> struct weights {
    typename linear<T>::template weights<A> qkv, out;
    typename mixer::template weights<A> mix;
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {
    array<A, T, 4> qkv, o;  // (B,1,L,.)
    typename mixer::template tape<A> mix;
  };
  template <class A> using state = typename mixer::template state<A>;

  index_t keys() const { return kv_heads == 0 ? heads : kv_heads; }
  index_t dim() const { return head_dim == 0 ? channels / heads : head_dim; }
  linear<T> qkv() const { return {channels, (heads + 2 * keys()) * dim(), bias, deviation}; }
  linear<T> out_map() const { return {heads * dim(), channels, bias, deviation}; }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    qkv().for_each_weight(nn::under("qkv.", f), w.qkv...);
    out_map().for_each_weight(nn::under("out.", f), w.out...);
    mix.for_each_weight(nn::under("mix.", f), w.mix...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    tape<writes<B>> t;
    t.qkv = be.template scratch<T>(with_channels(a.x.ext, qkv().output()));
    t.o = be.template scratch<T>(with_channels(a.x.ext, heads * dim()));
    t.mix = mix.make_tape(be, parts<B>(as_input(t.qkv)));
    return t;
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               smx::out<B, T, 4> y) const {
    check(a.x, w, y);
    auto frame = be.scope();
    bool const record = t.qkv.size() != 0;
    auto const all = record ? t.qkv : be.template scratch<T>(with_channels(a.x.ext, qkv().output()));
    auto const o = record ? t.o : be.template scratch<T>(with_channels(a.x.ext, heads * dim()));
    qkv().forward(be, w.qkv, {a.x}, {}, all);
    mix.forward(be, w.mix, parts<B>(as_input(all)), t.mix, by_head(o, heads));
    out_map().forward(be, w.out, {as_input(o)}, {}, y);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    nn::check_weight_gradients(*this, dw);
    nn::check_gradients("self_attention: dy", "self_attention: dx", dy, dx.x, a.x, a.x.ext);
    expects_extents("self_attention: tape", t.qkv.ext, with_channels(a.x.ext, qkv().output()));
    auto frame = be.scope();
    auto const d_all = be.template scratch<T>(t.qkv.ext), d_o = be.template scratch<T>(t.o.ext);
    out_map().backward(be, w.out, {as_input(t.o)}, {}, dy, dw.out, {d_o});
    inputs_out<mixer, B> to;
    to.q = queries(d_all), to.k = source(d_all, 0), to.v = source(d_all, 1);
    mix.backward(be, w.mix, parts<B>(as_input(t.qkv)), t.mix, as_input(by_head(d_o, heads)), dw.mix, to);
    qkv().backward(be, w.qkv, {a.x}, {}, as_input(d_all), dw.qkv, {dx.x});
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const requires(about.streaming) {
    check_options();
    expects_extents("self_attention: x", a.x.ext, {-1, 1, -1, channels});
    in<B, T, 4> const like(nullptr, with_channels(a.x.ext, qkv().output()));
    return mix.make_state(be, w.mix, parts<B>(like), capacity);
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               smx::out<B, T, 4> y) const requires(about.streaming) {
    check(a.x, w, y);
    mix.expect_tokens(s, a.x.ext[2]);
    auto frame = be.scope();
    auto const all = be.template scratch<T>(with_channels(a.x.ext, qkv().output()));
    auto const o = be.template scratch<T>(with_channels(a.x.ext, heads * dim()));
    qkv().forward(be, w.qkv, {a.x}, {}, all);
    mix.prefill(be, w.mix, parts<B>(as_input(all)), s, by_head(o, heads));
    out_map().forward(be, w.out, {as_input(o)}, {}, y);
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            smx::out<B, T, 4> y) const requires(about.streaming) {
    expects_value(a.x.ext[2] == 1, "self_attention: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

 private:
  void check_options() const {
    expects_value(channels >= 1, "self_attention: channels", "at least 1", channels);
    expects_value(heads >= 1, "self_attention: heads", "at least 1", heads);
    expects_value(keys() >= 1 && heads % keys() == 0, "self_attention: kv_heads", "a divisor of heads",
                  keys());
    expects_value(head_dim >= 0, "self_attention: head_dim", "0 (channels / heads) or a positive number",
                  head_dim);
    expects_value(head_dim > 0 || channels % heads == 0, "self_attention: channels",
                  "a multiple of heads, or a head_dim", channels);
  }
  template <class X, class W> void check(X const& x, W const& w) const {
    check_options();
    nn::check_weights(*this, w);
    expects_extents("self_attention: x", x.ext, {-1, 1, -1, channels});
    expects_contiguous_rows("self_attention: x", x);
  }
  template <class X, class W, class Y> void check(X const& x, W const& w, Y const& y) const {
    check(x, w);
    nn::check_output("self_attention: y", x, y, x.ext);
  }
  static extents<4> with_channels(extents<4> e, index_t n) {
    e[3] = n;
    return e;
  }
  /// (B,1,L,n d) as (B,n,L,d).
  template <class V> static auto by_head(V const& v, index_t n) {
    return swap_axes(split_axis(fix_axis(v, 1, 0), 2, n, v.ext[3] / n), 1, 2);
  }
  template <class V> auto queries(V const& all) const {
    return by_head(slice(all, 3, 0, heads * dim()), heads);
  }
  /// Keys (0) or values (1).
  template <class V> auto source(V const& all, index_t which) const {
    return by_head(slice(all, 3, (heads + which * keys()) * dim(), keys() * dim()), keys());
  }
  template <class B> inputs_in<mixer, B> parts(in<B, T, 4> all) const {
    inputs_in<mixer, B> x;
    x.q = queries(all), x.k = source(all, 0), x.v = source(all, 1);
    return x;
  }
};

}  // namespace smx
