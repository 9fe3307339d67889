// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention, y_i = sum_j p_ij v_j, p_i = softmax over the allowed j of scale q_i . k_j.
///
/// Cost: 2 Lq Lk (D + E) flops a head (what the mask hides is skipped), backward 2.5 times that. Memory O(L
/// (D + E)): scores live in slabs; backward recomputes them. A. Vaswani et al., NeurIPS 2017; without
/// materialised scores: T. Dao et al., "FlashAttention", NeurIPS 2022; shared key/value heads: J. Ainslie et
/// al., "GQA", EMNLP 2023.
#pragma once

#include <cmath>
#include <utility>

#include <smx/backend/shapes.hpp>
#include <smx/backend/tuned.hpp>
#include <smx/mixers/attention_cache.hpp>
#include <smx/mixers/attention_recipe.hpp>
#include <smx/mixers/attention_scores.hpp>
#include <smx/mixers/concept.hpp>
#include <smx/mixers/modified_attention_recipe.hpp>

namespace smx {

/// Multi-head attention under a mask: attention<float> sees every key (self and cross), attention<float,
/// causal_mask> those up to the query, any other Mask as it says.
///
/// Shapes: q (B,Hq,L,D), k (B,Hkv,M,D), v (B,Hkv,M,E), y (B,Hq,L,E). Query head h uses key head floor(h Hkv /
/// Hq); Hq must be a multiple of Hkv. A query without an allowed key gives y = 0, lse = -inf and zero
/// gradients. Masked keys and values are never read into a result: a NaN there changes nothing. Throws
/// precondition_error for other extents, a mask that does not fit them, a last axis that is not contiguous,
/// and outputs that overlap inputs.
///
/// Scores = modified_scores adds what mixers/attention_scores.hpp lists, with further inputs (bias, gates)
/// and weights (table, sink); it runs as the recipe on every backend. It streams with a linear cache and
/// without dropout: distances count from the first token, and the rows of bias and gates for the new queries
/// have one entry or at least one for each token so far, the new ones included; entries beyond these are not
/// read.
template <Compute T, Mask MaskType = full_mask, class Scores = plain_scores> struct attention {
  using scalar = T;
  static constexpr bool modified = Scores::modified;
  /// Whether there is a cache: also under masks that are causal from block to block, for whole blocks.
  static constexpr bool caches = StreamableMask<MaskType>;
  static constexpr traits about{
      .name = modified ? (MaskType::causal ? "attention_modified_causal" : "attention_modified")
                       : (MaskType::causal ? "attention_causal" : "attention"),
      .causality = MaskType::causal ? causality::exact : causality::none,
      .data_dependent = true,
      .streaming = MaskType::causal && caches,
      .truncates = caches,
      .evicts = caches && !modified,
      .flops_exponent = 2,
      .same_source = MaskType::causal,
      .row_separable = true,
      .normalised = !modified};
  static constexpr int input_count = modified ? 5 : 3;

  T scale = 0;  ///< of the scores; 0: 1 / sqrt(D)
  MaskType mask = {};
  Scores scores = {};
  friend bool operator==(attention const&, attention const&) = default;

  template <class A> using weights = typename Scores::template weights<A, T>;
  template <class A> using inputs = typename Scores::template inputs<A, T>;
  /// lse (B,Hq,L,1): log of the sum of exp(scores), natural; y: the output.
  template <class A> struct tape { array<A, T, 4> lse, y; };
  template <class A> using state = attention_cache<A, T>;

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    if constexpr (modified) scores.for_each_weight(f, w...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) {
    f("q", x.q...);
    f("k", x.k...);
    f("v", x.v...);
    if constexpr (modified) {
      f("bias", x.bias...);
      f("gates", x.gates...);
    }
  }

  template <class X> extents<4> output_extents(X const& x) const {
    extents<4> e = x.q.extents();
    e[3] = x.v.extents()[3];
    return e;
  }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& x) const {
    extents<4> const q = x.q.extents();
    auto lse = be.template scratch<T>(extents<4>{q[0], q[1], q[2], 1});
    return {lse, be.template scratch<T>(output_extents(x))};
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(x);
    if constexpr (modified) scores.check(w, x, score_extents(x));
    expects_extents("attention: y", y.ext, output_extents(x));
    expects_contiguous_rows("attention: y", y);
    expect_mask_fits(mask, score_extents(x));
    for_each_input(
        [&](char const*, auto const& v) {
          expects(!overlaps(v, y), "attention: y: expected memory apart from every input, got an overlap");
        },
        x);
    bool const record = t.lse.size() != 0;
    if (record) expects_extents("attention: tape", t.lse.ext, {y.ext[0], y.ext[1], y.ext[2], 1});
    if constexpr (modified)
      detail::modified_attention_recipe<T, MaskType>{mask, score_scale(x), scores}.forward(be, w, x, t.lse,
                                                                                           y);
    else if (!tuned(be, attention_forward_call<T, space_t<B>, MaskType>{mask, score_scale(x), x.q, x.k, x.v,
                                                                        t.lse, y}))
      detail::attention_recipe<T, MaskType>{mask, score_scale(x)}.forward(be, x, t.lse, y);
    if (record) be.copy(as_input(y), t.y);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(x);
    if constexpr (modified) scores.check(w, x, score_extents(x));
    expects_extents("attention: dy", dy.ext, output_extents(x));
    expects_extents("attention: dq", dx.q.ext, x.q.ext);
    expects_extents("attention: dk", dx.k.ext, x.k.ext);
    expects_extents("attention: dv", dx.v.ext, x.v.ext);
    if constexpr (modified) scores.check_gradients(dw, dx, x);
    expects_extents("attention: tape: y", t.y.ext, output_extents(x));
    expects_contiguous_rows("attention: tape: y", t.y);
    if (t.lse.size() != 0)
      expects_extents("attention: tape: lse", t.lse.ext, {x.q.ext[0], x.q.ext[1], x.q.ext[2], 1});
    expects_contiguous_rows("attention: dy", dy);
    expect_mask_fits(mask, score_extents(x));
    for_each_input(
        [&](char const*, auto const& d) {
          for_each_input(
              [&](char const*, auto const& v) {
                expects(
                    !overlaps(dy, d) && !overlaps(v, d),
                    modified
                        ? "attention: dq, dk, dv, dbias, dgates: expected memory apart from dy and every "
                          "input, got an overlap"
                        : "attention: dq, dk, dv: expected memory apart from dy, q, k and v, got an overlap");
              },
              x);
        },
        dx);
    expects_contiguous_rows("attention: dq", dx.q);
    expects_contiguous_rows("attention: dk", dx.k);
    expects_contiguous_rows("attention: dv", dx.v);
    if constexpr (modified)
      detail::modified_attention_recipe<T, MaskType>{mask, score_scale(x), scores}.backward(
          be, w, x, as_input(t.y), dy, dw, dx);
    else if (!tuned(be, attention_backward_call<T, space_t<B>, MaskType>{mask, score_scale(x), x.q, x.k, x.v,
                                                                         t.y, t.lse, dy, dx.q, dx.k, dx.v}))
      detail::attention_recipe<T, MaskType>{mask, score_scale(x)}.backward(be, x, dy, dx);
  }

