// SPDX-License-Identifier: Apache-2.0
/// \file  BERT over any block: an encoder of token ids, a pooler, a masked-LM head and a classifier.
/// J. Devlin et al., NAACL 2019; with m2_block M2-BERT: D. Fu et al., "Monarch Mixer", NeurIPS 2023.
///
///   x_l = norm(word[id_l] + position[l] + type[type_l]),  h = stack of blocks (x)
///   pooled = tanh(W_p (h_0, or the mean of the rows that are there)),  scores = W_c pooled
///   logits = word norm(gelu(W_d h)) + bias   (the decoder is the table of words)
#pragma once

#include <vector>

#include <smx/mixers/parameters.hpp>
#include <smx/models/bert_blocks.hpp>
#include <smx/nn/cross_entropy.hpp>
#include <smx/nn/embedding.hpp>
#include <smx/nn/stack.hpp>

namespace smx {

/// What BERT reads: ids (B,L), and their types (B,L), or nothing where all are of type 0.
template <class B> struct bert_tokens {
  in<B, index_t, 2> ids, types = {};
};

/// The tokens of (B,L) that a masked-LM loss is about: places b L + l, and the ids that stood there.
template <class B> struct masked_tokens { in<B, index_t, 1> places, targets; };

enum class pooling : char { first, mean };

/// Shapes: h (B,1,L,D), rows of the head (1,1,N,D), logits (1,1,N,V), pooled (B,1,1,D), scores (B,1,1,C).
/// Blocks that look at masks need `with_lengths` first. Weights by the one visitor: parameters, initialize,
/// optimizers and files see them as those of a mixer. Throws precondition_error for other extents, ids
/// outside the table of words, and lengths beyond the table of positions or what the blocks take.
template <class Block> struct bert {
  using scalar = typename Block::scalar;
  using T = scalar;
  using block_type = Block;
  using blocks_type = stack<Block>;
  static constexpr traits about = [] {
    traits t = Block::about;
    t.name = "bert";
    t.streaming = t.row_separable = t.normalised = t.truncates = t.evicts = false;
    return t;
  }();

  index_t vocabulary = 0;  ///< V
  index_t channels = 0;    ///< D
  index_t positions = 0;   ///< rows of the table of positions; 0: there is none
  index_t types = 2;
  index_t depth = 1;
  index_t classes = 0;  ///< of the classifier; 0: there is none
  bool pooler = true;
  bool head = true;
  double eps = 1e-12;
  double deviation = 0.02;  ///< of tables and dense layers at the start
  Block block = {};
  friend bool operator==(bert const&, bert const&) = default;

  template <class A> struct head_weights {
    typename linear<T>::template weights<A> dense;
    typename layer_norm<T>::template weights<A> norm;
    array<A, T, 1> bias;  // (V)
  };
  template <class A> struct weights {
    typename embedding<T>::template weights<A> words, positions, types;
    typename layer_norm<T>::template weights<A> norm;
    typename blocks_type::template weights<A> blocks;
    typename linear<T>::template weights<A> pooler, classifier;
    head_weights<A> head;
  };
  /// sum: what the first norm is applied to; x: its result.
  template <class A> struct tape {
    array<A, T, 4> sum, x;
    typename layer_norm<T>::template tape<A> norm;
    typename blocks_type::template tape<A> blocks;
  };
  /// What the head's gelu, its norm and the decoder are applied to.
  template <class A> struct head_tape {
    array<A, T, 4> dense, active, normed;
    typename layer_norm<T>::template tape<A> norm;
  };
  /// What the pooler's map is applied to, and its result.
  template <class A> struct pooler_tape { array<A, T, 4> rows, pooled; };
  /// What the blocks prepare for one length: kernels, and weights as the backend's products want them.
  template <class A> struct prepared {
    std::vector<nn::prepared_part<Block, A>> blocks;
    index_t length = 0;
  };

  embedding<T> word_table() const { return {vocabulary, channels, -1, deviation}; }
  embedding<T> position_table() const { return {positions, channels, -1, deviation}; }
  embedding<T> type_table() const { return {types, channels, -1, deviation}; }
  layer_norm<T> norm() const { return {channels, eps}; }
  blocks_type blocks() const { return {block, depth}; }
  linear<T> dense() const { return {channels, channels, true, deviation}; }
  linear<T> classifier() const { return {channels, classes, true, deviation}; }

  /// The same model for sequences of which lengths[b] tokens are there. `lengths` (count: the batch, or 1) is
  /// read whenever the model runs.
  bert with_lengths(index_t const* lengths, index_t count) const {
    bert m = *this;
    set_lengths(m.block, padding_mask{lengths, count});
    return m;
  }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    word_table().for_each_weight(nn::under("words.", f), w.words...);
    if (positions > 0) position_table().for_each_weight(nn::under("positions.", f), w.positions...);
    type_table().for_each_weight(nn::under("types.", f), w.types...);
    norm().for_each_weight(nn::under("norm.", f), w.norm...);
    blocks().for_each_weight(nn::under("blocks.", f), w.blocks...);
    if (pooler) dense().for_each_weight(nn::under("pooler.", f), w.pooler...);
    if (classes > 0) classifier().for_each_weight(nn::under("classifier.", f), w.classifier...);
    if (!head) return;
    dense().for_each_weight(nn::under("head.dense.", f), w.head.dense...);
    norm().for_each_weight(nn::under("head.norm.", f), w.head.norm...);
    f(weight_info<1>{"head.bias", {vocabulary}, {}}, w.head.bias...);
  }

