// SPDX-License-Identifier: Apache-2.0
/// \file  Non-causal state space duality: one state for all rows, y = C (B^T (m x)) + D x, m = delta |A|.
///
/// delta = clamp(softplus(dt + dt_bias), dt_min, dt_max), A = -exp(a_log) for each head. The state H = sum_j
/// m_j B_j x_j^T grows with the number of rows (nothing divides by it; scale can). Cost: 4 L N P flops a
/// head; memory O(N P) a head and one array like x. Y. Shi et al., "VSSD: Vision Mamba with Non-Causal State
/// Space Duality", ICCV 2025; the weights are those of its code (the paper writes 1 / A_t).
#pragma once

#include <limits>

#include <smx/mixers/scan_state.hpp>
#include <smx/mixers/ssd.hpp>
#include <smx/mixers/ssd_step_size.hpp>

namespace smx {

/// Shapes: x (B,H,M,P), dt (B,H,M,1), b (B,G,M,N), c (B,G,L,N), y (B,H,L,P); weights a_log (H), skip (H,1) or
/// (H,P), dt_bias (H). Head h reads group h mod G, as the published model, or h / (H / G) (`groups`).
///
/// c may have rows of its own: cross attention, non-causal and, since row i reads c_i alone, causal in the
/// queries; D x then is left out (skip_kind::none), otherwise L must be M. Throws precondition_error for
/// other extents, limits of dt that are no interval, a last axis that is not contiguous, and outputs that
/// overlap inputs.
template <Compute T> struct nc_ssd {
  using scalar = T;
  static constexpr traits about{.name = "nc_ssd",
                                .causality = causality::none,
                                .data_dependent = true,
                                .flops_exponent = 1,
                                .same_source = false,
                                .row_separable = true};
  static constexpr int input_count = 4;

  index_t heads = 0;
  skip_kind skip = skip_kind::head;
  index_t head_dim = 0;  ///< P; needed with skip_kind::channel only
  bool dt_bias = true;
  bool softplus = true;
  T dt_min = 0;
  T dt_max = std::numeric_limits<T>::infinity();
  T scale = 1;  ///< of m
  group_map groups = group_map::tiled;
  friend bool operator==(nc_ssd const&, nc_ssd const&) = default;

  template <class A> using weights = typename ssd<T>::template weights<A>;
  template <class A> struct inputs { array<A, T, 4> x, dt, b, c; };
  template <class A> struct tape {};

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    as_ssd().for_each_weight(f, w...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) {
    f("x", x.x...);
    f("dt", x.dt...);
    f("b", x.b...);
    f("c", x.c...);
  }
  template <class X> extents<4> output_extents(X const& x) const {
    extents<4> e = x.x.extents();
    e[2] = x.c.extents()[2];
    return e;
  }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    check(x);
    as_ssd().check_weights(w, "");
    detail::check_scan_outputs<nc_ssd>("nc_ssd", x, y, out<B, T, 4>{}, output_extents(x), {});
    auto frame = be.scope();
    auto const da = minus_weights(be, w, x);  // (B,H,M,1)
    for (index_t b = 0; b < x.x.ext[0]; ++b)
      be.tiles(shares(x), bytes(x), [&](auto& sub, index_t first, index_t count) {
        auto const part = [&](auto const& v) { return share(v, first, count, x); };
        auto const yb = part(heads_of(y, b, x));  // (G,R,L,P)
        auto const vb = part(heads_of(x.x, b, x));
        auto const from = sub.template scratch<T>(vb.ext);
        sub.map(multiply{}, from, vb, detail::spread(part(heads_of(as_input(da), b, x)), vb.ext));
        auto const h = sub.template scratch<T>(state_extents(vb.ext, x));
        sub.gemm(op::transpose, op::none, -scale, part(keys_of(x.b, b)), as_input(from), T(0), h);
        sub.gemm(op::none, op::none, T(1), part(keys_of(x.c, b)), as_input(h), T(0), yb);
        if (skip != skip_kind::none)
          sub.map(multiply_add{}, yb, detail::spread(part(skip_of(w, x)), yb.ext), vb, as_input(yb));
      });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(x);
    as_ssd().check_weights(w, "");
    as_ssd().check_weights(dw, "d");
    detail::check_scan_gradients<nc_ssd>("nc_ssd", x, dy, in<B, T, 4>{}, dx, output_extents(x), {});
    auto frame = be.scope();
    auto const da = minus_weights(be, w, x);               // (B,H,M,1)
    auto const zero = be.template scratch<T>(x.dt.ext);    // delta has no path of its own
    auto const dminus = be.template scratch<T>(x.dt.ext);  // of da
    auto const dskip = skip == skip_kind::none
                           ? out<B, T, 4>{}
                           : be.template scratch<T>(extents<4>{x.x.ext[0], heads, 1, x.x.ext[3]});
    be.map(constant<T>{T(0)}, zero);
    for (index_t b = 0; b < x.x.ext[0]; ++b) backward_entry(be, w, x, as_input(da), b, dy, dx, dminus, dskip);
    as_ssd().add_skip_gradient(be, dskip, dw.skip);
    step_size().backward(be, da, x.dt, w.a_log, w.dt_bias, zero, dminus, dx.dt, dw.a_log, dw.dt_bias);
  }

