// SPDX-License-Identifier: Apache-2.0
/// \file  Vision transformer: patches of an image as tokens, an optional class token, learned positions, a
/// stack of pre-norm blocks, a norm, and a classifier. A. Dosovitskiy et al., "An Image is Worth 16x16
/// Words", ICLR 2021.
///
///   h_0 = (class, W_p patch_1, ..., W_p patch_N) + positions,  h_{i+1} = block_i(h_i),
///   logits = W_c pool(norm(h_n)) + b_c,  pool: the class token, or the mean of all tokens
///
/// The mixer of the blocks is a type: self_attention gives ViT, m2_sequence_mixer (bidirectional) the ViT of
/// Monarch Mixer (D. Fu et al., NeurIPS 2023).
#pragma once

#include <smx/nn/m2_sequence_mixer.hpp>
#include <smx/nn/mlp.hpp>
#include <smx/nn/patch_embedding.hpp>
#include <smx/nn/self_attention.hpp>
#include <smx/nn/tables.hpp>

namespace smx {

/// x + mixer(norm(x)), then the same with an MLP.
template <class Mixer, class Mlp> using pre_norm_block = sequential<residual<Mixer>, residual<Mlp>>;

template <Compute T, class Map = linear<T>, class Act = gelu_erf_activation>
using vit_softmax_block = pre_norm_block<self_attention<T>, mlp<T, Map, Act>>;
template <Compute T, class Map = linear<T>, class Act = gelu_erf_activation>
using vit_m2_block = pre_norm_block<m2_sequence_mixer<T, convolution_kind::bidirectional>, mlp<T, Map, Act>>;

/// All of the model before its classifier. Shapes: x (B,C,Y,X), y (B,1,L,D): the normalised tokens, the class
/// token first; L = N or N + 1. Throws precondition_error for images of other extents, for what the parts
/// refuse, and for overlaps.
template <class Block> struct vit_encoder {
  using scalar = typename Block::scalar;
  using T = scalar;
  static constexpr traits about{
      .name = "vit_encoder", .data_dependent = true, .flops_exponent = Block::about.flops_exponent};
  static constexpr int input_count = 1;

  index_t image_height = 0, image_width = 0;  ///< Y and X
  patch_embedding<T> patches = {};
  bool class_token = true;
  stack<Block> blocks = {};
  double eps = 1e-12;       ///< of the last norm
  double deviation = 0.02;  ///< that class token and positions start with
  friend bool operator==(vit_encoder const&, vit_encoder const&) = default;

  template <class A> struct weights {
    typename patch_embedding<T>::template weights<A> patches;
    array<A, T, 1> class_token;  // (D)
    array<A, T, 2> positions;    // (L,D)
    typename stack<Block>::template weights<A> blocks;
    typename layer_norm<T>::template weights<A> norm;
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {
    array<A, T, 4> tokens, h;  // (B,1,L,D), before and after the blocks
    typename stack<Block>::template tape<A> blocks;
    typename layer_norm<T>::template tape<A> norm;
  };

  index_t channels() const { return patches.channels; }
  layer_norm<T> norm() const { return {channels(), eps}; }
  /// L
  index_t tokens() const { return patches.output_extents(nn::input_of_extents{image(1)})[2] + first_patch(); }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    initializer const of_tokens{initializer::law::normal, deviation};
    patches.for_each_weight(nn::under("patches.", f), w.patches...);
    if (class_token) f(weight_info<1>{"class_token", {channels()}, of_tokens}, w.class_token...);
    f(weight_info<2>{"positions", {tokens(), channels()}, of_tokens}, w.positions...);
    blocks.for_each_weight(nn::under("blocks.", f), w.blocks...);
    norm().for_each_weight(nn::under("norm.", f), w.norm...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const {
    extents<4> const e = x.x.extents();
    expects_extents("vit: images", e, image(-1));
    return {e[0], 1, tokens(), channels()};
  }
  void reseed(std::uint64_t seed) { nn::reseed(blocks, seed); }

  /// The tables of the blocks.
  template <class B> void fill_tables(B& be, weights<writes<B>> const& w) const {
    nn::fill_tables(be, blocks, w.blocks);
  }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    tape<writes<B>> t;
    t.tokens = be.template scratch<T>(output_extents(a));
    t.h = be.template scratch<T>(t.tokens.ext);
    t.blocks = blocks.make_tape(be, {as_input(t.tokens)});
    t.norm = norm().make_tape(be, {as_input(t.h)});
    return t;
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    expects_extents("vit: y", y.ext, output_extents(a));
    expects(!overlaps(a.x, y), "vit: y: expected memory apart from x, got an overlap");
    auto frame = be.scope();
    bool const record = t.h.size() != 0;
    auto const from = record ? t.tokens : be.template scratch<T>(y.ext);
    auto const h = record ? t.h : be.template scratch<T>(y.ext);
    embed<B>(be, w, a, from);
    blocks.forward(be, w.blocks, {as_input(from)}, t.blocks, h);
    norm().forward(be, w.norm, {as_input(h)}, t.norm, y);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    extents<4> const e = output_extents(a);
    nn::check_gradients("vit: dy", "vit: dx", dy, dx.x, a.x, e);
    expects_extents("vit: tape", t.h.ext, e);
    auto frame = be.scope();
    auto const dh = be.template scratch<T>(e), d = be.template scratch<T>(e);
    norm().backward(be, w.norm, {as_input(t.h)}, t.norm, dy, dw.norm, {dh});
    blocks.backward(be, w.blocks, {as_input(t.tokens)}, t.blocks, as_input(dh), dw.blocks, {d});
    add_batch<B>(be, as_input(d), dw.positions);
    if (class_token) add_batch<B>(be, as_input(slice(d, 2, 0, 1)), as_rows(dw.class_token));
    auto const of_patches = be.template scratch<T>(patch_extents(e));
    be.copy(as_input(patch_tokens(d)), of_patches);
    patches.backward(be, w.patches, {a.x}, {}, as_input(of_patches), dw.patches, {dx.x});
  }

 private:
  index_t first_patch() const { return class_token ? 1 : 0; }
  extents<4> image(index_t batch) const { return {batch, patches.image_channels, image_height, image_width}; }
  extents<4> patch_extents(extents<4> e) const {
    e[2] -= first_patch();
    return e;
  }
  template <class V> V patch_tokens(V const& v) const {
    return slice(v, 2, first_patch(), v.ext[2] - first_patch());
  }
  /// A vector (D) as (1,D).
  template <class V> static auto as_rows(V const& v) { return broadcast_axis(v, 0, 1); }
  /// Rows (L,D) for every image of a batch.
  template <class V> static auto for_batch(V const& rows, index_t batch) {
    return broadcast_axis(broadcast_axis(rows, 0, 1), 0, batch);
  }

  template <class B>
  void embed(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, out<B, T, 4> to) const {
    index_t const batch = to.ext[0];
    auto frame = be.scope();
    auto const of_patches = be.template scratch<T>(patch_extents(to.ext));
    patches.forward(be, w.patches, {a.x}, {}, of_patches);
    auto const positions = for_batch(w.positions, batch);
    be.map(add{}, patch_tokens(to), as_input(of_patches), patch_tokens(positions));
    if (class_token)
      be.map(add{}, slice(to, 2, 0, 1), for_batch(as_rows(w.class_token), batch), slice(positions, 2, 0, 1));
  }
  /// to (L,D) += the sum of v (B,1,L,D) over the batch, in its order.
  template <class B> static void add_batch(B& be, in<B, T, 4> v, out<B, T, 2> to) {
    auto const from = swap_axes(swap_axes(swap_axes(v, 0, 1), 1, 2), 2, 3);  // (1,L,D,B)
    be.reduce(reduction::sum, from, T(1), broadcast_axis(broadcast_axis(to, 2, 1), 0, 1));
  }
};

/// Shapes: x (B,1,L,D), y (B,1,1,K): logits of the first token, or of the mean of all. Throws
/// precondition_error for other extents and overlaps.
template <Compute T> struct token_classifier {
  using scalar = T;
  static constexpr traits about{.name = "token_classifier", .flops_exponent = 1};
  static constexpr int input_count = 1;

  index_t channels = 0;  ///< D
  index_t classes = 0;   ///< K
  bool first_token = true;
  double deviation = 0;  ///< as in linear
  friend bool operator==(token_classifier const&, token_classifier const&) = default;

  template <class A> using weights = typename linear<T>::template weights<A>;
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape { array<A, T, 4> pooled; };  // (B,1,1,D)

  linear<T> map() const { return {channels, classes, true, deviation}; }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    expects_value(classes >= 1, "token_classifier: classes", "at least 1", classes);
    map().for_each_weight(f, w...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return {x.x.extents()[0], 1, 1, classes}; }
  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    return {be.template scratch<T>(extents<4>{a.x.ext[0], 1, 1, channels})};
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    expects_extents("token_classifier: x", a.x.ext, {-1, 1, -1, channels});
    auto frame = be.scope();
    auto const pooled = t.pooled.size() != 0 ? t.pooled : make_tape(be, a).pooled;
    if (first_token) {
      be.copy(slice(a.x, 2, 0, 1), pooled);
    } else {
      be.reduce(reduction::sum, swap_axes(a.x, 2, 3), T(0), swap_axes(pooled, 2, 3));
      be.map(scale_by<T>{T(1) / static_cast<T>(a.x.ext[2])}, pooled, as_input(pooled));
    }
    map().forward(be, w, {as_input(pooled)}, {}, y);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    nn::check_gradients("token_classifier: dy", "token_classifier: dx", dy, dx.x, a.x, output_extents(a));
    expects_extents("token_classifier: tape", t.pooled.ext, {a.x.ext[0], 1, 1, channels});
    auto frame = be.scope();
    auto const d = be.template scratch<T>(t.pooled.ext);
    map().backward(be, w, {as_input(t.pooled)}, {}, dy, dw, {d});
    if (first_token) {
      be.map(constant<T>{T(0)}, dx.x);
      be.copy(as_input(d), slice(dx.x, 2, 0, 1));
    } else {
      view<T const, 4, space_t<B>> const everywhere(d.ptr, dx.x.ext, {d.str[0], 0, 0, d.str[3]});
      be.map(scale_by<T>{T(1) / static_cast<T>(a.x.ext[2])}, dx.x, everywhere);
    }
  }
};

/// Images (B,C,Y,X) to logits (B,1,1,K). Names of weights begin with "first." (encoder) and "second."
/// (classifier); the tape's h are the last hidden states.
template <class Block> using vit = sequential<vit_encoder<Block>, token_classifier<typename Block::scalar>>;

}  // namespace smx