  /// Tables of the blocks that `initialize` leaves at zero.
  template <class B> void fill_tables(B& be, weights<writes<B>> const& w) const {
    for (index_t i = 0; i < depth; ++i) nn::fill_part_tables(be, block, w.blocks.layers[i]);
  }

  template <class B> tape<writes<B>> make_tape(B& be, bert_tokens<B> const& tokens) const {
    extents<4> const e = rows_extents(tokens.ids.ext);
    tape<writes<B>> t;
    t.sum = be.template scratch<T>(e);
    t.x = be.template scratch<T>(e);
    t.norm = norm().make_tape(be, {as_input(t.sum)});
    t.blocks = blocks().make_tape(be, {as_input(t.x)});
    return t;
  }

  /// h (B,1,L,D). A default-made tape records nothing.
  template <class B>
  void encode(B& be, weights<reads<B>> const& w, bert_tokens<B> const& tokens, tape<writes<B>> const& t,
              out<B, T, 4> h) const {
    auto frame = be.scope();
    auto const x = embed<B>(be, w, tokens, t, h);
    blocks().forward(be, w.blocks, {x}, t.blocks, h);
  }

  /// The blocks' kernels, their spectra and their weights, for inputs of `length` positions.
  template <class B> prepared<owns<B>> prepare(B& be, weights<reads<B>> const& w, index_t length) const {
    check_length(length);
    prepared<owns<B>> p;
    p.length = length;
    for (index_t i = 0; i < depth; ++i)
      p.blocks.push_back(nn::prepare_part(be, block, w.blocks.layers[i], length));
    return p;
  }
  /// encode with prepared kernels.
  template <class B>
  void encode(B& be, weights<reads<B>> const& w, prepared<owns<B>> const& p, bert_tokens<B> const& tokens,
              out<B, T, 4> h) const {
    expects_value(p.length == tokens.ids.ext[1], "bert: prepared", "kernels for the length of ids", p.length);
    expects_value(static_cast<index_t>(p.blocks.size()) == depth, "bert: prepared", "as many blocks; blocks",
                  static_cast<index_t>(p.blocks.size()));
    auto frame = be.scope();
    in<B, T, 4> from = embed<B>(be, w, tokens, {}, h);
    out<B, T, 4> spare[2] = {};
    for (index_t i = 0; i < depth; ++i) {
      auto& free = spare[i % 2];
      if (i + 1 < depth && free.size() == 0) free = be.template scratch<T>(h.ext);
      auto const to = i + 1 < depth ? free : h;
      nn::apply_part(be, block, w.blocks.layers[i], p.blocks[static_cast<std::size_t>(i)], {from}, to);
      from = to;
    }
  }

