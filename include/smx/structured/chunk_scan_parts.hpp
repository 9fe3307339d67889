// SPDX-License-Identifier: Apache-2.0
/// \file  What chunk_scan.hpp is made of: the layout of heads, groups, sequences and chunks, and the products
///        of one chunk, forward and backward, over the primitives of a backend.
///
/// Axes of everything inside: (G,R,rows,dim), head = group and one of the R heads that share it.
#pragma once

#include <cmath>
#include <cstddef>

#include <smx/backend/chunk_scan_calls.hpp>
#include <smx/backend/shapes.hpp>

namespace smx::detail {

/// exp of a difference of sums of log-decays, which rounding can make slightly positive. NaN stays NaN.
struct decay_between {
  template <class T> SMX_HD T operator()(T later, T earlier) const {
    T const d = later - earlier;
    return std::exp(d > T(0) ? T(0) : d);
  }
};
/// Selects, so that what is above the diagonal is never read into a result.
struct decayed_triangle {
  template <class T> SMX_HD T operator()(T entry, T later, T earlier, T seen) const {
    return seen == T(0) ? T(0) : entry * decay_between{}(later, earlier);
  }
};
struct triangle {
  template <class T> SMX_HD T operator()(T entry, T seen) const { return seen == T(0) ? T(0) : entry; }
};
/// 1 on and below the diagonal.
struct lower_ones {
  SMX_HD double operator()(extents<4> const& i) const { return i[2] >= i[3] ? 1 : 0; }
};

/// An axis of extent 1 as one of n equal entries.
template <class V> constexpr V repeated(V v, int axis, index_t n) {
  v.ext[axis] = n;
  v.str[axis] = 0;
  return v;
}
/// All of (G,R,rows,dim) from a view that may have extent 1 anywhere.
template <class V> constexpr V spread(V v, extents<4> const& e) {
  for (int r = 0; r < 4; ++r)
    if (v.ext[r] == 1 && e[r] != 1) v = repeated(v, r, e[r]);
  return v;
}

struct chunk_scan_layout {
  chunk_scan_shape shape;
  index_t batch, length, heads_count, groups, n, p, sequences;

  template <class X>
  chunk_scan_layout(chunk_scan_shape const& s, X const& x)
      : shape(s),
        batch(x.v.ext[0]),
        length(x.v.ext[2]),
        heads_count(x.v.ext[1]),
        groups(x.q.ext[1]),
        n(x.q.ext[3]),
        p(x.v.ext[3]),
        sequences(s.packing.count > 0 ? s.packing.count : x.v.ext[0]) {}

  index_t shared() const { return heads_count / groups; }
  bool packed() const { return shape.packing.count > 0; }
  /// Rows of sequence i, of its batch entry.
  index_range rows_of(index_t i) const {
    return packed() ? index_range{shape.packing.bounds[i], shape.packing.bounds[i + 1]}
                    : index_range{0, length};
  }
  index_t batch_of(index_t i) const { return packed() ? 0 : i; }
  index_t chunks(index_t i) const {
    return (rows_of(i).last - rows_of(i).first + shape.chunk - 1) / shape.chunk;
  }
  extents<4> state_extents() const { return {groups, shared(), n, p}; }

