// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention, y_i = sum_j p_ij v_j, p_i = softmax over the allowed j of scale q_i . k_j.
///
/// Cost: 2 Lq Lk (D + E) flops a head (what the mask hides is skipped), backward 2.5 times that. Memory O(L
/// (D + E)): scores live in slabs; backward recomputes them. A. Vaswani et al., NeurIPS 2017; without
/// materialised scores: T. Dao et al., "FlashAttention", NeurIPS 2022; shared key/value heads: J. Ainslie et
/// al., "GQA", EMNLP 2023.
#pragma once

#include <cmath>
#include <limits>

#include <smx/backend/shapes.hpp>
#include <smx/backend/tuned.hpp>
#include <smx/mixers/concept.hpp>

namespace smx {

/// Multi-head attention under a mask: attention<float> sees every key (self and cross), attention<float,
/// causal_mask> those up to the query, any other Mask as it says.
///
/// Shapes: q (B,Hq,L,D), k (B,Hkv,M,D), v (B,Hkv,M,E), y (B,Hq,L,E). Query head h uses key head floor(h Hkv /
/// Hq); Hq must be a multiple of Hkv. A query without an allowed key gives y = 0, lse = -inf and zero
/// gradients. Masked keys and values are never read into a result: a NaN there changes nothing. Throws
/// precondition_error for other extents, a mask that does not fit them, a last axis that is not contiguous,
/// and outputs that overlap inputs.
template <Compute T, Mask MaskType = full_mask> struct attention {
  using scalar = T;
  static constexpr traits about{.name = MaskType::causal ? "attention_causal" : "attention",
                                .causality = MaskType::causal ? causality::exact : causality::none,
                                .data_dependent = true,
                                .streaming = MaskType::causal && ShiftableMask<MaskType>,
                                .flops_exponent = 2,
                                .same_source = MaskType::causal,
                                .row_separable = true,
                                .normalised = true};
  static constexpr int input_count = 3;

  T scale = 0;  ///< of the scores; 0: 1 / sqrt(D)
  MaskType mask = {};
  friend bool operator==(attention const&, attention const&) = default;

  template <class A> struct weights {};
  template <class A> struct inputs { array<A, T, 4> q, k, v; };
  /// lse (B,Hq,L,1): log of the sum of exp(scores), natural; y: the output.
  template <class A> struct tape { array<A, T, 4> lse, y; };
  /// The keys and values of `length` tokens, of at most k.extents()[2].
  template <class A> struct state {
    array<A, T, 4> k, v;  // (B,Hkv,capacity,D or E)
    index_t length = 0;

    std::size_t bytes() const { return k.bytes() + v.bytes(); }
  };

  template <class F, class... W> void for_each_weight(F&&, W&&...) const {}
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) {
    f("q", x.q...);
    f("k", x.k...);
    f("v", x.v...);
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
  void forward(B& be, weights<reads<B>> const&, inputs<reads<B>> const& x, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(x);
    expects_extents("attention: y", y.ext, output_extents(x));
    expects_contiguous_rows("attention: y", y);
    expect_mask_fits(mask, score_extents(x));
    for_each_input(
        [&](char const*, auto const& v) {
          expects(!overlaps(v, y), "attention: y: expected memory apart from q, k and v, got an overlap");
        },
        x);
    bool const record = t.lse.size() != 0;
    if (record) expects_extents("attention: tape", t.lse.ext, {y.ext[0], y.ext[1], y.ext[2], 1});
    if (!tuned(be, attention_forward_call<T, space_t<B>, MaskType>{mask, score_scale(x), x.q, x.k, x.v, t.lse,
                                                                   y}))
      recipe(be, x, t, y);
    if (record) be.copy(as_input(y), t.y);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const&, inputs<reads<B>> const& x, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>>, inputs<writes<B>> dx) const {
    check(x);
    expects_extents("attention: dy", dy.ext, output_extents(x));
    expects_extents("attention: dq", dx.q.ext, x.q.ext);
    expects_extents("attention: dk", dx.k.ext, x.k.ext);
    expects_extents("attention: dv", dx.v.ext, x.v.ext);
    expects_extents("attention: tape", t.y.ext, output_extents(x));
    expects_contiguous_rows("attention: dy", dy);
    expect_mask_fits(mask, score_extents(x));
    for_each_input(
        [&](char const*, auto const& d) {
          for_each_input(
              [&](char const*, auto const& v) {
                expects(!overlaps(dy, d) && !overlaps(v, d),
                        "attention: dq, dk, dv: expected memory apart from dy, q, k and v, got an overlap");
              },
              x);
          expects_contiguous_rows("attention: dq, dk, dv", d);
        },
        dx);
    if (tuned(be, attention_backward_call<T, space_t<B>, MaskType>{mask, score_scale(x), x.q, x.k, x.v, t.y,
                                                                   t.lse, dy, dx.q, dx.k, dx.v}))
      return;
    recipe_backward(be, x, dy, dx);
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
    return {cache(x.k.extents()), cache(x.v.extents()), 0};
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

  /// One token: extents of 1 along L.
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    expects_value(x.q.ext[2] == 1, "attention: q", "one token along L", x.q.ext[2]);
    prefill(be, w, x, s, y);
  }

 private:
  static constexpr index_t slab_rows = 64;  // queries whose scores are in memory at once

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
    for_each_input([](char const* name, auto const& v) { expects_contiguous_rows(name, v); }, x);
  }

