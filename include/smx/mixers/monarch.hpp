// SPDX-License-Identifier: Apache-2.0
/// \file  Monarch mixing, y = M x: a product of p block-diagonal matrices with permutations between them.
///
/// Order 2, length N = K P: M[(s,q),(k,p)] = w2[q,s,k] w1[k,q,p]; stages and digits:
/// structured/monarch_factors.hpp. Work: N (f_1 + ... + f_p) multiply-adds a channel, O(p N^(1 + 1/p)),
/// against N^2 for a dense mixing matrix; the permutations are strides. D. Fu et al., "Monarch Mixer: A
/// Simple Sub-Quadratic GEMM-Based Architecture", NeurIPS 2023.
///
/// Memory: forward keeps one channel tile of the stages' outputs; the tape holds the p - 1 intermediate
/// arrays.
#pragma once

#include <cmath>

#include <smx/backend/shapes.hpp>
#include <smx/backend/tuned.hpp>
#include <smx/mixers/concept.hpp>
#include <smx/structured/monarch_factors.hpp>

namespace smx {

/// The axis of (B,H,L,D) along which a matrix mixes.
enum class axis : char { sequence, channels };

/// A learned Monarch matrix of order p >= 2, square or rectangular, along the sequence or along the channels
/// (a linear layer).
///
/// Shapes: x (B,H,L,D), y (B,H,L',D) (channels: x (B,H,L,D), y (B,H,L,D')). Lengths that do not factor are
/// padded in the top digit only: rows beyond the length are zeros that nobody stores. Weights: factor a is
/// (blocks, out, in). Throws precondition_error for orders outside 2..16, factors that do not multiply up,
/// other extents, overlapping y and x.
template <Compute T> struct monarch {
  using scalar = T;
  static constexpr traits about{.name = "monarch", .flops_exponent = 1.5};
  static constexpr int input_count = 1;

  index_t length = 0;  ///< of the mixed axis
  int order = 2;       ///< number of stages
  smx::axis axis = smx::axis::sequence;
  index_t output_length = 0;    ///< 0: length
  monarch_digits factors = {};  ///< of the length, top digit first; empty: monarch_factors(length, order)
  monarch_digits output_factors =
      {};  ///< of the output; empty: factors if square, monarch_factors(output_length, order) else
  monarch_stages given_stages =
      {};  ///< instead of factors, e.g. butterfly_stages(...); must fit the lengths exactly
  friend bool operator==(monarch const&, monarch const&) = default;

  template <class A> struct weights { array<A, T, 3> factor[max_monarch_order]; };  // each (blocks, out, in)
  template <class A> struct inputs { array<A, T, 4> x; };                           // (B,H,L,D)
  /// u[a]: the output of stage a, padding included, for all but the last; C is the axis that is not mixed.
  template <class A> struct tape { array<A, T, 4> u[max_monarch_order - 1]; };  // each (B,H,len_a,C)

  index_t output() const { return output_length == 0 ? length : output_length; }

  /// The stages in the order in which they run. Throws as the constructor of such a matrix would.
  monarch_stages stages() const {
    expects_value(length >= 1, "monarch: length", "at least 1", length);
    expects_value(output_length >= 0, "monarch: output_length", "0 (the length) or a positive number",
                  output_length);
    if (!given_stages.empty()) {
      monarch_stages const& s = given_stages;
      expects_value(s[0].input_length() == length, "monarch: given_stages", "an input of the length",
                    s[0].input_length());
      expects_value(s[s.size() - 1].output_length() == output(), "monarch: given_stages",
                    "an output of output_length", s[s.size() - 1].output_length());
      for (int a = 1; a < s.size(); ++a)
        expects_value(s[a].input_length() == s[a - 1].output_length(), "monarch: given_stages",
                      "an input as long as the output of the stage before", s[a].input_length());
      return s;
    }
    expects_value(order >= 2 && order <= max_monarch_order, "monarch: order", "from 2 to 16", order);
    auto const in = factors.empty() ? monarch_factors(length, order) : factors;
    auto const out = !output_factors.empty() ? output_factors
                     : output() == length    ? in
                                             : monarch_factors(output(), order);
    expects_value(in.size() == order, "monarch: factors", "as many factors as the order", in.size());
    check_factors("monarch: factors", in, length);
    check_factors("monarch: output_factors", out, output());
    return make_stages(in, out);
  }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    monarch_stages const s = stages();
    for (int a = 0; a < s.size(); ++a)
      f(weight_info<3>{weight_names[a],
                       {s[a].blocks(), s[a].out, s[a].in},
                       {initializer::law::uniform, 1 / std::sqrt(static_cast<double>(s[a].in))}},
        w.factor[a]...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }

  template <class X> extents<4> output_extents(X const& x) const { return resized(x.x.extents(), output()); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    monarch_stages const s = stages();
    check(a.x.ext);
    tape<writes<B>> t;
    for (int i = 0; i + 1 < s.size(); ++i) t.u[i] = be.template scratch<T>(tape_extents(a.x.ext, s[i]));
    return t;
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    monarch_stages const s = stages();
    check(a.x.ext);
    check_weights(s, w, weight_names);
    expects_extents("monarch: y", y.ext, output_extents(a));
    expects(!overlaps(a.x, y), "monarch: y: expected memory apart from x, got an overlap");
    if (order_two(s) && tuned(be, forward_call<B>(w, a, t, y))) return;

    // Columns (of the axis that is not mixed) are independent: the CPU takes as many at once as keep the
    // stages in cache, other backends take the whole batch.
    constexpr index_t group = 16;
    index_t const columns = a.x.ext[5 - mixed()], groups = (columns + group - 1) / group;
    std::size_t const bytes = static_cast<std::size_t>(3 * longest(s) * group) * sizeof(T);
    for (index_t h = 0; h < a.x.ext[1]; ++h)
      be.tiles(a.x.ext[0] * groups, bytes, [&](auto& sub, index_t first, index_t count) {
        each_region(first, count, groups, [&](index_range batch, index_range run) {
          index_range const c{run.first * group, run.last * group < columns ? run.last * group : columns};
          auto frame = sub.scope();
          auto const part = [&](auto const& v) { return panel(v, h, batch, c); };  // (B,N,C)
          auto const recorded_part = [&](auto const& v) { return cut(fix_axis(v, 1, h), batch, c); };
          auto current = padded(sub, part(a.x), s[0].input_length());
          for (int i = 0; i < s.size(); ++i) {
            bool const last = i + 1 == s.size();
            auto const target = last ? part(y) : recorded(t, i) ? recorded_part(t.u[i]) : out<B, T, 3>{};
            index_t const n = s[i].output_length();
            bool const direct = target.ext[1] == n && target.str[2] == 1;
            auto to =
                direct ? target : sub.template scratch<T>(extents<3>{current.ext[0], n, current.ext[2]});
            stage(sub, op::none, s[i], w.factor[i], current, to);
            if (!direct && target.ext[1] != 0) sub.copy(as_input(slice(to, 1, 0, target.ext[1])), target);
            current = to;
          }
        });
      });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    monarch_stages const s = stages();
    check(a.x.ext);
    check_weights(s, w, weight_names);
    check_weights(s, dw, gradient_names);
    expects_extents("monarch: dy", dy.ext, output_extents(a));
    expects_extents("monarch: dx", dx.x.ext, a.x.ext);
    expects(!overlaps(dy, dx.x) && !overlaps(a.x, dx.x),
            "monarch: dx: expected memory apart from dy and x, got an overlap");
    for (int i = 0; i + 1 < s.size(); ++i)
      expects_extents("monarch: tape", t.u[i].ext, tape_extents(a.x.ext, s[i]));
    if (order_two(s) && tuned(be, backward_call<B>(w, a, t, dy, dw, dx))) return;

    index_range const batch{0, a.x.ext[0]}, columns{0, a.x.ext[5 - mixed()]};
    for (index_t h = 0; h < a.x.ext[1]; ++h) {
      auto const part = [&](auto const& v) { return panel(v, h, batch, columns); };  // (B,N,C)
      auto frame = be.scope();
      auto upstream = padded(be, part(dy), s[s.size() - 1].output_length());
      for (int i = s.size() - 1; i >= 0; --i) {
        auto const input = i == 0 ? padded(be, part(a.x), s[0].input_length())
                                  : padded(be, fix_axis(in<B, T, 4>(t.u[i - 1]), 1, h), s[i].input_length());
        stage_weights(be, s[i], upstream, input, dw.factor[i]);
        auto to = be.template scratch<T>(input.ext);
        stage(be, op::transpose, s[i], w.factor[i], upstream, to);
        upstream = to;
      }
      be.copy(slice(upstream, 1, 0, length), part(dx.x));
    }
  }

 private:
  static constexpr char const* weight_names[max_monarch_order] = {
      "factor0", "factor1", "factor2",  "factor3",  "factor4",  "factor5",  "factor6",  "factor7",
      "factor8", "factor9", "factor10", "factor11", "factor12", "factor13", "factor14", "factor15"};
  static constexpr char const* gradient_names[max_monarch_order] = {
      "dfactor0", "dfactor1", "dfactor2",  "dfactor3",  "dfactor4",  "dfactor5",  "dfactor6",  "dfactor7",
      "dfactor8", "dfactor9", "dfactor10", "dfactor11", "dfactor12", "dfactor13", "dfactor14", "dfactor15"};

  int mixed() const { return axis == smx::axis::sequence ? 2 : 3; }
  extents<4> resized(extents<4> e, index_t n) const {
    e[mixed()] = n;
    return e;
  }
  extents<4> tape_extents(extents<4> const& x, monarch_stage const& s) const {
    return {x[0], x[1], s.output_length(), x[5 - mixed()]};
  }
  void check(extents<4> const& x) const {
    expects_extents("monarch: x", x, resized({-1, -1, -1, -1}, length));
  }
  template <class W>
  static void check_weights(monarch_stages const& s, W const& w,
                            char const* const (&names)[max_monarch_order]) {
    for (int i = 0; i < s.size(); ++i) {
      expects_extents(names[i], w.factor[i].ext, {s[i].blocks(), s[i].out, s[i].in});
      expects_contiguous_rows(names[i], w.factor[i]);
    }
  }
  static index_t longest(monarch_stages const& s) {
    index_t n = s[0].input_length();
    for (monarch_stage const& one : s) n = one.output_length() > n ? one.output_length() : n;
    return n;
  }
  /// Two stages, the low digit and then the top one: what the tuned calls describe.
  static bool order_two(monarch_stages const& s) { return s.size() == 2 && s[0].low == 1 && s[1].high == 1; }
  template <class Tape> static bool recorded(Tape const& t, int i) { return t.u[i].size() != 0; }

  /// One head's batch entries and columns, with the mixed axis in the middle: (B,N,C).
  template <class V> auto panel(V const& v, index_t h, index_range batch, index_range columns) const {
    auto p = fix_axis(v, 1, h);
    if (axis == smx::axis::channels) p = swap_axes(p, 1, 2);
    return cut(p, batch, columns);
  }
  template <class V> static V cut(V const& p, index_range batch, index_range columns) {
    return slice(slice(p, 0, batch.first, batch.last - batch.first), 2, columns.first,
                 columns.last - columns.first);
  }

  /// The panel itself if it has n rows and contiguous columns; otherwise a copy that has, with zeros at the
  /// end.
  template <class B> static in<B, T, 3> padded(B& be, in<B, T, 3> p, index_t n) {
    if (p.ext[1] == n && p.str[2] == 1) return p;
    auto q = be.template scratch<T>(extents<3>{p.ext[0], n, p.ext[2]});
    be.copy(p, slice(q, 1, 0, p.ext[1]));
    if (p.ext[1] < n) be.map(constant<T>{T(0)}, slice(q, 1, p.ext[1], n - p.ext[1]));
    return q;
  }

  /// f(batch entries, column groups) for rectangles that cover items first .. first + count - 1 of (batch,
  /// groups).
  template <class F> static void each_region(index_t first, index_t count, index_t groups, F const& f) {
    index_t const last = first + count;
    while (first < last) {
      index_t const b = first / groups, g = first % groups;
      if (g == 0 && last - first >= groups) {
        index_t const whole = (last - first) / groups;
        f(index_range{b, b + whole}, index_range{0, groups});
        first += whole * groups;
      } else {
        index_t const end = (b + 1) * groups < last ? (b + 1) * groups : last;
        f(index_range{b, b + 1}, index_range{g, g + end - first});
        first = end;
      }
    }
  }

  /// (B,N,C) -> (B,high,digit,low,C)
  template <class V> static auto digits(V const& p, index_t high, index_t digit, index_t low) {
    return split_axis(split_axis(p, 1, high, digit * low), 2, digit, low);
  }
  /// One gemm where a batch axis is free (order 2 always has one), otherwise one for each batch entry.
  /// f(weights as (n0,n1,out,in), x as (n0,n1,in,C), y as (n0,n1,out,C))
  template <class W, class X, class Y, class F>
  static void each_product(monarch_stage const& s, W const& w, X const& x, Y const& y, F const& f) {
    auto const blocks = split_axis(w, 0, s.high, s.low);  // (high,low,out,in)
    if (s.low == 1) {
      f(broadcast_axis(fix_axis(blocks, 1, 0), 0, 1), fix_axis(x, 3, 0), fix_axis(y, 3, 0));
    } else if (s.high == 1) {
      f(broadcast_axis(fix_axis(blocks, 0, 0), 0, 1), swap_axes(fix_axis(x, 1, 0), 1, 2),
        swap_axes(fix_axis(y, 1, 0), 1, 2));
    } else {
      for (index_t b = 0; b < x.ext[0]; ++b)
        f(blocks, swap_axes(fix_axis(x, 0, b), 1, 2), swap_axes(fix_axis(y, 0, b), 1, 2));
    }
  }
  template <class B>
  static void stage(B& be, op t, monarch_stage const& s, in<B, T, 3> w, in<B, T, 3> from, out<B, T, 3> to) {
    bool const down = t == op::none;
    each_product(s, w, digits(from, s.high, down ? s.in : s.out, s.low),
                 digits(to, s.high, down ? s.out : s.in, s.low),
                 [&](auto const& m, auto const& x, auto const& y) {
                   be.gemm(t, op::none, T(1), m, as_input(x), T(0), y);
                 });
  }
  /// dw += sum over batch and columns of upstream x input^T, in the order of the batch.
  template <class B>
  static void stage_weights(B& be, monarch_stage const& s, in<B, T, 3> upstream, in<B, T, 3> input,
                            out<B, T, 3> dw) {
    for (index_t b = 0; b < input.ext[0]; ++b)
      each_product(s, dw, digits(slice(input, 0, b, 1), s.high, s.in, s.low),
                   digits(slice(upstream, 0, b, 1), s.high, s.out, s.low),
                   [&](auto const& m, auto const& x, auto const& g) {
                     be.gemm(op::none, op::transpose, T(1), g, x, T(1), m);
                   });
  }

  template <class B>
  auto forward_call(weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                    out<B, T, 4> y) const {
    return monarch_forward_call<T, space_t<B>>{w.factor[0], w.factor[1], a.x,
                                               t.u[0],      y,           axis == smx::axis::channels};
  }
  template <class B>
  auto backward_call(weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                     in<B, T, 4> dy, weights<writes<B>> const& dw, inputs<writes<B>> const& dx) const {
    return monarch_backward_call<T, space_t<B>>{w.factor[0],  w.factor[1], a.x,
                                                t.u[0],       dy,          dw.factor[0],
                                                dw.factor[1], dx.x,        axis == smx::axis::channels};
  }
};

}  // namespace smx
