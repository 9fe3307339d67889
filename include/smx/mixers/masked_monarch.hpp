// SPDX-License-Identifier: Apache-2.0
/// \file  A masked sum of Monarch matrices: causal exactly, complete, without a transform, padding or
/// inverse.
///
/// With positions t = c b + o in blocks of b,
///
///   y[c,o] = sum_{i <= o} A_c[o,i] x[c,i] + sum_{c' < c} L_o[c,c'] z[c',o],     z[c',o] = sum_i R_c'[o,i]
///   x[c',i]
///
/// the first sum is what a block sees of itself, the second a Monarch matrix of order 2 (T. Dao et al.,
/// "Monarch", ICML 2022) whose left factor is strictly lower triangular, so that whole earlier blocks, and
/// nothing else, go through its dense right factor. Masking the factors of one Monarch matrix instead leaves
/// out a quarter of the positions or more.
///
/// Cost: L (3 b + L / b) flops a channel, half of each triangle left out: about 4 L^1.5 at b = sqrt(L). A
/// step costs 2 (2 b + L / b); its state keeps L + b rows.
#pragma once

#include <cmath>

#include <smx/mixers/concept.hpp>
#include <smx/structured/channel_panels.hpp>
#include <smx/structured/lower_blocks.hpp>
#include <smx/structured/monarch_factors.hpp>