  /// Batch entry b with query heads as (key head, query heads that share it): (Hkv,G,L,D); keys: (Hkv,1,M,D).
  template <class V> static auto grouped(V const& v, index_t b, index_t kv_heads) {
    return split_axis(fix_axis(v, 0, b), 0, kv_heads, v.ext[1] / kv_heads);
  }
  template <class V> static V rows(V const& v, index_range r) {
    return slice(v, 2, r.first, r.last - r.first);
  }

  /// Scores and probabilities of one slab: f(rows, keys that some row may see, whether some of those are
  /// hidden).
  template <class F>
  void each_slab(index_t b, index_t heads, index_t queries, index_t keys, F const& f) const {
    for (index_t first = 0; first < queries; first += slab_rows) {
      index_range const r{first, first + slab_rows < queries ? first + slab_rows : queries};
      index_range seen{keys, 0};
      for (index_t h = 0; h < heads; ++h) {
        index_range const k = mask.keys(b, h, r, keys);
        if (k.first >= k.last) continue;
        seen = {k.first < seen.first ? k.first : seen.first, k.last > seen.last ? k.last : seen.last};
      }
      bool partial = false;
      for (index_t h = 0; h < heads; ++h) partial = partial || mask.tile(b, h, r, seen) != tile_class::full;
      f(r, seen, partial);
    }
  }
  template <class B>
  static void product(B& be, bool partial, op ta, T alpha, in<B, T, 4> a, in<B, T, 4> b, T beta,
                      out<B, T, 4> c) {
    if (partial)
      be.gemm_select(ta, op::none, alpha, a, b, beta, c);
    else
      be.gemm(ta, op::none, alpha, a, b, beta, c);
  }
  /// The probabilities of a slab, (Hkv,G,rows,keys).
  template <class B>
  out<B, T, 4> probabilities(B& be, inputs<reads<B>> const& x, index_t b, index_range r, index_range seen,
                             out<B, T, 4> lse) const {
    index_t const heads = x.q.ext[1], kv = x.k.ext[1], n = seen.last - seen.first, m = r.last - r.first;
    auto s = be.template scratch<T>(extents<4>{1, heads, m, n});
    out<B, T, 4> const grid = split_axis(fix_axis(s, 0, 0), 0, kv, heads / kv);
    be.gemm(op::none, op::transpose, score_scale(x), rows(grouped(x.q, b, kv), r),
            rows(grouped(x.k, b, kv), seen), T(0), grid);
    be.softmax(mask, score_origin{b, 0, r.first, seen.first}, as_input(s), s, lse);
    return grid;
  }

