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
    be.tiles(x.x.ext[0], bytes(x), [&](auto& sub, index_t first, index_t count) {
      for (index_t b = first; b < first + count; ++b) {
        auto inner = sub.scope();
        auto const yb = heads_of(y, b, x);  // (G,R,L,P)
        auto const vb = heads_of(x.x, b, x);
        sub.gemm(op::none, op::none, T(1), keys_of(x.c, b),
                 as_input(state(sub, x, b, weighted(sub, x, da, b))), T(0), yb);
        if (skip != skip_kind::none)
          sub.map(multiply_add{}, yb, detail::spread(skip_of(w, x), yb.ext), vb, as_input(yb));
      }
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
    be.tiles(x.x.ext[0], 3 * bytes(x), [&](auto& sub, index_t first, index_t count) {
      for (index_t b = first; b < first + count; ++b) {
        auto inner = sub.scope();
        backward_entry(sub, w, x, da, b, dy, dx, dminus, dskip);
      }
    });
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
  template <class X> std::size_t bytes(X const& x) const {
    return static_cast<std::size_t>(heads * (x.x.ext[2] + x.b.ext[3]) * x.x.ext[3]) * sizeof(T);
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
  /// da x, (G,R,M,P).
  template <class B> in<B, T, 4> weighted(B& be, inputs<reads<B>> const& x, in<B, T, 4> da, index_t b) const {
    auto const v = heads_of(x.x, b, x);
    auto const to = be.template scratch<T>(v.ext);
    be.map(multiply{}, to, v, detail::spread(heads_of(da, b, x), v.ext));
    return to;
  }
  /// H (G,R,N,P).
  template <class B> out<B, T, 4> state(B& be, inputs<reads<B>> const& x, index_t b, in<B, T, 4> from) const {
    auto const h = be.template scratch<T>(extents<4>{from.ext[0], from.ext[1], x.b.ext[3], from.ext[3]});
    be.gemm(op::transpose, op::none, -scale, keys_of(x.b, b), from, T(0), h);
    return h;
  }

  template <class B>
  void backward_entry(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, in<B, T, 4> da, index_t b,
                      in<B, T, 4> all_dy, inputs<writes<B>> const& dx, out<B, T, 4> dminus,
                      out<B, T, 4> dskip) const {
    auto const dy = heads_of(all_dy, b, x), v = heads_of(x.x, b, x);
    auto const from = weighted(be, x, da, b);
    auto const h = state(be, x, b, from), dh = be.template scratch<T>(h.ext);
    be.gemm(op::transpose, op::none, T(1), keys_of(x.c, b), dy, T(0), dh);
    auto const db = keys_of(dx.b, b), dc = keys_of(dx.c, b);
    for (index_t r = 0; r < v.ext[1]; ++r) {  // heads of a group in order
      auto const share = [&](auto const& one) { return slice(one, 1, r, 1); };
      T const beta = r == 0 ? T(0) : T(1);
      be.gemm(op::none, op::transpose, T(1), share(dy), share(as_input(h)), beta, dc);
      be.gemm(op::none, op::transpose, -scale, share(from), share(as_input(dh)), beta, db);
    }
    auto const each = be.template scratch<T>(v.ext);  // b dh, as -scale
    be.gemm(op::none, op::none, -scale, keys_of(x.b, b), as_input(dh), T(0), each);
    auto const dv = heads_of(dx.x, b, x);
    be.map(multiply{}, dv, as_input(each), detail::spread(heads_of(da, b, x), v.ext));
    be.map(multiply{}, each, as_input(each), v);
    be.reduce(reduction::sum, as_input(each), T(0), heads_of(dminus, b, x));
    if (skip == skip_kind::none) return;
    be.map(multiply_add{}, dv, detail::spread(skip_of(w, x), v.ext), dy, as_input(dv));
    be.map(multiply{}, each, dy, v);
    be.reduce(reduction::sum, swap_axes(as_input(each), 2, 3), T(0), swap_axes(heads_of(dskip, b, x), 2, 3));
  }
};

}  // namespace smx