 private:
  ssd<T> as_ssd() const {
    return {.heads = heads,
            .skip = skip,
            .head_dim = head_dim,
            .dt_bias = dt_bias,
            .softplus = softplus,
            .dt_min = dt_min,
            .dt_max = dt_max};
  }
  detail::ssd_step_size<T> step_size() const { return {softplus, dt_min, dt_max}; }

  template <class X> void check(X const& x) const {
    expects_value(heads >= 1, "nc_ssd: heads", "at least 1", heads);
    expects_extents("nc_ssd: x", x.x.ext, {-1, heads, -1, skip == skip_kind::channel ? head_dim : -1});
    expects_extents("nc_ssd: dt", x.dt.ext, {x.x.ext[0], heads, x.x.ext[2], 1});
    expects_extents("nc_ssd: b", x.b.ext, {x.x.ext[0], -1, x.x.ext[2], -1});
    expects_extents("nc_ssd: c", x.c.ext,
                    {x.x.ext[0], x.b.ext[1], skip == skip_kind::none ? -1 : x.x.ext[2], x.b.ext[3]});
    expects_value(heads % x.b.ext[1] == 0, "nc_ssd: b", "a number of groups that divides the heads; groups",
                  x.b.ext[1]);
    expects(dt_min >= T(0) && dt_min <= dt_max, "nc_ssd: dt_min, dt_max: expected 0 <= dt_min <= dt_max");
    expects_contiguous_rows("nc_ssd: x", x.x);
    expects_contiguous_rows("nc_ssd: b", x.b);
    expects_contiguous_rows("nc_ssd: c", x.c);
  }
  /// Heads are shared out along the longer of the axes (G,R): this many shares of one batch entry.
  template <class X> bool shares_groups(X const& x) const { return x.b.ext[1] * x.b.ext[1] > heads; }
  template <class X> index_t shares(X const& x) const {
    return shares_groups(x) ? x.b.ext[1] : heads / x.b.ext[1];
  }
  /// Shares first .. first + count - 1 of (G,R,.,.); an axis of extent 1 serves all.
  template <class V, class X> V share(V const& v, index_t first, index_t count, X const& x) const {
    int const axis = shares_groups(x) ? 0 : 1;
    return v.ext[axis] == 1 ? v : slice(v, axis, first, count);
  }
  /// Scratch of one share.
  template <class X> std::size_t bytes(X const& x) const {
    index_t const in_share = heads / shares(x);
    return static_cast<std::size_t>(in_share * (x.x.ext[2] + x.b.ext[3]) * x.x.ext[3]) * sizeof(T);
  }
  template <class X> static extents<4> state_extents(extents<4> const& v, X const& x) {
    return {v[0], v[1], x.b.ext[3], v[3]};
  }

