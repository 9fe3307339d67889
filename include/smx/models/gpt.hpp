// SPDX-License-Identifier: Apache-2.0
/// \file  GPT around any causal layer: embeddings of tokens and positions, pre-norm blocks of a sequence
/// mixer and an MLP, a last norm, and logits from the table of tokens. A. Radford et al., "Language Models
/// are Unsupervised Multitask Learners", 2019.
///
///   h = tokens[id] + positions[t];  h += mixer(norm(h)), h += mlp(norm(h)) for each block;
///   logits = norm(h) tokens^T
///
/// Cost a token: 2 V D for the logits, 16 D^2 for an MLP of 4 D channels, and the mixer.
#pragma once

#include <string>

#include <smx/nn/cross_entropy.hpp>
#include <smx/nn/embedding.hpp>
#include <smx/nn/mlp.hpp>
#include <smx/nn/residual.hpp>
#include <smx/nn/sequential.hpp>
#include <smx/nn/stack.hpp>

namespace smx {

/// A block: the mixer, then the MLP, each behind a norm inside of a residual connection.
template <class M>
using gpt_block =
    sequential<residual<M>,
               residual<mlp<typename M::scalar, linear<typename M::scalar>, gelu_tanh_activation>>>;

/// The states of the blocks.
template <class A, class Blocks> struct gpt_state {
  typename Blocks::template state<A> blocks;
  index_t capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    Blocks::template state<A>::for_each_array(detail::prefixed("blocks.", f), s.blocks...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    Blocks::template state<A>::for_each_counter(detail::prefixed("blocks.", f), s.blocks...);
    f("capacity", s.capacity...);
    f("position", s.position...);
  }
  index_t tokens() const { return position; }
};

/// Shapes: ids (B,L), hidden (B,1,L,D), logits (B,1,L,V). M is a causal layer on D channels. Throws
/// precondition_error for other extents, ids outside the vocabulary where the host can read them, more
/// positions than the table or the mixer has, and for what the parts refuse.
template <class M> struct gpt {
  static_assert(M::about.causality != causality::none, "gpt: the mixer must be causal");
  using scalar = typename M::scalar;
  using T = scalar;
  using block = gpt_block<M>;
  using blocks_type = stack<block>;
  static constexpr traits about = [] {
    traits t = blocks_type::about;
    t.name = "gpt";
    return t;
  }();

  index_t vocabulary = 0;   ///< V
  index_t positions = 0;    ///< rows of the table of positions; 0: the mixer alone knows the order
  bool tied = true;         ///< logits from the table of tokens; else from a matrix "head"
  double deviation = 0.02;  ///< of the tables
  blocks_type blocks = {};
  layer_norm<T> norm = {};
  friend bool operator==(gpt const&, gpt const&) = default;

  template <class A> struct weights {
    typename embedding<T>::template weights<A> tokens, places;
    typename blocks_type::template weights<A> blocks;
    typename layer_norm<T>::template weights<A> norm;
    typename linear<T>::template weights<A> head;
  };
  /// What backward needs: the blocks' input and output, and the output's norm.
  template <class A> struct tape {
    array<A, T, 4> x, h, n;  // (B,1,L,D)
    typename blocks_type::template tape<A> blocks;
    typename layer_norm<T>::template tape<A> norm;
  };
  template <class A> using state = gpt_state<A, blocks_type>;

  index_t channels() const { return norm.channels; }
  M const& mixer() const { return blocks.layer.first.inner; }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    tokens().for_each_weight(nn::under("tokens.", f), w.tokens...);
    if (positions > 0) places().for_each_weight(nn::under("positions.", f), w.places...);
    blocks.for_each_weight(nn::under("blocks.", f), w.blocks...);
    norm.for_each_weight(nn::under("norm.", f), w.norm...);
    if (!tied) head().for_each_weight(nn::under("head.", f), w.head...);
  }