namespace smx {

/// Shapes: x, y (B,H,L',D) with L' <= length; heads share weights. Group g of the channels, D / groups of
/// them from g D / groups on, has weights of its own: within (G,m,b,b), lower triangular; across (G,b,m,m),
/// strictly lower triangular; summary (G,m,b,b). What lies above is not read, its gradient 0. Any strides
/// along x and y; y may be x; dx apart from x and dy; last axes of weights contiguous.
///
/// Throws precondition_error for factors that are not two or do not multiply up to the length (padded in the
/// top digit only), groups that do not divide the channels, other extents.
template <Compute T> struct masked_monarch {
  using scalar = T;
  static constexpr traits about{
      .name = "masked_monarch", .causality = causality::exact, .streaming = true, .flops_exponent = 1.5};
  static constexpr int input_count = 1;

  index_t channels = 0;
  index_t length = 0;           ///< positions at most
  monarch_digits factors = {};  ///< {m, b}; empty: monarch_factors(length, 2)
  index_t groups = 1;           ///< of channels, each with weights of its own
  friend bool operator==(masked_monarch const&, masked_monarch const&) = default;

  template <class A> struct weights {
    array<A, T, 4> within, across, summary;  // A (G,m,b,b), L (G,b,m,m), R (G,m,b,b)
  };
  template <class A> struct inputs { array<A, T, 4> x; };  // (B,H,L,D)
  template <class A> struct tape {};
  template <class A> struct state {
    array<A, T, 4> block;      // x of the current block: (B,H,b,D)
    array<A, T, 4> summaries;  // z: (B,H,blocks b,D)
    index_t capacity = 0, position = 0;

    template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
      f("block", s.block...);
      f("summaries", s.summaries...);
    }
    template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
      f("capacity", s.capacity...);
      f("position", s.position...);
    }
    index_t tokens() const { return position; }
    std::size_t bytes() const { return block.bytes() + summaries.bytes(); }
  };

  /// m and b.
  monarch_digits digits() const {
    expects_value(channels >= 1, "masked_monarch: channels", "at least 1", channels);
    expects_value(length >= 1, "masked_monarch: length", "at least 1", length);
    expects_value(groups >= 1 && channels % groups == 0, "masked_monarch: groups", "a divisor of channels",
                  groups);
    if (factors.empty()) return monarch_factors(length, 2);
    expects_value(factors.size() == 2, "masked_monarch: factors", "two factors", factors.size());
    check_factors("masked_monarch: factors", factors, length);
    return factors;
  }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    index_t const m = digits()[0], b = digits()[1];
    auto const normal = [](index_t n) {
      return initializer{initializer::law::normal, 1 / std::sqrt(static_cast<double>(n))};
    };
    f(weight_info<4>{"within", {groups, m, b, b}, normal(b)}, w.within...);
    f(weight_info<4>{"across", {groups, b, m, m}, normal(m)}, w.across...);
    f(weight_info<4>{"summary", {groups, m, b, b}, normal(b)}, w.summary...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    check(a, y.ext, "masked_monarch: y");
    check_weights(w, "within", "across", "summary");
    run(be, w, a.x, y, [](auto&&...) {});
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a, dy.ext, "masked_monarch: dy");
    check_weights(w, "within", "across", "summary");
    check_weights(dw, "dwithin", "dacross", "dsummary");
    expects_extents("masked_monarch: dx", dx.x.ext, a.x.ext);
    expects(!overlaps(dy, dx.x) && !overlaps(a.x, dx.x),
            "masked_monarch: dx: expected memory apart from dy and x, got an overlap");
    using lower = detail::lower_blocks<B, T>;
    auto frame = be.scope();
    index_t const n = a.x.ext[2], b = digits()[1], m = (n + b - 1) / b;
    auto const mask = masked(be, w, m);
    auto const zeros = [&](auto const& like) {
      auto const to = be.template scratch<T>(like.ext);
      be.map(constant<T>{T(0)}, to);
      return to;
    };
    auto const dwithin = zeros(mask.within), dacross = zeros(mask.across);
    panels().each(a.x.ext[1], [&](index_t h, index_t g, auto const& part) {
      auto inner = be.scope();
      auto const x = detail::padded_panel<B, T>(be, part(fix_axis(a.x, 1, h)), m * b);
      auto const up = detail::padded_panel<B, T>(be, part(fix_axis(dy, 1, h)), m * b);
      auto const z = be.template scratch<T>(x.ext), dz = be.template scratch<T>(x.ext),
                 dx_panel = be.template scratch<T>(x.ext);
      auto const summary = block(mask.summary, g);
      be.gemm(op::none, op::none, T(1), summary, as_input(by_block(x, b)), T(0), by_block(z, b));
      lower::multiply(be, op::transpose, block(mask.across, g), as_input(by_slot(up, b)), T(0),
                      by_slot(dz, b));
      lower::multiply(be, op::transpose, block(mask.within, g), as_input(by_block(up, b)), T(0),
                      by_block(dx_panel, b));
      be.gemm(op::transpose, op::none, T(1), summary, as_input(by_block(dz, b)), T(1), by_block(dx_panel, b));
      for (index_t i = 0; i < x.ext[0]; ++i) {
        auto const one = [&](auto const& v) { return as_input(slice(v, 0, i, 1)); };
        lower::outer(be, T(1), by_block(one(up), b), by_block(one(x), b), block(dwithin, g));
        lower::outer(be, T(1), by_slot(one(up), b), by_slot(one(z), b), block(dacross, g));
        be.gemm(op::none, op::transpose, T(1), by_block(one(dz), b), by_block(one(x), b), T(1),
                slice(block(dw.summary, g), 1, 0, m));
      }
      be.copy(as_input(slice(dx_panel, 1, 0, n)), part(fix_axis(dx.x, 1, h)));
    });
    add_lower(be, as_input(dwithin), 0, slice(dw.within, 1, 0, m));
    add_lower(be, as_input(dacross), 1, slice(slice(dw.across, 2, 0, m), 3, 0, m));
  }

  /// A stream of at most `capacity` positions, and no more than length.
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const {
    expects_value(capacity >= 1, "masked_monarch: capacity", "at least 1", capacity);
    expects_extents("masked_monarch: x", a.x.ext, {-1, -1, -1, channels});
    check_weights(w, "within", "across", "summary");
    state<owns<B>> s;
    s.capacity = capacity < length ? capacity : length;
    index_t const b = digits()[1], blocks = (s.capacity + b - 1) / b;
    s.block = tensor<T, 4, space_t<B>>(be.memory(), extents<4>{a.x.ext[0], a.x.ext[1], b, channels});
    s.summaries =
        tensor<T, 4, space_t<B>>(be.memory(), extents<4>{a.x.ext[0], a.x.ext[1], blocks * b, channels});
    return s;
  }

  /// The outputs of the positions of x, which follow those that the state has seen.
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const {
    check(a, y.ext, "masked_monarch: y");
    check_weights(w, "within", "across", "summary");
    index_t const count = a.x.ext[2], b = digits()[1], whole = (count + b - 1) / b * b;
    expect_room(a, s, count);
    if (s.position > 0 || count == 1) {
      for (index_t t = 0; t < count; ++t) step(be, w, {slice(a.x, 2, t, 1)}, s, slice(y, 2, t, 1));
      return;
    }
    index_t const begun = count % b;  // the rows of a block that is not complete; padding adds nothing to z
    if (begun > 0) be.copy(slice(a.x, 2, count - begun, begun), slice(s.block.view(), 2, 0, begun));
    run(be, w, a.x, y,
        [&, to = slice(s.summaries.view(), 2, 0, whole)](auto& sub, auto const& z, auto const& part) {
          sub.copy(z, part(to));
        });
    s.position = count;
  }

  /// One position: extent 1 along L.
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const {
    check(a, y.ext, "masked_monarch: y");
    check_weights(w, "within", "across", "summary");
    expects_value(a.x.ext[2] == 1, "masked_monarch: x", "one position along L", a.x.ext[2]);
    expect_room(a, s, 1);
    index_t const b = digits()[1], c = s.position / b, o = s.position % b, width = channels / groups;
    auto frame = be.scope();
    be.copy(a.x, slice(s.block.view(), 2, o, 1));
    auto const sum = be.template scratch<T>(a.x.ext);
    be.map(constant<T>{T(0)}, sum);
    auto const row = [&](in<B, T, 4> const& v, index_t block, index_t i) {  // (G,.)
      return fix_axis(fix_axis(v, 1, block), 1, i);
    };
    detail::add_past_rows<B, T>(be, T(1), row(w.across, o, c), c, s.summaries.cview(), o, b, sum);
    detail::add_past_rows<B, T>(be, T(1), row(w.within, c, o), o + 1, s.block.cview(), 0, 1, sum);
    // the block's summary grows by this position's column of R
    auto const column = broadcast_axis(slice(fix_axis(w.summary, 1, c), 2, o, 1), 0, 1);  // (1,G,b,1)
    auto const by_group = [&](auto const& v, index_t h) {                                 // (B,G,n,D/G)
      return swap_axes(split_axis(fix_axis(v, 1, h), 2, groups, width), 1, 2);
    };
    for (index_t h = 0; h < a.x.ext[1]; ++h)
      be.gemm(op::none, op::none, T(1), column, as_input(by_group(slice(s.block.view(), 2, o, 1), h)),
              o == 0 ? T(0) : T(1), by_group(slice(s.summaries.view(), 2, c * b, b), h));
    be.copy(as_input(sum), y);
    ++s.position;
  }

  // What kernels are named by, which nvcc wants to be public.
  /// Entry (i,j) of a block where j <= i - below, 0 elsewhere, where nothing is read.
  template <class S> struct lower_part {
    view<T const, 4, S> from;
    index_t below;
    SMX_HD T operator()(extents<4> const& i) const {
      return i[3] <= i[2] - below ? from(i[0], i[1], i[2], i[3]) : T(0);
    }
  };

 private:
  template <class B> struct masks { in<B, T, 4> within, across, summary; };

  channel_groups panels() const { return {channels, groups}; }

  template <class X> void check(X const& a, extents<4> const& y, char const* y_name) const {
    expects_extents("masked_monarch: x", a.x.ext, {-1, -1, -1, channels});
    expects_value(a.x.ext[2] <= length, "masked_monarch: x", "no more positions than length", a.x.ext[2]);
    expects_extents(y_name, y, a.x.ext);
  }
  template <class W>
  void check_weights(W const& w, char const* within, char const* across, char const* summary) const {
    index_t const m = digits()[0], b = digits()[1];
    expects_extents(within, w.within.ext, {groups, m, b, b});
    expects_extents(across, w.across.ext, {groups, b, m, m});
    expects_extents(summary, w.summary.ext, {groups, m, b, b});
    expects_contiguous_rows(within, w.within);
    expects_contiguous_rows(across, w.across);
    expects_contiguous_rows(summary, w.summary);
  }
  template <class A, class S> void expect_room(A const& a, S const& s, index_t count) const {
    expects_value(s.position + count <= s.capacity, "masked_monarch: state",
                  "room for the positions within its capacity and the length; positions", s.position + count);
    auto const& rows = s.block.extents();
    expects_extents("masked_monarch: x", a.x.ext, {rows[0], rows[1], -1, rows[3]});
  }

  /// One group's blocks, for every batch entry: (1,.,.,.).
  template <class V> static V block(V const& v, index_t g) { return slice(v, 0, g, 1); }
  /// A panel (B,m b,C) as (B,m,b,C), and as (B,b,m,C).
  template <class V> static auto by_block(V const& v, index_t b) { return split_axis(v, 1, v.ext[1] / b, b); }
  template <class V> static auto by_slot(V const& v, index_t b) { return swap_axes(by_block(v, b), 1, 2); }

  /// The weights of m blocks with zeros above the diagonals.
  template <class B> masks<B> masked(B& be, weights<reads<B>> const& w, index_t m) const {
    auto const within = slice(w.within, 1, 0, m), across = slice(slice(w.across, 2, 0, m), 3, 0, m);
    auto const a = be.template scratch<T>(within.ext), l = be.template scratch<T>(across.ext);
    be.generate(lower_part<space_t<B>>{within, 0}, a);
    be.generate(lower_part<space_t<B>>{across, 1}, l);
    return {a, l, slice(w.summary, 1, 0, m)};
  }
  /// dw += the part of dm that is read.
  template <class B> static void add_lower(B& be, in<B, T, 4> dm, index_t below, out<B, T, 4> dw) {
    auto frame = be.scope();
    auto const kept = be.template scratch<T>(dm.ext);
    be.generate(lower_part<space_t<B>>{dm, below}, kept);
    be.map(add{}, dw, as_input(dw), as_input(kept));
  }

  /// y = T x; keep(sub, z (1,m b,C), part) sees the summaries.
  template <class B, class Keep>
  void run(B& be, weights<reads<B>> const& w, in<B, T, 4> x, out<B, T, 4> y, Keep const& keep) const {
    index_t const n = x.ext[2], b = digits()[1], m = (n + b - 1) / b;
    auto frame = be.scope();
    auto const mask = masked(be, w, m);
    panels().template each_panel<T>(
        be, x.ext, 3 * m * b, [&]<class Sub>(Sub& sub, index_t g, auto const& part) {
          using lower = detail::lower_blocks<Sub, T>;
          auto const from = detail::padded_panel<Sub, T>(sub, part(x), m * b);
          auto const z = sub.template scratch<T>(from.ext), to = sub.template scratch<T>(from.ext);
          sub.gemm(op::none, op::none, T(1), block(mask.summary, g), as_input(by_block(from, b)), T(0),
                   by_block(z, b));
          keep(sub, as_input(z), part);
          lower::multiply(sub, op::none, block(mask.across, g), as_input(by_slot(z, b)), T(0),
                          by_slot(to, b));
          lower::multiply(sub, op::none, block(mask.within, g), as_input(by_block(from, b)), T(1),
                          by_block(to, b));
          sub.copy(as_input(slice(to, 1, 0, n)), part(y));
        });
  }
};

}  // namespace smx