  template <class B>
  void recipe(B& be, inputs<reads<B>> const& x, tape<writes<B>> const& t, out<B, T, 4> y) const {
    index_t const heads = x.q.ext[1], kv = x.k.ext[1], queries = x.q.ext[2], keys = x.k.ext[2];
    std::size_t const bytes = static_cast<std::size_t>(heads * slab_rows * keys) * sizeof(T);
    be.tiles(x.q.ext[0], bytes, [&](auto& sub, index_t first, index_t count) {
      for (index_t b = first; b < first + count; ++b)
        each_slab(b, heads, queries, keys, [&](index_range r, index_range seen, bool partial) {
          auto frame = sub.scope();
          index_t const m = r.last - r.first;
          auto const lse = t.lse.size() != 0 ? slice(rows(t.lse, r), 0, b, 1)
                                             : sub.template scratch<T>(extents<4>{1, heads, m, 1});
          auto const yb = rows(grouped(y, b, kv), r);  // (Hkv,G,rows,E)
          if (seen.first >= seen.last) {
            sub.map(constant<T>{T(0)}, yb);
            sub.map(constant<T>{-std::numeric_limits<T>::infinity()}, lse);
            return;
          }
          auto const p = probabilities(sub, x, b, r, seen, lse);
          product(sub, partial, op::none, T(1), as_input(p), rows(grouped(x.v, b, kv), seen), T(0), yb);
        });
    });
  }

  /// dV += P^T dY, dP = dY V^T, dS = softmax'(P, dP), dQ = scale dS K, dK += scale dS^T Q; slab after slab,
  /// so that the order of the sums is fixed.
  template <class B>
  void recipe_backward(B& be, inputs<reads<B>> const& x, in<B, T, 4> dy, inputs<writes<B>> const& dx) const {
    index_t const heads = x.q.ext[1], kv = x.k.ext[1], queries = x.q.ext[2], keys = x.k.ext[2],
                  groups = heads / kv;
    be.map(constant<T>{T(0)}, dx.k);
    be.map(constant<T>{T(0)}, dx.v);
    std::size_t const bytes = static_cast<std::size_t>(2 * heads * slab_rows * keys) * sizeof(T);
    be.tiles(x.q.ext[0], bytes, [&](auto& sub, index_t first, index_t count) {
      for (index_t b = first; b < first + count; ++b)
        each_slab(b, heads, queries, keys, [&](index_range r, index_range seen, bool partial) {
          auto frame = sub.scope();
          auto const dq = rows(grouped(dx.q, b, kv), r);  // (Hkv,G,rows,D)
          if (seen.first >= seen.last) return sub.map(constant<T>{T(0)}, dq);
          index_t const m = r.last - r.first, n = seen.last - seen.first;
          auto const p =
              probabilities(sub, x, b, r, seen, sub.template scratch<T>(extents<4>{1, heads, m, 1}));
          auto const ds = sub.template scratch<T>(p.ext);  // (Hkv,G,rows,keys)
          auto const g = rows(grouped(dy, b, kv), r), q = rows(grouped(x.q, b, kv), r);
          sub.gemm(op::none, op::transpose, T(1), g, rows(grouped(x.v, b, kv), seen), T(0), ds);
          sub.softmax_backward(as_input(p), as_input(ds), ds);
          T const s = score_scale(x);
          product(sub, partial, op::none, s, as_input(ds), rows(grouped(x.k, b, kv), seen), T(0), dq);
          auto const share = [&](auto const& v, index_t one) { return slice(v, 1, one, 1); };
          auto const dk = slice(grouped(dx.k, b, kv), 2, seen.first, n),
                     dv = slice(grouped(dx.v, b, kv), 2, seen.first, n);
          for (index_t one = 0; one < groups; ++one) {
            product(sub, partial, op::transpose, T(1), as_input(share(p, one)), share(g, one), T(1), dv);
            product(sub, partial, op::transpose, s, as_input(share(ds, one)), share(q, one), T(1), dk);
          }
        });
    });
  }
};

}  // namespace smx