  /// dw += what dh gives.
  template <class B>
  void encode_backward(B& be, weights<reads<B>> const& w, bert_tokens<B> const& tokens,
                       tape<writes<B>> const& t, in<B, T, 4> dh, weights<writes<B>> const& dw) const {
    auto frame = be.scope();
    auto const dx = be.template scratch<T>(dh.ext), dsum = be.template scratch<T>(dh.ext);
    blocks().backward(be, w.blocks, {as_input(t.x)}, t.blocks, dh, dw.blocks, {dx});
    norm().backward(be, w.norm, {as_input(t.sum)}, t.norm, as_input(dx), dw.norm, {dsum});
    in<B, T, 4> const d = dsum;
    word_table().backward(be, tokens.ids, d, dw.words);
    if (tokens.types.size() != 0)
      type_table().backward(be, tokens.types, d, dw.types);
    else
      nn::add_rows<B, T>(be, d, fix_axis(dw.types.weight, 0, 0));
    if (positions == 0) return;
    auto const to = nn::as_matrix(slice(dw.positions.weight, 0, 0, d.ext[2]));
    for (index_t b = 0; b < d.ext[0]; ++b) be.map(add{}, to, as_input(to), slice(d, 0, b, 1));
  }

  template <class B> head_tape<writes<B>> make_head_tape(B& be, in<B, T, 4> rows) const {
    head_tape<writes<B>> t;
    t.dense = be.template scratch<T>(rows.ext);
    t.active = be.template scratch<T>(rows.ext);
    t.normed = be.template scratch<T>(rows.ext);
    t.norm = norm().make_tape(be, {as_input(t.active)});
    return t;
  }
  /// Logits of rows of h.
  template <class B>
  void logits(B& be, weights<reads<B>> const& w, in<B, T, 4> rows, head_tape<writes<B>> const& t,
              out<B, T, 4> y) const {
    expects(head, "bert: logits: expected a model with a masked-LM head, got one without");
    auto frame = be.scope();
    head_tape<writes<B>> const u = t.dense.size() != 0 ? t : make_head_tape<B>(be, rows);
    dense().forward(be, w.head.dense, {rows}, {}, u.dense);
    be.map(gelu{}, u.active, as_input(u.dense));
    norm().forward(be, w.head.norm, {as_input(u.active)}, u.norm, u.normed);
    be.map(identity{}, y, nn::for_rows(w.head.bias, y.ext));
    be.gemm(op::none, op::transpose, T(1), as_input(u.normed), nn::as_matrix(w.words.weight), T(1), y);
  }
  template <class B>
  void logits_backward(B& be, weights<reads<B>> const& w, in<B, T, 4> rows, head_tape<writes<B>> const& t,
                       in<B, T, 4> dy, weights<writes<B>> const& dw, out<B, T, 4> drows) const {
    auto frame = be.scope();
    auto const a = be.template scratch<T>(rows.ext), b = be.template scratch<T>(rows.ext);
    nn::add_rows<B, T>(be, dy, dw.head.bias);
    be.gemm(op::transpose, op::none, T(1), dy, as_input(t.normed), T(1), nn::as_matrix(dw.words.weight));
    be.gemm(op::none, op::none, T(1), dy, nn::as_matrix(w.words.weight), T(0), a);
    norm().backward(be, w.head.norm, {as_input(t.active)}, t.norm, as_input(a), dw.head.norm, {b});
    be.map(nn::times_slope<d_gelu>{}, a, as_input(b), as_input(t.dense));
    dense().backward(be, w.head.dense, {rows}, {}, as_input(a), dw.head.dense, {drows});
  }