  /// An empty cache that keeps up to `capacity` tokens and refuses more; x gives batch, heads and dims.
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const&, inputs<reads<B>> const& x,
                            index_t capacity) const requires caches {
    expects_value(capacity >= 1, "attention: capacity", "at least 1", capacity);
    expect_no_dropout();
    auto const cache = [&](extents<4> e) {
      e[2] = capacity;
      return tensor<T, 4, space_t<B>>(be.memory(), e);
    };
    return {cache(x.k.extents()), cache(x.v.extents()), 0, 0, capacity, 0};
  }
  /// An empty cache for any number of tokens: a ring of `capacity` of them, from which go those that the mask
  /// no longer shows. The last capacity - mask.reach() tokens can be taken back.
  template <class B>
  state<owns<B>> make_ring(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x,
                           index_t capacity) const requires(about.evicts&& WindowedMask<MaskType>) {
    expects_value(mask.reach() >= 1, "attention: mask", "one that looks back over a bounded number of keys",
                  mask.reach());
    expects_value(capacity >= mask.reach(), "attention: capacity",
                  "at least the keys that the mask shows (its reach)", capacity);
    state<owns<B>> s = make_state(be, w, x, capacity);
    s.reach = mask.reach();
    return s;
  }

  /// Appends the keys and values of x and answers its queries. A ring takes them in pieces that fit.
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
               out<B, T, 4> y) const requires caches {
    check_tokens(x, s);
    check_answers(w, x, s, y);
    index_t const count = x.k.ext[2];
    if (s.is_ring() && s.length == 0 && count > s.capacity) {
      forward(be, w, x, {}, y);
      s.append(be, x.k, x.v);
      return;
    }
    for (index_t at = 0, n = count; at < count; at += n) {
      if (s.is_ring()) n = fitting(s, count - at);
      auto const part = [&](auto const& v) { return slice(v, 2, at, n); };
      attention const later = after(s.length);
      s.append(be, part(x.k), part(x.v));
      if constexpr (modified)
        later.forward(be, w, queries_of(x, cached(s)), {}, y);
      else
        later.answer(be, w, part(x.q), s, part(y));
    }
  }

  /// One token: extents of 1 along L.
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
            out<B, T, 4> y) const requires caches {
    expects_value(x.q.ext[2] == 1, "attention: q", "one token along L", x.q.ext[2]);
    prefill(be, w, x, s, y);
  }

  /// As smx::peek: puts aside only the rows that the tokens would overwrite.
  template <class B>
  void peek(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
            out<B, T, 4> y) const requires caches {
    check_tokens(x, s);
    check_answers(w, x, s, y);
    index_t const from = s.length, first = s.first, count = x.k.ext[2] < s.capacity ? x.k.ext[2] : s.capacity;
    auto frame = be.scope();
    auto const like = [&](auto const& cache) {
      extents<4> e = cache.extents();
      e[2] = count;
      return be.template scratch<T>(e);
    };
    auto const k = like(s.k), v = like(s.v);
    s.each_run(from, count, [&](index_t row, index_t i, index_t n) {
      be.copy(slice(s.k.cview(), 2, row, n), slice(k, 2, i, n));
      be.copy(slice(s.v.cview(), 2, row, n), slice(v, 2, i, n));
    });
    prefill(be, w, x, s, y);
    s.each_run(from, count, [&](index_t row, index_t i, index_t n) {
      be.copy(as_input(slice(k, 2, i, n)), slice(s.k.view(), 2, row, n));
      be.copy(as_input(slice(v, 2, i, n)), slice(s.v.view(), 2, row, n));
    });
    s.length = from;
    s.first = first;
  }
  /// As smx::commit: keys and values go into the cache, nothing is computed.
  template <class B>
  void commit(B& be, weights<reads<B>> const&, inputs<reads<B>> const& x,
              state<owns<B>>& s) const requires caches {
    check_tokens(x, s);
    s.append(be, x.k, x.v);
  }

  /// Throws where the next `count` tokens would be refused.
  template <class S> void expect_tokens(S const& s, index_t count) const requires caches {
    expects_value(count <= s.room(), "attention: state",
                  "room for the tokens within its capacity; tokens kept", s.kept() + count);
    expects_value(closed(count, s.length) == count, "attention: q", "whole blocks of the mask; tokens",
                  count);
  }

  /// Forgets all but the first `length` tokens. Of a ring, and after evict_front, that is possible as long as
  /// the keys that the next query sees are still there.
  template <class S> void truncate(S& s, index_t length) const requires caches {
    expects_value(length >= 0 && length <= s.length, "attention: length", "0 to the tokens of the state",
                  length);
    expects_value(closed(length, 0) == length, "attention: length", "whole blocks of the mask", length);
    expects_value(length == s.length || s.first <= oldest_needed(s, length), "attention: length",
                  "a token whose keys the cache has not dropped yet", length);
    s.length = length;
  }

  /// Drops the n oldest tokens that are kept: no later query sees them. Positions keep counting.
  template <class S> void evict_front(S& s, index_t n) const requires(about.evicts) {
    expects_value(n >= 0 && n <= s.kept(), "attention: n", "0 to the tokens that are kept", n);
    s.first += n;
  }

 private:
  /// Answers queries (B,Hq,n,D) that `mask` has been moved to, from the cache.
  template <class B>
  void answer(B& be, weights<reads<B>> const& w, in<B, T, 4> q, state<owns<B>> const& s,
              out<B, T, 4> y) const {
    auto const [k, v] = cached(s);
    if (s.is_plain()) return forward(be, w, inputs<reads<B>>{q, k, v}, {}, y);
    attention<T, ring_mask<MaskType>> const ring{scale, {mask, s.capacity, s.first, s.length}};
    ring.forward(be, {}, {q, k, v}, {}, y);
  }
  /// This attention for queries that follow `length` tokens.
  attention after(index_t length) const {
    attention later = *this;
    later.mask = mask.after(length);
    if constexpr (modified) later.scores.offset += length;
    return later;
  }
  /// The rows of a cache that hold keys and values.
  template <class S> static auto cached(S const& s) {
    return std::pair{slice(s.k.cview(), 2, 0, s.rows()), slice(s.v.cview(), 2, 0, s.rows())};
  }
  /// The queries of x against these keys and values, and what is added to their scores.
  template <class X, class KV> static X queries_of(X const& x, KV const& kv) {
    X to{x.q, kv.first, kv.second, x.bias, x.gates};
    for (auto* one : {&to.bias, &to.gates})
      if (!one->empty() && one->ext[3] > kv.first.ext[2]) *one = slice(*one, 3, 0, kv.first.ext[2]);
    return to;
  }
  void expect_no_dropout() const {
    if constexpr (modified)
      expects(scores.dropout == 0,
              "attention: dropout: expected 0 where tokens are cached, got another number");
  }
  /// How many of n tokens a ring takes at once: all that their queries see must be in it together.
  template <class S> index_t fitting(S const& s, index_t n) const {
    if constexpr (WindowedMask<MaskType>) {
      index_t const most = s.capacity - (s.length - mask.oldest(s.length));
      return closed(n < most ? n : most, s.length);
    } else {
      return n;
    }
  }
  /// The most of n tokens after `from` that see nothing after themselves.
  index_t closed(index_t n, index_t from) const {
    if constexpr (MaskType::causal)
      return n;
    else
      return mask.after(from).closed(n);
  }
  template <class S> index_t oldest_needed(S const& s, index_t length) const {
    if constexpr (WindowedMask<MaskType>)
      if (s.is_ring()) return mask.oldest(length);
    return length;
  }

  /// What may refuse tokens of x after those of the state, and answers to them in y.
  template <class X, class S> void check_tokens(X const& x, S const& s) const {
    check(x);
    index_t const count = x.k.ext[2];
    extents<4> const k = s.k.extents(), v = s.v.extents();
    expects_extents("attention: k", x.k.ext, {k[0], k[1], x.q.ext[2], k[3]});
    expects_extents("attention: v", x.v.ext, {v[0], v[1], count, v[3]});
    expect_tokens(s, count);
    if constexpr (WindowedMask<MaskType>)
      expects_value(!s.is_ring() || s.reach == mask.reach(), "attention: state", "a ring made for this mask",
                    s.reach);
    else
      expects_value(!s.is_ring(), "attention: state", "no ring, since the mask has no window; its reach",
                    s.reach);
    expect_mask_fits(mask.after(s.length), {x.q.ext[0], x.q.ext[1], count, s.length + count});
  }
  template <class W, class X, class S, class Y>
  void check_answers(W const& w, X const& x, S const& s, Y const& y) const {
    if constexpr (modified) {
      expect_no_dropout();
      auto all = s.k.cview();
      all.ext[2] = s.length + x.k.ext[2];
      auto const seen = queries_of(x, std::pair{all, all});
      scores.check(w, seen, score_extents(seen));
    }
    expects_extents("attention: y", y.ext, output_extents(x));
    expects_contiguous_rows("attention: y", y);
    bool apart = !overlaps(s.k.cview(), y) && !overlaps(s.v.cview(), y);
    for_each_input([&](char const*, auto const& v) { apart = apart && !overlaps(v, y); }, x);
    expects(apart, "attention: y: expected memory apart from every input and the cache, got an overlap");
  }

  template <class X> T score_scale(X const& x) const {
    return scale != T(0) ? scale : T(1) / std::sqrt(static_cast<T>(x.q.ext[3]));
  }

  template <class X> static extents<4> score_extents(X const& x) {
    return {x.q.ext[0], x.q.ext[1], x.q.ext[2], x.k.ext[2]};
  }
  template <class X> void check(X const& x) const {
    expects_extents("attention: q", x.q.ext, {-1, -1, -1, -1});
    expects_extents("attention: k", x.k.ext, {x.q.ext[0], -1, -1, x.q.ext[3]});
    expects_extents("attention: v", x.v.ext, {x.q.ext[0], x.k.ext[1], x.k.ext[2], -1});
    expects_value(x.q.ext[1] % x.k.ext[1] == 0, "attention: q",
                  "a number of heads that is a multiple of the key heads", x.q.ext[1]);
    expects_contiguous_rows("q", x.q);
    expects_contiguous_rows("k", x.k);
    expects_contiguous_rows("v", x.v);
  }
};

}  // namespace smx
