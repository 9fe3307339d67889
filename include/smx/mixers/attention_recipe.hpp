// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention as a program over primitives, slab of queries after slab. Formulas and shapes:
///        mixers/attention.hpp.
#pragma once

#include <limits>

#include <smx/backend/shapes.hpp>

namespace smx::detail {

/// x has q (B,Hq,L,D), k (B,Hkv,M,D), v (B,Hkv,M,E); dx the same. Everything is checked before.
template <class T, class MaskType> struct attention_recipe {
  static constexpr index_t slab_rows = 64;

  MaskType const& mask;
  T scale;

  /// Batch entry b with query heads as (key head, query heads that share it): (Hkv,G,L,D); keys: (Hkv,1,M,D).
  template <class V> static auto grouped(V const& v, index_t b, index_t kv_heads) {
    return split_axis(fix_axis(v, 0, b), 0, kv_heads, v.ext[1] / kv_heads);
  }
  template <class V> static V rows(V const& v, index_range r) {
    return slice(v, 2, r.first, r.last - r.first);
  }

  static index_t slabs(index_t queries) { return (queries + slab_rows - 1) / slab_rows; }
  /// Scores and probabilities of one slab: f(rows, keys that some row may see, whether some of those are
  /// hidden).
  template <class F>
  void in_slab(index_t number, index_t b, index_t heads, index_t queries, index_t keys, F const& f) const {
    index_t const first = number * slab_rows;
    index_range const r{first, first + slab_rows < queries ? first + slab_rows : queries};
    index_range seen{keys, 0};
    for (index_t h = 0; h < heads; ++h) {
      index_range const k = mask.keys(b, h, r, keys);
      if (k.first >= k.last) continue;
      seen = {k.first < seen.first ? k.first : seen.first, k.last > seen.last ? k.last : seen.last};
    }
    bool partial = false;
    for (index_t h = 0; h < heads && seen.first < seen.last; ++h)
      partial = partial || mask.tile(b, h, r, seen) != tile_class::full;
    f(r, seen, partial);
  }
  /// One slab after the other.
  template <class F>
  void each_slab(index_t b, index_t heads, index_t queries, index_t keys, F const& f) const {
    for (index_t i = 0; i < slabs(queries); ++i) in_slab(i, b, heads, queries, keys, f);
  }
  /// f(backend, batch entry, rows, keys, whether some are hidden) for all slabs of all batch entries, shared
  /// out over the threads: for what slabs do independently. A slab takes `bytes` of scratch.
  template <class B, class X, class F>
  void share_slabs(B& be, X const& x, std::size_t bytes, F const& f) const {
    index_t const heads = x.q.ext[1], queries = x.q.ext[2], keys = x.k.ext[2], n = slabs(queries);
    be.tiles(x.q.ext[0] * n, bytes, [&](auto& sub, index_t first, index_t count) {
      for (index_t i = first; i < first + count; ++i) {
        // first and last slab in turn: under a causal mask the work grows with the rows, and threads take
        // neighbours
        index_t const turn = i % n, number = turn % 2 == 0 ? turn / 2 : n - 1 - turn / 2;
        in_slab(number, i / n, heads, queries, keys, [&](index_range r, index_range seen, bool partial) {
          auto frame = sub.scope();
          f(sub, i / n, r, seen, partial);
        });
      }
    });
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
  template <class B, class X>
  out<B, T, 4> probabilities(B& be, X const& x, index_t b, index_range r, index_range seen,
                             out<B, T, 4> lse) const {
    index_t const heads = x.q.ext[1], kv = x.k.ext[1], n = seen.last - seen.first, m = r.last - r.first;
    auto s = be.template scratch<T>(extents<4>{1, heads, m, n});
    out<B, T, 4> const grid = split_axis(fix_axis(s, 0, 0), 0, kv, heads / kv);
    be.gemm(op::none, op::transpose, scale, rows(grouped(x.q, b, kv), r), rows(grouped(x.k, b, kv), seen),
            T(0), grid);
    be.softmax(mask, score_origin{b, 0, r.first, seen.first}, as_input(s), s, lse);
    return grid;
  }

  /// y, and lse (B,Hq,L,1) unless it is empty.
  template <class B, class X> void forward(B& be, X const& x, out<B, T, 4> all_lse, out<B, T, 4> y) const {
    index_t const heads = x.q.ext[1], kv = x.k.ext[1];
    std::size_t const bytes = static_cast<std::size_t>(heads * slab_rows * x.k.ext[2]) * sizeof(T);
    share_slabs(be, x, bytes, [&](auto& sub, index_t b, index_range r, index_range seen, bool partial) {
      auto const lse = all_lse.size() != 0
                           ? slice(rows(all_lse, r), 0, b, 1)
                           : sub.template scratch<T>(extents<4>{1, heads, r.last - r.first, 1});
      auto const yb = rows(grouped(y, b, kv), r);  // (Hkv,G,rows,E)
      if (seen.first >= seen.last) {
        sub.map(constant<T>{T(0)}, yb);
        sub.map(constant<T>{-std::numeric_limits<T>::infinity()}, lse);
        return;
      }
      auto const p = probabilities(sub, x, b, r, seen, lse);
      product(sub, partial, op::none, T(1), as_input(p), rows(grouped(x.v, b, kv), seen), T(0), yb);
    });
  }

  /// dV += P^T dY, dP = dY V^T, dS = softmax'(P, dP), dQ = scale dS K, dK += scale dS^T Q; slab after slab,
  /// so that the order of the sums is fixed.
  template <class B, class X, class DX> void backward(B& be, X const& x, in<B, T, 4> dy, DX const& dx) const {
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
          product(sub, partial, op::none, scale, as_input(ds), rows(grouped(x.k, b, kv), seen), T(0), dq);
          auto const share = [&](auto const& v, index_t one) { return slice(v, 1, one, 1); };
          auto const dk = slice(grouped(dx.k, b, kv), 2, seen.first, n),
                     dv = slice(grouped(dx.v, b, kv), 2, seen.first, n);
          for (index_t one = 0; one < groups; ++one) {
            product(sub, partial, op::transpose, T(1), as_input(share(p, one)), share(g, one), T(1), dv);
            product(sub, partial, op::transpose, scale, as_input(share(ds, one)), share(q, one), T(1), dk);
          }
        });
    });
  }
};

}  // namespace smx::detail