  /// The tables of the mixers that have some, which `initialize` leaves at zero.
  template <class B> void fill_tables(B& be, weights<writes<B>> const& w) const {
    if constexpr (requires { mixer().fill_tables(be, w.blocks.layers[0].first.inner); })
      for (index_t i = 0; i < blocks.depth; ++i) mixer().fill_tables(be, w.blocks.layers[i].first.inner);
  }

  template <class B> tape<writes<B>> make_tape(B& be, in<B, index_t, 2> ids) const {
    tape<writes<B>> t;
    extents<4> const e = hidden_extents(ids.ext);
    t.x = be.template scratch<T>(e), t.h = be.template scratch<T>(e), t.n = be.template scratch<T>(e);
    t.blocks = blocks.make_tape(be, {as_input(t.x)});
    t.norm = norm.make_tape(be, {as_input(t.h)});
    return t;
  }

  /// y (B,1,L,D): what the logits are made of. A default-made tape records nothing.
  template <class B>
  void hidden(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, tape<writes<B>> const& t,
              out<B, T, 4> y) const {
    extents<4> const e = hidden_extents(ids.ext);
    expects_extents("gpt: hidden", y.ext, e);
    expect_positions(ids.ext[1]);
    auto frame = be.scope();
    bool const record = t.x.size() != 0;
    auto const x = record ? t.x : be.template scratch<T>(e), h = record ? t.h : be.template scratch<T>(e);
    embed(be, w, ids, 0, x);
    blocks.forward(be, w.blocks, {as_input(x)}, t.blocks, h);
    norm.forward(be, w.norm, {as_input(h)}, t.norm, y);
  }
  /// (B,1,L,V) of y (B,1,L,D).
  template <class B>
  void logits_of(B& be, weights<reads<B>> const& w, in<B, T, 4> y, out<B, T, 4> logits) const {
    extents<4> e = y.ext;
    e[3] = vocabulary;
    expects_extents("gpt: logits", logits.ext, e);
    head().forward(be, head_of<B>(w), {y}, {}, logits);
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, tape<writes<B>> const& t,
               out<B, T, 4> logits) const {
    auto frame = be.scope();
    auto const n = t.n.size() != 0 ? t.n : be.template scratch<T>(hidden_extents(ids.ext));
    hidden(be, w, ids, t, n);
    logits_of(be, w, as_input(n), logits);
  }

  /// dw += the gradients of sum(dlogits * logits).
  template <class B>
  void backward(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, tape<writes<B>> const& t,
                in<B, T, 4> dlogits, weights<writes<B>> dw) const {
    extents<4> const e = hidden_extents(ids.ext);
    expects_extents("gpt: tape", t.n.ext, e);
    auto frame = be.scope();
    auto const a = be.template scratch<T>(e), b = be.template scratch<T>(e);
    head().backward(be, head_of<B>(w), {as_input(t.n)}, {}, dlogits, head_gradient<B>(dw), {a});
    norm.backward(be, w.norm, {as_input(t.h)}, t.norm, as_input(a), dw.norm, {b});
    blocks.backward(be, w.blocks, {as_input(t.x)}, t.blocks, as_input(b), dw.blocks, {a});
    tokens().backward(be, ids, as_input(a), dw.tokens);
    for (index_t i = 0; positions > 0 && i < e[0]; ++i) {
      auto const rows = slice(dw.places.weight, 0, 0, e[2]);
      be.map(add{}, rows, as_input(rows), as_input(fix_axis(fix_axis(a, 0, i), 0, 0)));
    }
  }