  template <class B> pooler_tape<writes<B>> make_pooler_tape(B& be, in<B, T, 4> h) const {
    extents<4> const e{h.ext[0], 1, 1, channels};
    auto const rows = be.template scratch<T>(e);
    return {rows, be.template scratch<T>(e)};
  }
  /// rows (B,1,1,D): the first row of each sequence, or the mean of its first lengths[b] rows.
  template <class B>
  void pool_rows(B& be, pooling how, index_t const* lengths, in<B, T, 4> h, out<B, T, 4> rows) const {
    if (how == pooling::first) return be.copy(slice(h, 2, 0, 1), rows);
    for (index_t b = 0; b < h.ext[0]; ++b) {
      index_t const n = lengths[b];
      expects_value(n >= 1 && n <= h.ext[2], "bert: lengths", "1 to the length of h", n);
      auto const to = slice(rows, 0, b, 1);
      auto const columns = swap_axes(slice(slice(h, 0, b, 1), 2, 0, n), 2, 3);  // (1,1,D,n)
      be.reduce(reduction::sum, columns, T(0), swap_axes(to, 2, 3));
      be.map(nn::scaled<T>{T(1) / static_cast<T>(n)}, to, as_input(to));
    }
  }
  /// pooled (B,1,1,D): tanh of the pooler's map of pool_rows.
  template <class B>
  void pool(B& be, weights<reads<B>> const& w, pooling how, index_t const* lengths, in<B, T, 4> h,
            pooler_tape<writes<B>> const& t, out<B, T, 4> pooled) const {
    expects(pooler, "bert: pool: expected a model with a pooler, got one without");
    auto frame = be.scope();
    auto const rows = t.rows.size() != 0 ? t.rows : make_pooler_tape<B>(be, h).rows;
    pool_rows<B>(be, how, lengths, h, rows);
    dense().forward(be, w.pooler, {as_input(rows)}, {}, pooled);
    be.map(hyperbolic_tangent{}, pooled, as_input(pooled));
    if (t.pooled.size() != 0) be.copy(as_input(pooled), t.pooled);
  }
  /// dh += what dpooled gives, for pooling::first.
  template <class B>
  void pool_backward(B& be, weights<reads<B>> const& w, pooler_tape<writes<B>> const& t, in<B, T, 4> dpooled,
                     weights<writes<B>> const& dw, out<B, T, 4> dh) const {
    auto frame = be.scope();
    auto const a = be.template scratch<T>(t.rows.ext), b = be.template scratch<T>(t.rows.ext);
    be.map(nn::tanh_back{}, a, dpooled, as_input(t.pooled));
    dense().backward(be, w.pooler, {as_input(t.rows)}, {}, as_input(a), dw.pooler, {b});
    auto const to = slice(dh, 2, 0, 1);
    be.map(add{}, to, as_input(to), as_input(b));
  }