  /// -m / scale = delta A.
  template <class B>
  out<B, T, 4> minus_weights(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x) const {
    auto const da = be.template scratch<T>(x.dt.ext), delta = be.template scratch<T>(x.dt.ext);
    using product = typename detail::ssd_step_size<T>::product;
    step_size().template forward<product>(be, x.dt, w.a_log, w.dt_bias, delta, da);
    return da;
  }
  /// Batch entry b of (B,H,L,D) as (G,R,L,D), of (B,G,L,N) as (G,1,L,N).
  template <class V, class X> auto heads_of(V const& v, index_t b, X const& x) const {
    auto const one = fix_axis(v, 0, b);
    index_t const g = x.b.ext[1];
    return groups == group_map::interleaved ? split_axis(one, 0, g, heads / g)
                                            : swap_axes(split_axis(one, 0, heads / g, g), 0, 1);
  }
  template <class V> static auto keys_of(V const& v, index_t b) {
    return broadcast_axis(fix_axis(v, 0, b), 1, 1);
  }
  template <class W, class X> auto skip_of(W const& w, X const& x) const {
    auto s = broadcast_axis(broadcast_axis(w.skip, 1, 1), 0, 1);  // (1,H,1,1 or P)
    return heads_of(s, 0, x);
  }
  /// Heads first, each by itself; then the sums over the heads of a group, row by row.
  template <class B>
  void backward_entry(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, in<B, T, 4> da, index_t b,
                      in<B, T, 4> all_dy, inputs<writes<B>> const& dx, out<B, T, 4> dminus,
                      out<B, T, 4> dskip) const {
    auto frame = be.scope();
    auto const all_v = heads_of(x.x, b, x), dys = heads_of(all_dy, b, x);
    auto const from = be.template scratch<T>(all_v.ext);  // da x, (G,R,M,P)
    auto const h = be.template scratch<T>(state_extents(all_v.ext, x)), dh = be.template scratch<T>(h.ext);
    be.tiles(shares(x), bytes(x), [&](auto& sub, index_t first, index_t count) {
      auto const part = [&](auto const& v) { return share(v, first, count, x); };
      auto const v = part(all_v), dy = part(dys);
      auto const m = detail::spread(part(heads_of(da, b, x)), v.ext);
      sub.map(multiply{}, part(from), v, m);
      sub.gemm(op::transpose, op::none, -scale, part(keys_of(x.b, b)), as_input(part(from)), T(0), part(h));
      sub.gemm(op::transpose, op::none, T(1), part(keys_of(x.c, b)), dy, T(0), part(dh));
      auto const each = sub.template scratch<T>(v.ext);  // b dh, as -scale
      sub.gemm(op::none, op::none, -scale, part(keys_of(x.b, b)), as_input(part(dh)), T(0), each);
      auto const dv = part(heads_of(dx.x, b, x));
      sub.map(multiply{}, dv, as_input(each), m);
      sub.map(multiply{}, each, as_input(each), v);
      sub.reduce(reduction::sum, as_input(each), T(0), part(heads_of(dminus, b, x)));
      if (skip == skip_kind::none) return;
      sub.map(multiply_add{}, dv, detail::spread(part(skip_of(w, x)), v.ext), dy, as_input(dv));
      sub.map(multiply{}, each, dy, v);
      sub.reduce(reduction::sum, swap_axes(as_input(each), 2, 3), T(0),
                 swap_axes(part(heads_of(dskip, b, x)), 2, 3));
    });
    auto const add_heads = [&](auto const& to, T alpha, auto const& rows, auto const& states) {
      be.tiles(to.ext[2], 0, [&](auto& sub, index_t first, index_t count) {
        for (index_t r = 0; r < all_v.ext[1]; ++r)
          sub.gemm(op::none, op::transpose, alpha, slice(slice(rows, 1, r, 1), 2, first, count),
                   slice(states, 1, r, 1), r == 0 ? T(0) : T(1), slice(to, 2, first, count));
      });
    };
    add_heads(keys_of(dx.c, b), T(1), dys, as_input(h));
    add_heads(keys_of(dx.b, b), -scale, as_input(from), as_input(dh));
  }
};

}  // namespace smx