  /// loss (1) := the mean cross entropy of targets (B,L) in nats, -100: not counted. dw += its gradients.
  template <class B>
  void loss_and_gradients(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, in<B, index_t, 2> targets,
                          out<B, T, 1> loss, weights<writes<B>> dw) const {
    auto frame = be.scope();
    auto const t = make_tape(be, ids);
    auto const logits = be.template scratch<T>(logit_extents(ids.ext));
    forward(be, w, ids, t, logits);
    cross_entropy<T>{}.forward_backward(be, {}, as_input(flat(logits)), flat(targets), 1, {}, loss,
                                        flat(logits));
    backward(be, w, ids, t, as_input(logits), dw);
  }
  /// losses (B L): cross entropies in nats of targets (B,L); loss (1): their mean.
  template <class B>
  void loss(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, in<B, index_t, 2> targets,
            out<B, T, 1> losses, out<B, T, 1> loss) const {
    auto frame = be.scope();
    auto const logits = be.template scratch<T>(logit_extents(ids.ext));
    forward(be, w, ids, {}, logits);
    cross_entropy<T>{}.forward(be, {}, as_input(flat(logits)), flat(targets), losses, loss);
  }

  /// A stream of at most `capacity` tokens, `batch` rows side by side. It keeps what the mixer makes of w.
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, index_t batch, index_t capacity) const
      requires(about.streaming) {
    expect_positions(capacity);
    in<B, T, 4> const like(nullptr, hidden_extents({batch, 1}));
    return {blocks.make_state(be, w.blocks, {like}, capacity), capacity, 0};
  }
  /// Takes the tokens that follow those so far; logits (B,1,L,V) of all of them or (B,1,1,V) of the last one.
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, state<owns<B>>& s,
               out<B, T, 4> logits) const requires(about.streaming) {
    extents<4> const e = hidden_extents(ids.ext);
    index_t const count = e[2], shown = logits.ext[2];
    expects_value(s.position + count <= s.capacity, "gpt: state",
                  "room for the tokens within its capacity; tokens", s.position + count);
    expects_value(shown == 1 || shown == count, "gpt: logits", "those of all tokens or of the last one; rows",
                  shown);
    auto frame = be.scope();
    auto const x = be.template scratch<T>(e), h = be.template scratch<T>(e);
    embed(be, w, ids, s.position, x);
    blocks.prefill(be, w.blocks, {as_input(x)}, s.blocks, h);
    auto const last = slice(h, 2, count - shown, shown), n = slice(x, 2, 0, shown);
    norm.forward(be, w.norm, {as_input(last)}, {}, n);
    logits_of(be, w, as_input(n), logits);
    s.position += count;
  }
  /// One token: ids (B,1), logits (B,1,1,V).
  template <class B>
  void step(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, state<owns<B>>& s,
            out<B, T, 4> logits) const requires(about.streaming) {
    expects_value(ids.ext[1] == 1, "gpt: ids", "one token", ids.ext[1]);
    prefill(be, w, ids, s, logits);
  }

  embedding<T> tokens() const { return {vocabulary, channels(), -1, deviation}; }
  embedding<T> places() const { return {positions, channels(), -1, deviation}; }
  linear<T> head() const { return {channels(), vocabulary, false, deviation}; }

  /// x (B,1,L,D) := the embeddings of ids at positions first, first + 1, ...
  template <class B>
  void embed(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, index_t first, out<B, T, 4> x) const {
    tokens().forward(be, w.tokens, ids, x);
    if (positions == 0) return;
    expect_positions(first + x.ext[2]);
    auto const rows = slice(w.places.weight, 0, first, x.ext[2]);
    be.map(add{}, x, as_input(x), broadcast_axis(broadcast_axis(rows, 0, 1), 0, x.ext[0]));
  }
  extents<4> hidden_extents(extents<2> const& ids) const { return {ids[0], 1, ids[1], channels()}; }
  extents<4> logit_extents(extents<2> const& ids) const { return {ids[0], 1, ids[1], vocabulary}; }

 private:
  void expect_positions(index_t n) const {
    expects_value(positions == 0 || n <= positions, "gpt: ids", "no more positions than their table has rows",
                  n);
  }
  template <class B>
  typename linear<T>::template weights<reads<B>> head_of(weights<reads<B>> const& w) const {
    return tied ? typename linear<T>::template weights<reads<B>>{w.tokens.weight, {}} : w.head;
  }
  template <class B>
  typename linear<T>::template weights<writes<B>> head_gradient(weights<writes<B>> const& w) const {
    return tied ? typename linear<T>::template weights<writes<B>>{w.tokens.weight, {}} : w.head;
  }
  /// (B,1,L,V) as (B L,V), (B,L) as (B L).
  template <class V, class S> static view<V, 2, S> flat(view<V, 4, S> const& v) {
    return {v.ptr, {v.ext[0] * v.ext[2], v.ext[3]}};
  }
  template <class V, class S> static view<V, 1, S> flat(view<V, 2, S> const& v) {
    expects(is_contiguous(v), "gpt: targets: expected rows one after the other");
    return {v.ptr, {v.size()}};
  }
};