  /// loss (1): the mean cross entropy of the masked tokens.
  template <class B>
  void loss(B& be, weights<reads<B>> const& w, bert_tokens<B> const& tokens, masked_tokens<B> const& masked,
            out<B, T, 1> loss) const {
    auto frame = be.scope();
    auto const h = be.template scratch<T>(rows_extents(tokens.ids.ext));
    encode(be, w, tokens, {}, h);
    auto const rows = be.template scratch<T>(picked_extents(masked, channels));
    auto const scores = be.template scratch<T>(picked_extents(masked, vocabulary));
    be.gather(as_list(as_input(h)), masked.places, as_list(rows));
    logits<B>(be, w, as_input(rows), {}, scores);
    cross_entropy<T>{}.forward(be, {}, as_list(as_input(scores)), masked.targets, {}, loss);
  }
  /// The loss, and dw += scale times its gradient.
  template <class B>
  void loss_and_gradients(B& be, weights<reads<B>> const& w, bert_tokens<B> const& tokens,
                          masked_tokens<B> const& masked, double scale, weights<writes<B>> const& dw,
                          out<B, T, 1> loss) const {
    auto frame = be.scope();
    auto const t = make_tape(be, tokens);
    auto const h = be.template scratch<T>(t.x.ext);
    encode(be, w, tokens, t, h);
    auto const rows = be.template scratch<T>(picked_extents(masked, channels));
    be.gather(as_list(as_input(h)), masked.places, as_list(rows));
    {
      auto inner = be.scope();
      auto const of_head = make_head_tape<B>(be, as_input(rows));
      auto const scores = be.template scratch<T>(picked_extents(masked, vocabulary));
      logits<B>(be, w, as_input(rows), of_head, scores);
      cross_entropy<T>{}.forward_backward(be, {}, as_list(as_input(scores)), masked.targets, scale, {}, loss,
                                          as_list(scores));
      auto const drows = be.template scratch<T>(rows.ext);
      logits_backward<B>(be, w, as_input(rows), of_head, as_input(scores), dw, drows);
      be.map(constant<T>{T(0)}, h);
      be.scatter_add(masked.places, as_list(as_input(drows)), as_list(h));
    }
    encode_backward<B>(be, w, tokens, t, as_input(h), dw);
  }

  /// (B,1,L,D) for ids (B,L).
  extents<4> rows_extents(extents<2> const& ids) const { return {ids[0], 1, ids[1], channels}; }

 private:
  void check_options() const {
    expects_value(positions >= 0, "bert: positions", "0 (no table) or more", positions);
    expects_value(depth >= 1, "bert: depth", "at least 1", depth);
    expects_value(classes >= 0, "bert: classes", "0 (no classifier) or more", classes);
    expects(classes == 0 || pooler, "bert: classes: expected a pooler under the classifier, got none");
  }
  void check_length(index_t length) const {
    expects_value(positions == 0 || length <= positions, "bert: length",
                  "no more than the table of positions has rows", length);
  }
  template <class M> static extents<4> picked_extents(M const& masked, index_t n) {
    return {1, 1, masked.places.ext[0], n};
  }
  /// (B,1,L,D) or (1,1,N,D), contiguous, as a list of rows.
  template <class U, class S> static view<U, 2, S> as_list(view<U, 4, S> const& v) {
    return view<U, 2, S>(v.ptr, {v.ext[0] * v.ext[1] * v.ext[2], v.ext[3]});
  }

  /// norm(word + position + type); without a tape in h where it may be, else in scratch of the caller's
  /// frame.
  template <class B>
  in<B, T, 4> embed(B& be, weights<reads<B>> const& w, bert_tokens<B> const& tokens, tape<writes<B>> const& t,
                    out<B, T, 4> h) const {
    check_options();
    check_length(tokens.ids.ext[1]);
    expects_extents("bert: h", h.ext, rows_extents(tokens.ids.ext));
    if (tokens.types.size() != 0) expects_extents("bert: types", tokens.types.ext, tokens.ids.ext);
    bool const record = t.sum.size() != 0;
    auto const sum = record ? t.sum : be.template scratch<T>(h.ext);
    word_table().forward(be, w.words, tokens.ids, sum);
    if (tokens.types.size() != 0) {
      type_table().forward(be, w.types, tokens.types, h);
      be.map(add{}, sum, as_input(sum), as_input(h));
    } else {
      be.map(add{}, sum, as_input(sum), nn::for_rows(fix_axis(w.types.weight, 0, 0), h.ext));
    }
    if (positions > 0) {
      in<B, T, 2> const rows = slice(w.positions.weight, 0, 0, h.ext[2]);
      be.map(add{}, sum, as_input(sum), broadcast_axis(broadcast_axis(rows, 0, 1), 0, h.ext[0]));
    }
    auto const x = record ? t.x : sum;
    norm().forward(be, w.norm, {as_input(sum)}, t.norm, x);
    return x;
  }
};

}  // namespace smx
