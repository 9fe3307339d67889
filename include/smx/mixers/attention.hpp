// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention, y_i = sum_j p_ij v_j, p_i = softmax over the allowed j of scale q_i . k_j.
///
/// Cost: 2 Lq Lk (D + E) flops a head (what the mask hides is skipped), backward 2.5 times that. Memory O(L
/// (D + E)): scores live in slabs; backward recomputes them. A. Vaswani et al., NeurIPS 2017; without
/// materialised scores: T. Dao et al., "FlashAttention", NeurIPS 2022; shared key/value heads: J. Ainslie et
/// al., "GQA", EMNLP 2023.
#pragma once

#include <cmath>

#include <smx/backend/shapes.hpp>
#include <smx/backend/tuned.hpp>
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
/// and weights (table, sink); it runs as the recipe on every backend and does not stream.
template <Compute T, Mask MaskType = full_mask, class Scores = plain_scores> struct attention {
  using scalar = T;
  static constexpr bool modified = Scores::modified;
  static constexpr traits about{
      .name = modified ? (MaskType::causal ? "attention_modified_causal" : "attention_modified")
                       : (MaskType::causal ? "attention_causal" : "attention"),
      .causality = MaskType::causal ? causality::exact : causality::none,
      .data_dependent = true,
      .streaming = MaskType::causal && ShiftableMask<MaskType> && !modified,
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
  /// The keys and values of `length` tokens, of at most k.extents()[2].
  template <class A> struct state {
    array<A, T, 4> k, v;  // (B,Hkv,capacity,D or E)
    index_t length = 0, capacity = 0;

    template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
      f("k", s.k...);
      f("v", s.v...);
    }
    template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
      f("length", s.length...);
      f("capacity", s.capacity...);
    }
    index_t tokens() const { return length; }

    std::size_t bytes() const { return k.bytes() + v.bytes(); }
  };

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
    expects_extents("attention: tape", t.y.ext, output_extents(x));
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

  /// An empty cache for up to `capacity` tokens; x gives batch, heads and dims.
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const&, inputs<reads<B>> const& x,
                            index_t capacity) const requires(about.streaming) {
    expects_value(capacity >= 1, "attention: capacity", "at least 1", capacity);
    auto const cache = [&](extents<4> e) {
      e[2] = capacity;
      return tensor<T, 4, space_t<B>>(be.memory(), e);
    };
    return {cache(x.k.extents()), cache(x.v.extents()), 0, capacity};
  }

  /// Appends the keys and values of x and answers its queries.
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
               out<B, T, 4> y) const requires(about.streaming) {
    check(x);
    index_t const count = x.k.ext[2], capacity = s.k.extents()[2];
    expects_extents("attention: k", x.k.ext,
                    {s.k.extents()[0], s.k.extents()[1], x.q.ext[2], s.k.extents()[3]});
    expects_extents("attention: v", x.v.ext, {s.v.extents()[0], s.v.extents()[1], count, s.v.extents()[3]});
    expects_value(s.length + count <= capacity, "attention: state",
                  "room for the tokens within its capacity; tokens", s.length + count);
    be.copy(x.k, slice(s.k.view(), 2, s.length, count));
    be.copy(x.v, slice(s.v.view(), 2, s.length, count));
    attention later = *this;
    later.mask = mask.after(s.length);
    auto const seen = [&](auto const& cache) { return slice(cache.cview(), 2, 0, s.length + count); };
    later.forward(be, w, inputs<reads<B>>{x.q, seen(s.k), seen(s.v)}, {}, y);
    s.length += count;
  }

  /// Forgets all but the first `length` tokens.
  template <class S> void truncate(S& s, index_t length) const requires(about.streaming) {
    expects_value(length >= 0 && length <= s.length, "attention: length", "0 to the tokens of the state",
                  length);
    s.length = length;
  }

  /// One token: extents of 1 along L.
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    expects_value(x.q.ext[2] == 1, "attention: q", "one token along L", x.q.ext[2]);
    prefill(be, w, x, s, y);
  }

 private:
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
