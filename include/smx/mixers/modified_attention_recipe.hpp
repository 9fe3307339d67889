// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention with modified scores as a program over primitives, slab of queries after slab.
/// The order of the modifiers: mixers/attention_scores.hpp.
///
/// Functions of the distance alone (ALiBi, relative bias) are computed once for each distance of a slab and
/// added through a view whose rows overlap, shifted by one; the gradient of the table goes back through the
/// same view.
#pragma once

#include <limits>

#include <smx/core/rng.hpp>
#include <smx/mixers/attention_recipe.hpp>
#include <smx/mixers/attention_scores.hpp>
#include <smx/mixers/log_shares.hpp>

namespace smx::detail {

struct soft_cap {
  double cap;
  template <class T> SMX_HD T operator()(T x) const {
    return static_cast<T>(cap) * std::tanh(x / static_cast<T>(cap));
  }
};
/// dx of y = soft_cap(x), from dy and y; 0 where dy is, also if y is NaN: the pair is masked.
struct d_soft_cap {
  double cap;
  template <class T> SMX_HD T operator()(T dy, T y) const {
    T const t = y / static_cast<T>(cap);
    return dy == T(0) ? T(0) : dy * (T(1) - t * t);
  }
};
struct add_logarithm {
  template <class T> SMX_HD T operator()(T x, T gate) const { return x + std::log(gate); }
};
struct d_gate {
  template <class T> SMX_HD T operator()(T dx, T gate) const {
    return dx == T(0) || gate == T(0) ? T(0) : dx / gate;
  }
};
/// What a row adds to the gradient of its sink: its share of the row times -sum_j p dp.
struct d_sink {
  template <class T> SMX_HD T operator()(T sink, T lse, T mean) const {
    return -share_of{}(sink, lse) * mean;
  }
};

/// ALiBi of head i[0] at the i[1]-th distance.
struct alibi_entries {
  index_t heads, first;
  double steepest;
  SMX_HD double operator()(extents<2> const& i) const {
    index_t const ahead = first + i[1];
    return -alibi_slope(i[0], heads, steepest) * static_cast<double>(ahead < 0 ? -ahead : ahead);
  }
};
struct bucket_entries {
  relative_buckets bucket;
  index_t first;
  SMX_HD index_t operator()(extents<1> const& i) const { return bucket(first + i[0]); }
};
/// 1 / (1 - rate) for what stays, 0 for the rest; of entry (head, row, key) of a slab.
struct dropout_entries {
  random_stream from;
  double rate;
  score_origin at;
  index_t heads, rows, keys;
  SMX_HD double operator()(extents<4> const& i) const {
    index_t const n = ((at.batch * heads + at.head + i[1]) * rows + at.row + i[2]) * keys + at.key + i[3];
    return from.uniform(static_cast<std::uint64_t>(n)) < rate ? 0 : 1 / (1 - rate);
  }
};

/// w has table and sink, x q, k, v, bias, gates; dw and dx the same. Everything is checked before.
template <class T, class MaskType> struct modified_attention_recipe {
  using plain = attention_recipe<T, MaskType>;
  static constexpr T nothing = -std::numeric_limits<T>::infinity();

  MaskType const& mask;
  T scale;
  modified_scores const& how;

  /// A slab of the scores of one batch entry: (1,Hq,rows,keys).
  struct slab {
    index_t b, heads, queries, keys;  // of all scores
    index_range rows, seen;

    index_t row_count() const { return rows.last - rows.first; }
    index_t key_count() const { return seen.last - seen.first; }
    extents<4> scores() const { return {1, heads, row_count(), key_count()}; }
    extents<4> per_row() const { return {1, heads, row_count(), 1}; }
    index_t distances() const { return row_count() + key_count() - 1; }

    /// Its part of an array (B,Hq,L,M) whose axes may have extent 1.
    template <class V> V part_of(V v) const {
      if (v.ext[0] != 1) v = slice(v, 0, b, 1);
      if (v.ext[2] != 1) v = slice(v, 2, rows.first, row_count());
      if (v.ext[3] != 1) v = slice(v, 3, seen.first, key_count());
      return v;
    }
    /// A view with an entry for each score of the slab; extents of 1 are repeated.
    template <class V> V everywhere(V v) const {
      extents<4> const e = scores();
      for (int axis = 0; axis < 4; ++axis)
        if (v.ext[axis] == 1) v.ext[axis] = e[axis], v.str[axis] = 0;
      return v;
    }
    /// Entry (head, distance) of an array for each score: distance 0 is that of the last row and the first
    /// key.
    template <class U, class S> view<U, 4, S> by_distance(U* ptr, index_t head_stride, index_t stride) const {
      return {advance(ptr, (row_count() - 1) * stride), scores(), {0, head_stride, -stride, stride}};
    }
  };

  index_t first_distance(slab const& s) const { return s.seen.first - (s.rows.last - 1) - how.offset; }

  /// One number a head for each row of the slab: (1,Hq,rows,1).
  template <class V> static auto of_heads(V const& sink, slab const& s) {
    return view<typename V::element_type, 4, typename V::space_type>(sink.ptr, s.per_row(),
                                                                     {0, sink.str[0], 0, 0});
  }
  template <class B> auto buckets(B& be, slab const& s) const {
    auto const rows = be.template scratch<index_t>(extents<1>{s.distances()});
    be.generate(bucket_entries{how.relative, first_distance(s)}, rows);
    return rows;
  }

  /// Scores -> modified scores. Scores behind the soft cap are copied to `capped` unless it is empty.
  template <class B, class W, class X>
  void modify(B& be, W const& w, X const& x, slab const& s, out<B, T, 4> scores, out<B, T, 4> capped) const {
    using S = space_t<B>;
    if (how.softcap != 0) be.map(soft_cap{how.softcap}, scores, as_input(scores));
    if (capped.size() != 0) be.copy(as_input(scores), capped);
    auto const plus = [&](auto const& f, in<B, T, 4> term) { be.map(f, scores, as_input(scores), term); };
    if (how.alibi != 0) {
      auto frame = be.scope();
      index_t const n = s.distances();
      auto const term = be.template scratch<T>(extents<2>{s.heads, n});
      be.generate(alibi_entries{s.heads, first_distance(s), how.alibi}, term);
      plus(add{}, s.template by_distance<T const, S>(term.ptr, n, 1));
    }
    if (how.relative.count != 0) {
      auto frame = be.scope();
      auto const rows = buckets(be, s);
      auto const term = be.template scratch<T>(extents<2>{s.distances(), s.heads});
      be.gather(w.table, as_input(rows), term);
      plus(add{}, s.template by_distance<T const, S>(term.ptr, 1, s.heads));
    }
    if (!x.bias.empty()) plus(add{}, s.everywhere(s.part_of(x.bias)));
    if (!x.gates.empty()) plus(add_logarithm{}, s.everywhere(s.part_of(x.gates)));
  }

  /// Probabilities before dropout, and lse with the sink in it.
  template <class B, class W, class X>
  void probabilities(B& be, W const& w, X const& x, slab const& s, out<B, T, 4> p, out<B, T, 4> lse,
                     out<B, T, 4> capped) const {
    index_t const kv = x.k.ext[1];
    be.gemm(op::none, op::transpose, scale, plain::rows(plain::grouped(x.q, s.b, kv), s.rows),
            plain::rows(plain::grouped(x.k, s.b, kv), s.seen), T(0), plain::grouped(p, 0, kv));
    modify(be, w, x, s, p, capped);
    be.softmax(mask, score_origin{s.b, 0, s.rows.first, s.seen.first}, as_input(p), p, lse);
    if (!how.sink) return;
    auto frame = be.scope();
    auto const share = be.template scratch<T>(s.per_row());
    be.copy(as_input(lse), share);
    be.map(log_add{}, lse, as_input(lse), of_heads(w.sink, s));
    be.map(share_of{}, share, as_input(share), as_input(lse));
    be.map(multiply{}, p, as_input(p), s.everywhere(as_input(share)));
  }
  template <class B> out<B, T, 4> dropped(B& be, slab const& s) const {
    auto const keep = be.template scratch<T>(s.scores());
    be.generate(
        dropout_entries{
            {how.seed, 0}, how.dropout, {s.b, 0, s.rows.first, s.seen.first}, s.heads, s.queries, s.keys},
        keep);
    return keep;
  }

  /// y, and lse (B,Hq,L,1) unless it is empty.
  template <class B, class W, class X>
  void forward(B& be, W const& w, X const& x, out<B, T, 4> all_lse, out<B, T, 4> y) const {
    index_t const heads = x.q.ext[1], kv = x.k.ext[1], queries = x.q.ext[2], keys = x.k.ext[2];
    std::size_t const bytes = static_cast<std::size_t>(2 * heads * plain::slab_rows * keys) * sizeof(T);
    auto const one = [&](auto& sub, index_t b, index_range r, index_range seen, bool) {
      slab const s{b, heads, queries, keys, r, seen};
      auto const lse = all_lse.size() != 0 ? slice(plain::rows(all_lse, r), 0, b, 1)
                                           : sub.template scratch<T>(s.per_row());
      auto const yb = plain::rows(plain::grouped(y, b, kv), r);  // (Hkv,G,rows,E)
      if (seen.first >= seen.last) {
        sub.map(constant<T>{T(0)}, yb);
        if (how.sink)
          sub.copy(of_heads(w.sink, s), lse);
        else
          sub.map(constant<T>{nothing}, lse);
        return;
      }
      auto const p = sub.template scratch<T>(s.scores());
      probabilities(sub, w, x, s, p, lse, {});
      if (how.dropout != 0) sub.map(multiply{}, p, as_input(p), as_input(dropped(sub, s)));
      sub.gemm_select(op::none, op::none, T(1), as_input(plain::grouped(p, 0, kv)),
                      plain::rows(plain::grouped(x.v, b, kv), seen), T(0), yb);
    };
    plain{mask, scale}.share_slabs(be, x, bytes, one);
  }

  /// `to` += the sum of v over the axes on which `to` has extent 1.
  template <class B> static void add_sum(B& be, in<B, T, 4> v, out<B, T, 4> const& to) {
    auto frame = be.scope();
    for (int axis = 3; axis > 0; --axis) {
      if (to.ext[axis] != 1 || v.ext[axis] == 1) continue;
      extents<4> e = v.ext;
      e[axis] = 1;
      auto const sum = be.template scratch<T>(e);
      be.reduce(reduction::sum, swap_axes(v, axis, 3), T(0), swap_axes(sum, axis, 3));
      v = sum;
    }
    be.map(add{}, to, as_input(to), v);
  }
  /// dtable(bucket, h) += the sum of ds over the pairs whose distance falls into the bucket.
  template <class B> void add_to_table(B& be, slab const& s, in<B, T, 4> ds, out<B, T, 2> dtable) const {
    using S = space_t<B>;
    auto frame = be.scope();
    index_t const n = s.distances(), m = s.row_count();
    // row i of ds lies m - 1 - i entries to the right, so that a column holds one distance
    auto const shifted = be.template scratch<T>(extents<4>{1, s.heads, m, n});
    be.map(constant<T>{T(0)}, shifted);
    be.copy(ds, out<B, T, 4>(advance(shifted.ptr, m - 1), s.scores(), {0, m * n, n - 1, 1}));
    auto const sums = be.template scratch<T>(extents<4>{1, s.heads, n, 1});
    be.reduce(reduction::sum, as_input(swap_axes(shifted, 2, 3)), T(0), sums);
    be.scatter_add(as_input(buckets(be, s)), view<T const, 2, S>(sums.ptr, {n, s.heads}, {1, n}), dtable);
  }

  /// As attention_recipe::backward. What batch entries share is not added to by several threads at once: each
  /// entry has gradients of the weights of its own, added up in order, and with a bias or gates for all
  /// entries they follow one another.
  template <class B, class W, class X, class DW, class DX>
  void backward(B& be, W const& w, X const& x, in<B, T, 4> y, in<B, T, 4> dy, DW const& dw,
                DX const& dx) const {
    index_t const batch = x.q.ext[0], heads = x.q.ext[1], queries = x.q.ext[2], keys = x.k.ext[2];
    be.map(constant<T>{T(0)}, dx.k);
    be.map(constant<T>{T(0)}, dx.v);
    if (!x.bias.empty()) be.map(constant<T>{T(0)}, dx.bias);
    if (!x.gates.empty()) be.map(constant<T>{T(0)}, dx.gates);
    auto frame = be.scope();
    out<B, T, 3> tables;  // (B,buckets,Hq)
    out<B, T, 2> sinks;   // (B,Hq)
    if (how.relative.count != 0) {
      tables = be.template scratch<T>(extents<3>{batch, how.relative.count, heads});
      be.map(constant<T>{T(0)}, tables);
    }
    if (how.sink) {
      sinks = be.template scratch<T>(extents<2>{batch, heads});
      be.map(constant<T>{T(0)}, sinks);
    }
    auto const for_all = [&](auto const& v) { return !v.empty() && v.ext[0] == 1 && batch > 1; };
    bool const in_order = for_all(x.bias) || for_all(x.gates);
    std::size_t const bytes = static_cast<std::size_t>(4 * heads * plain::slab_rows * keys) * sizeof(T);
    be.tiles(in_order ? 1 : batch, bytes, [&](auto& sub, index_t first, index_t count) {
      for (index_t b = in_order ? 0 : first; b < (in_order ? batch : first + count); ++b) {
        auto const dtable = how.relative.count != 0 ? fix_axis(tables, 0, b) : out<B, T, 2>{};
        auto const dsink = how.sink ? fix_axis(sinks, 0, b) : out<B, T, 1>{};
        plain{mask, scale}.each_slab(b, heads, queries, keys, [&](index_range r, index_range seen, bool) {
          backward_slab(sub, w, x, y, dy, slab{b, heads, queries, keys, r, seen}, dtable, dsink, dx);
        });
      }
    });
    for (index_t b = 0; b < batch; ++b) {
      if (how.relative.count != 0)
        be.map(add{}, dw.table, as_input(dw.table), as_input(fix_axis(tables, 0, b)));
      if (how.sink) be.map(add{}, dw.sink, as_input(dw.sink), as_input(fix_axis(sinks, 0, b)));
    }
  }

 private:
  template <class B, class W, class X, class DX>
  void backward_slab(B& be, W const& w, X const& x, in<B, T, 4> y, in<B, T, 4> dy, slab const& s,
                     out<B, T, 2> dtable, out<B, T, 1> dsink, DX const& dx) const {
    auto frame = be.scope();
    index_t const kv = x.k.ext[1], groups = s.heads / kv, b = s.b;
    index_range const r = s.rows, seen = s.seen;
    auto const dq = plain::rows(plain::grouped(dx.q, b, kv), r);  // (Hkv,G,rows,D)
    if (seen.first >= seen.last) return be.map(constant<T>{T(0)}, dq);
    auto p = be.template scratch<T>(s.scores());
    auto const ds = be.template scratch<T>(s.scores()), lse = be.template scratch<T>(s.per_row());
    auto const capped = how.softcap != 0 ? be.template scratch<T>(s.scores()) : out<B, T, 4>{};
    probabilities(be, w, x, s, p, lse, capped);
    auto const g = plain::rows(plain::grouped(dy, b, kv), r), q = plain::rows(plain::grouped(x.q, b, kv), r);
    be.gemm(op::none, op::transpose, T(1), g, plain::rows(plain::grouped(x.v, b, kv), seen), T(0),
            plain::grouped(ds, 0, kv));
    auto given = p;  // what dy met: p behind dropout
    if (how.dropout != 0) {
      given = dropped(be, s);
      be.map(multiply{}, ds, as_input(ds), as_input(given));
      be.map(multiply{}, given, as_input(given), as_input(p));
    }
    be.softmax_backward(as_input(p), as_input(ds), ds);
    if (how.sink) add_to_sink(be, w, s, y, dy, as_input(lse), dsink);
    if (!x.gates.empty()) {
      auto inner = be.scope();
      auto const dgates = be.template scratch<T>(s.scores());
      be.map(d_gate{}, dgates, as_input(ds), s.everywhere(s.part_of(x.gates)));
      add_sum(be, as_input(dgates), s.part_of(dx.gates));
    }
    if (!x.bias.empty()) add_sum(be, as_input(ds), s.part_of(dx.bias));
    if (how.relative.count != 0) add_to_table(be, s, as_input(ds), dtable);
    if (how.softcap != 0) be.map(d_soft_cap{how.softcap}, ds, as_input(ds), as_input(capped));
    out<B, T, 4> const dscores = plain::grouped(ds, 0, kv), weight = plain::grouped(given, 0, kv);
    be.gemm_select(op::none, op::none, scale, as_input(dscores),
                   plain::rows(plain::grouped(x.k, b, kv), seen), T(0), dq);
    auto const one = [](auto const& v, index_t n) { return slice(v, 1, n, 1); };
    auto const dk = plain::rows(plain::grouped(dx.k, b, kv), seen),
               dv = plain::rows(plain::grouped(dx.v, b, kv), seen);
    for (index_t n = 0; n < groups; ++n) {
      be.gemm_select(op::transpose, op::none, T(1), as_input(one(weight, n)), one(g, n), T(1), dv);
      be.gemm_select(op::transpose, op::none, scale, as_input(one(dscores, n)), one(q, n), T(1), dk);
    }
  }

  template <class B, class W>
  void add_to_sink(B& be, W const& w, slab const& s, in<B, T, 4> y, in<B, T, 4> dy, in<B, T, 4> lse,
                   out<B, T, 1> dsink) const {
    auto frame = be.scope();
    auto const of_slab = [&](auto const& v) { return slice(plain::rows(v, s.rows), 0, s.b, 1); };
    auto const terms = be.template scratch<T>(of_slab(y).ext);  // (1,Hq,rows,E)
    be.map(multiply{}, terms, of_slab(y), of_slab(dy));
    auto const mean = be.template scratch<T>(s.per_row());
    be.reduce(reduction::sum, as_input(terms), T(0), mean);
    be.map(d_sink{}, mean, of_heads(w.sink, s), lse, as_input(mean));
    be.reduce(reduction::sum, as_input(swap_axes(mean, 2, 3)), T(1),
              out<B, T, 4>(dsink.ptr, {1, s.heads, 1, 1}, {0, dsink.str[0], 0, 0}));
  }
};

}  // namespace smx::detail