  /// (H,...) as (G,R,...).
  template <class V> auto heads(V const& v) const {
    if (shape.groups == group_map::interleaved) return split_axis(v, 0, groups, shared());
    return swap_axes(split_axis(v, 0, shared(), groups), 0, 1);
  }
  /// The state before chunk c of sequence i, from (sequences,chunks,H,N,P): (G,R,N,P).
  template <class V> auto state(V const& v, index_t i, index_t c) const {
    return heads(fix_axis(fix_axis(v, 0, i), 0, c));
  }
  /// The rows of sequence i of (B,H,L,D): (G,R,rows,D); rows_grouped: of (B,G,L,D): (G,1,rows,D).
  template <class V> auto rows(V const& v, index_t i) const {
    index_range const r = rows_of(i);
    return heads(slice(fix_axis(v, 0, batch_of(i)), 1, r.first, r.last - r.first));
  }
  template <class V> auto rows_grouped(V const& v, index_t i) const {
    index_range const r = rows_of(i);
    return broadcast_axis(slice(fix_axis(v, 0, batch_of(i)), 1, r.first, r.last - r.first), 1, 1);
  }
  /// Chunk c of the rows of sequence i.
  template <class V> V cut(V const& v, index_t i, index_t c) const {
    index_t const all = rows_of(i).last - rows_of(i).first, first = c * shape.chunk;
    return slice(v, 2, first, all - first < shape.chunk ? all - first : shape.chunk);
  }
  /// What one sequence takes as scratch, about.
  template <class T> std::size_t bytes() const {
    index_t const q = shape.chunk;
    return static_cast<std::size_t>(heads_count * (n * p + 2 * q * q + 3 * q * p)) * sizeof(T);
  }
};

/// One sequence on backend B.
template <class B, class T> class chunk_scan_part {
  using S = space_t<B>;
  using reading = in<B, T, 4>;
  using writing = out<B, T, 4>;

 public:
  chunk_scan_part(B& be, chunk_scan_layout const& d, chunk_scan_inputs<T, S> const& x, index_t i)
      : be_(be), d_(d), x_(x), i_(i), decays_(x.log_decay.size() != 0) {
    seen_ = be.template scratch<T>(extents<4>{1, 1, d.shape.chunk, d.shape.chunk});
    be.generate(lower_ones{}, seen_);
  }

  /// The arrays of one chunk of Q rows.
  struct arrays {
    reading q, k;    // (G,1,Q,N)
    reading v;       // (G,R,Q,P)
    reading v_in;    // weight v, (G,R,Q,P)
    reading sums;    // of log-decays from the chunk's first row on, (G,R,Q,1)
    reading weight;  // (G,R,Q,1)
    extents<4> e;    // of v
  };

  /// The state before the first row.
  void start(writing s) const {
    if (x_.initial.size() != 0)
      be_.copy(d_.heads(fix_axis(x_.initial, 0, i_)), s);
    else
      be_.map(constant<T>{T(0)}, s);
  }

  arrays chunk(index_t c) const {
    auto const rows = [&](reading const& v) { return d_.cut(reading(d_.rows(v, i_)), i_, c); };
    auto const grouped = [&](reading const& v) { return d_.cut(reading(d_.rows_grouped(v, i_)), i_, c); };
    arrays a{grouped(x_.q), grouped(x_.k), rows(x_.v), {}, {}, {}, {}};
    a.e = a.v.ext;
    a.v_in = a.v;
    if (x_.weight.size() != 0) {
      a.weight = rows(x_.weight);
      auto const to = be_.template scratch<T>(a.e);
      be_.map(multiply{}, to, a.v, spread(a.weight, a.e));
      a.v_in = to;
    }
    if (decays_) {
      auto const sums = be_.template scratch<T>(extents<4>{a.e[0], a.e[1], 1, a.e[2]});
      be_.cumulative_sum(swap_axes(rows(x_.log_decay), 2, 3), sums);
      a.sums = swap_axes(as_input(sums), 2, 3);
    }
    return a;
  }

  /// y = Gamma v_in + F (scale q S) + skip v.
  void output(arrays const& a, reading s, writing y) const {
    T const scale = static_cast<T>(d_.shape.scale);
    auto const gamma = be_.template scratch<T>(square(a));
    triangle_of(a, products(a), gamma);
    be_.gemm_select(op::none, op::none, T(1), as_input(gamma), a.v_in, T(0), y);
    if (decays_) {
      auto const before = be_.template scratch<T>(a.e);
      be_.gemm(op::none, op::none, scale, a.q, s, T(0), before);
      be_.map(multiply_add{}, y, spread(from_start(a), a.e), as_input(before), as_input(y));
    } else {
      be_.gemm(op::none, op::none, scale, a.q, s, T(1), y);
    }
    if (x_.skip.size() != 0) be_.map(multiply_add{}, y, spread(skip(), a.e), a.v, as_input(y));
  }

  /// S = exp(sum of log-decays) S + k^T E v_in.
  void advance(arrays const& a, writing s) const {
    reading in = a.v_in;
    if (decays_) {
      auto const weighted = be_.template scratch<T>(a.e);
      be_.map(multiply{}, weighted, spread(to_end(a), a.e), a.v_in);
      in = weighted;
      be_.map(multiply{}, s, spread(whole(a), s.ext), as_input(s));
    }
    be_.gemm(op::transpose, op::none, T(1), a.k, in, T(1), s);
  }

  /// The gradients of the rows of chunk c; g: of the state after it, becomes that of the state before it.
  void backward(arrays const& a, index_t c, reading s, writing g, reading all_dy,
                chunk_scan_gradients<T, S> const& dx) const {
    T const scale = static_cast<T>(d_.shape.scale);
    auto const part = [&](auto const& v) { return d_.cut(d_.rows(v, i_), i_, c); };
    auto const dy = part(all_dy);
    auto const dq = d_.cut(d_.rows_grouped(dx.q, i_), i_, c), dk = d_.cut(d_.rows_grouped(dx.k, i_), i_, c);
    extents<4> const keys{a.e[0], a.e[1], a.e[2], d_.n}, column{a.e[0], a.e[1], a.e[2], 1};

    // Through the triangle: gamma and its gradient, which first is that of the decayed products.
    auto const gamma = be_.template scratch<T>(square(a)), dgamma = be_.template scratch<T>(square(a));
    triangle_of(a, products(a), gamma);
    be_.gemm(op::none, op::transpose, T(1), dy, a.v_in, T(0), dgamma);
    auto const din = be_.template scratch<T>(a.e);
    be_.gemm_select(op::transpose, op::none, T(1), as_input(gamma), dy, T(0), din);
    auto const da = be_.template scratch<T>(column);
    if (decays_) triangle_decays(a, as_input(gamma), as_input(dgamma), da);
    triangle_of(a, as_input(dgamma), dgamma);
    auto const shared = be_.template scratch<T>(extents<4>{a.e[0], 1, a.e[2], a.e[2]});
    sum_heads(as_input(dgamma), shared, false);
    be_.gemm_select(op::none, op::none, scale, as_input(shared), a.k, T(0), dq);
    be_.gemm_select(op::transpose, op::none, scale, as_input(shared), a.q, T(0), dk);

    // Through the state after the chunk.
    auto const to_state = be_.template scratch<T>(a.e);  // E k g
    be_.gemm(op::none, op::none, T(1), a.k, as_input(g), T(0), to_state);
    auto const rows_of_state = be_.template scratch<T>(keys);
    be_.gemm(op::none, op::transpose, T(1), a.v_in, as_input(g), T(0), rows_of_state);
    if (decays_) {
      auto const end = to_end(a);
      be_.map(multiply{}, to_state, spread(end, a.e), as_input(to_state));
      be_.map(multiply{}, rows_of_state, spread(end, keys), as_input(rows_of_state));
      end_decays(a, as_input(to_state), da);
    }
    be_.map(add{}, din, as_input(din), as_input(to_state));
    sum_heads(as_input(rows_of_state), dk, true);

    // Through the state before the chunk.
    be_.gemm(op::none, op::transpose, scale, dy, s, T(0), rows_of_state);
    reading dy_in = dy;
    if (decays_) {
      auto const start = from_start(a);
      be_.map(multiply{}, rows_of_state, spread(start, keys), as_input(rows_of_state));
      start_decays(a, as_input(rows_of_state), s, as_input(g), da);
      auto const weighted = be_.template scratch<T>(a.e);
      be_.map(multiply{}, weighted, spread(start, a.e), dy);
      dy_in = weighted;
      be_.map(multiply{}, g, spread(whole(a), g.ext), as_input(g));
      be_.copy(as_input(da), part(dx.log_decay));
    }
    sum_heads(as_input(rows_of_state), dq, true);
    be_.gemm(op::transpose, op::none, scale, a.q, dy_in, T(1), g);

    values_backward(a, dy, as_input(din), part(dx.v), c, dx);
  }

 private:
  extents<4> square(arrays const& a) const { return {a.e[0], a.e[1], a.e[2], a.e[2]}; }
  reading skip() const { return d_.heads(fix_axis(x_.skip, 0, 0)); }
  reading seen(index_t rows) const { return slice(slice(as_input(seen_), 2, 0, rows), 3, 0, rows); }

  /// scale q k^T, (G,1,Q,Q).
  reading products(arrays const& a) const {
    auto const to = be_.template scratch<T>(extents<4>{a.e[0], 1, a.e[2], a.e[2]});
    be_.gemm(op::none, op::transpose, static_cast<T>(d_.shape.scale), a.q, a.k, T(0), to);
    return to;
  }
  /// to_ls = exp(c_l - c_s) from_ls for s <= l, else 0.
  void triangle_of(arrays const& a, reading from, writing to) const {
    auto const mask = spread(seen(a.e[2]), to.ext);
    if (decays_)
      be_.map(decayed_triangle{}, to, spread(from, to.ext), spread(a.sums, to.ext),
              spread(swap_axes(a.sums, 2, 3), to.ext), mask);
    else
      be_.map(triangle{}, to, spread(from, to.ext), mask);
  }
  reading last(arrays const& a) const { return slice(a.sums, 2, a.e[2] - 1, 1); }
  reading mapped_column(arrays const& a, auto const& f, auto const&... x) const {
    auto const to = be_.template scratch<T>(extents<4>{a.e[0], a.e[1], a.e[2], 1});
    be_.map(f, to, x...);
    return to;
  }
  /// F: decay from before the chunk to each row. E: from each row to the chunk's end. Both (G,R,Q,1).
  reading from_start(arrays const& a) const { return mapped_column(a, exponential{}, a.sums); }
  reading to_end(arrays const& a) const {
    return mapped_column(a, decay_between{}, spread(last(a), a.sums.ext), a.sums);
  }
  /// Of the whole chunk, (G,R,1,1).
  reading whole(arrays const& a) const {
    auto const to = be_.template scratch<T>(extents<4>{a.e[0], a.e[1], 1, 1});
    be_.map(exponential{}, to, last(a));
    return to;
  }
  /// Sums over the heads of a group, in order.
  void sum_heads(reading from, writing to, bool add_to) const {
    for (index_t r = 0; r < from.ext[1]; ++r) {
      auto const one = slice(from, 1, r, 1);
      if (r > 0 || add_to)
        be_.map(add{}, to, as_input(to), one);
      else
        be_.copy(one, to);
    }
  }
  /// sum over the last axis of x y.
  void dots(reading x, reading y, T beta, writing to) const {
    auto const products = be_.template scratch<T>(x.ext);
    be_.map(multiply{}, products, x, y);
    be_.reduce(reduction::sum, as_input(products), beta, to);
  }

  /// da_k = sum over l >= k > s of dgamma_ls gamma_ls: sums of terms, no differences, so nothing cancels.
  void triangle_decays(arrays const& a, reading gamma, reading dgamma, writing da) const {
    be_.map(constant<T>{T(0)}, da);
    index_t const q = a.e[2];
    if (q == 1) return;
    auto const m = be_.template scratch<T>(square(a));
    be_.map(multiply{}, m, gamma, dgamma);
    be_.map(triangle{}, m, as_input(m), spread(seen(q), m.ext));
    be_.cumulative_sum(as_input(m), m);  // over s
    auto const before = slice(m, 3, 0, q - 1);
    be_.map(triangle{}, before, as_input(before), spread(slice(seen(q), 3, 1, q - 1), before.ext));
    be_.reduce(reduction::sum, swap_axes(as_input(before), 2, 3), T(1), slice(da, 2, 1, q - 1));
  }
  /// da_k += sum over s < k of <v_in_s, E_s k_s g>.
  void end_decays(arrays const& a, reading to_state, writing da) const {
    index_t const q = a.e[2];
    if (q == 1) return;
    auto const each = be_.template scratch<T>(da.ext);
    dots(a.v_in, to_state, T(0), each);
    be_.gemm(op::none, op::none, T(1), seen(q - 1), slice(as_input(each), 2, 0, q - 1), T(1),
             slice(da, 2, 1, q - 1));
  }
  /// da_k += sum over l >= k of <F_l S dy_l, scale q_l>, and exp(sum) <S, g> for every k.
  void start_decays(arrays const& a, reading rows, reading s, reading g, writing da) const {
    auto const each = be_.template scratch<T>(da.ext);
    dots(rows, spread(a.q, rows.ext), T(0), each);
    extents<4> const one{a.e[0], a.e[1], 1, 1};
    auto const flat = be_.template scratch<T>(s.ext);
    be_.map(multiply{}, flat, s, g);
    auto const carry = be_.template scratch<T>(one);
    be_.reduce(reduction::sum, in<B, T, 4>{flat.ptr, extents<4>{s.ext[0], s.ext[1], 1, s.ext[2] * s.ext[3]}},
               T(0), carry);
    auto const end = slice(each, 2, a.e[2] - 1, 1);
    be_.map(multiply_add{}, end, whole(a), as_input(carry), as_input(end));
    be_.gemm(op::transpose, op::none, T(1), seen(a.e[2]), as_input(each), T(1), da);
  }
  /// dv = weight din + skip dy, dweight = <din, v>, dskip += sum over rows of dy v.
  void values_backward(arrays const& a, reading dy, reading din, writing dv, index_t c,
                       chunk_scan_gradients<T, S> const& dx) const {
    if (x_.weight.size() != 0) {
      dots(din, a.v, T(0), d_.cut(d_.rows(dx.weight, i_), i_, c));
      be_.map(multiply{}, dv, din, spread(a.weight, a.e));
    } else {
      be_.copy(din, dv);
    }
    if (x_.skip.size() == 0) return;
    be_.map(multiply_add{}, dv, spread(skip(), a.e), dy, as_input(dv));
    auto const products = be_.template scratch<T>(a.e);
    be_.map(multiply{}, products, dy, a.v);
    be_.reduce(reduction::sum, swap_axes(as_input(products), 2, 3), T(1),
               swap_axes(d_.heads(fix_axis(dx.skip, 0, i_)), 2, 3));
  }

  B& be_;
  chunk_scan_layout const& d_;
  chunk_scan_inputs<T, S> const& x_;
  index_t i_;
  bool decays_;
  writing seen_;
};

}  // namespace smx::detail