/// The sizes of a GPT that do not depend on its mixer.
struct gpt_sizes {
  index_t vocabulary = 256;
  index_t channels = 128;
  index_t depth = 4;
  index_t positions = 0;  ///< as gpt::positions
  index_t inner = 0;      ///< channels inside of the MLP; 0: 4 D
  double eps = 1e-5;      ///< of all norms
  bool tied = true;
  double deviation = 0;  ///< of the MLP's matrices, as in linear
};

/// A GPT of `depth` blocks around `mixer`, whose channels must be those of the sizes.
template <class M> gpt<M> make_gpt(M const& mixer, gpt_sizes const& s) {
  using T = typename M::scalar;
  index_t const inner = s.inner == 0 ? 4 * s.channels : s.inner;
  layer_norm<T> const norm{s.channels, s.eps};
  gpt<M> g;
  g.vocabulary = s.vocabulary, g.positions = s.positions, g.tied = s.tied;
  g.norm = norm;
  g.blocks.depth = s.depth;
  auto& block = g.blocks.layer;
  block.first.norm = block.second.norm = norm;
  block.first.inner = mixer;
  block.second.inner.up = linear<T>{s.channels, inner, true, s.deviation};
  block.second.inner.down = linear<T>{inner, s.channels, true, s.deviation};
  return g;
}

/// The first place of the forward pass with a number that is not finite: "tokens", "block 2: mixer", "block
/// 2: mlp", "norm", "logits"; empty: there is none. Host memory.
template <class M, class B>
requires std::same_as<space_t<B>, host_space> std::string first_non_finite(
    B& be, gpt<M> const& m, typename gpt<M>::template weights<reads<B>> const& w, in<B, index_t, 2> ids) {
  using T = typename M::scalar;
  auto frame = be.scope();
  auto const fine = [](view<T, 4, host_space> v) {
    for (index_t i = 0; i < v.size(); ++i)
      if (v.ptr[i] - v.ptr[i] != T(0)) return false;
    return true;
  };
  auto x = be.template scratch<T>(m.hidden_extents(ids.ext));
  auto y = be.template scratch<T>(x.ext);
  m.embed(be, w, ids, 0, x);
  if (!fine(x)) return "tokens";
  auto const& block = m.blocks.layer;
  for (index_t i = 0; i < m.blocks.depth; ++i) {
    std::string const name = "block " + std::to_string(i);
    block.first.forward(be, w.blocks.layers[i].first, {as_input(x)}, {}, y);
    if (!fine(y)) return name + ": mixer";
    block.second.forward(be, w.blocks.layers[i].second, {as_input(y)}, {}, x);
    if (!fine(x)) return name + ": mlp";
  }
  m.norm.forward(be, w.norm, {as_input(x)}, {}, y);
  if (!fine(y)) return "norm";
  auto const logits = be.template scratch<T>(m.logit_extents(ids.ext));
  m.logits_of(be, w, as_input(y), logits);
  return fine(logits) ? "" : "logits";
}

}  // namespace smx
