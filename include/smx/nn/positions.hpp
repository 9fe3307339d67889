// SPDX-License-Identifier: Apache-2.0
/// \file  Positions of tokens: learned ones that are added to the rows, y_i = x_i + table[i + offset], and
/// the table of sines, P_i[2c] = sin(i b^(-2c/D)), P_i[2c+1] = cos(i b^(-2c/D)), b = 10000. A. Vaswani et
/// al., NeurIPS 2017.
#pragma once

#include <cmath>

#include <smx/nn/layer.hpp>

namespace smx {

/// table (N,D) := sinusoidal positions first .. first + N - 1. Throws precondition_error for a base below 1.
template <class B, class T>
void sinusoidal_positions(B& be, view<T, 2, space_t<B>> table, index_t first = 0, double base = 10000);

/// How many tokens a stream has seen.
struct positions_state {
  index_t capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&&, S&&...) {}
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    f("capacity", s.capacity...);
    f("position", s.position...);
  }
  index_t tokens() const { return position; }
};

/// Shapes: x, y (B,H,L,D), table (max_length,D), L + offset <= max_length. y may be x. Throws
/// precondition_error for other extents and longer inputs.
template <Compute T> struct learned_positions {
  using scalar = T;
  static constexpr traits about{
      .name = "learned_positions", .causality = causality::exact, .streaming = true, .flops_exponent = 1};
  static constexpr int input_count = 1;

  index_t channels = 0;
  index_t max_length = 0;
  index_t offset = 0;       ///< the row of the table for the first position
  double deviation = 0.02;  ///< the table starts normal with it
  friend bool operator==(learned_positions const&, learned_positions const&) = default;

  template <class A> struct weights { array<A, T, 2> table; };  // (max_length,D)
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {};
  template <class A> using state = positions_state;

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    expects_value(channels >= 1, "learned_positions: channels", "at least 1", channels);
    expects_value(max_length >= 1, "learned_positions: max_length", "at least 1", max_length);
    expects_value(offset >= 0 && offset < max_length, "learned_positions: offset", "0 to below max_length",
                  offset);
    f(weight_info<2>{"table", {max_length, channels}, {initializer::law::normal, deviation}}, w.table...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    check(a.x, w, y);
    be.map(add{}, y, a.x, rows_from(w.table, 0, a.x.ext));
  }
  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    nn::check_weight_gradients(*this, dw);
    nn::check_gradients("learned_positions: dy", "learned_positions: dx", dy, dx.x, a.x, a.x.ext);
    be.copy(dy, dx.x);
    extents<4> const e{1, 1, a.x.ext[2], channels};
    auto const to = nn::as_matrix(slice(dw.table, 0, offset, e[2]));
    for (index_t b = 0; b < dy.ext[0]; ++b)
      for (index_t h = 0; h < dy.ext[1]; ++h)
        be.map(add{}, to, as_input(to), slice(slice(dy, 0, b, 1), 1, h, 1));
  }

  template <class B>
  state<owns<B>> make_state(B&, weights<reads<B>> const&, inputs<reads<B>> const& a, index_t capacity) const {
    expects_extents("learned_positions: x", a.x.ext, {-1, -1, -1, channels});
    expects_value(capacity >= 1 && capacity <= max_length - offset, "learned_positions: capacity",
                  "1 to max_length - offset", capacity);
    return {capacity, 0};
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const {
    check(a.x, w, y);
    expects_value(s.position + a.x.ext[2] <= s.capacity, "learned_positions: state",
                  "room for the positions within its capacity; positions", s.position + a.x.ext[2]);
    be.map(add{}, y, a.x, rows_from(w.table, s.position, a.x.ext));
    s.position += a.x.ext[2];
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const {
    expects_value(a.x.ext[2] == 1, "learned_positions: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

 private:
  template <class X, class W> void check(X const& x, W const& w) const {
    nn::check_weights(*this, w);
    expects_extents("learned_positions: x", x.ext, {-1, -1, -1, channels});
    expects_contiguous_rows("learned_positions: x", x);
    expects_value(x.ext[2] <= max_length - offset, "learned_positions: length of x",
                  "at most max_length - offset", x.ext[2]);
  }
  template <class X, class W, class Y> void check(X const& x, W const& w, Y const& y) const {
    check(x, w);
    expects_extents("learned_positions: y", y.ext, x.ext);
    expects_contiguous_rows("learned_positions: y", y);
    bool const in_place = x.ptr == y.ptr && x.str == y.str;
    expects(in_place || !overlaps(x, y),
            "learned_positions: y: expected x itself or memory apart from it, got an overlap");
  }
  /// Rows of the table from that position on, for every batch entry and head.
  template <class V> auto rows_from(V const& table, index_t position, extents<4> const& e) const {
    return broadcast_axis(broadcast_axis(slice(table, 0, offset + position, e[2]), 0, e[1]), 0, e[0]);
  }
};

namespace nn {
/// What the kernel that fills the table is named by.
struct position_entries {
  index_t first, channels;
  double base;
  SMX_HD double operator()(extents<2> const& i) const {
    double const power = -static_cast<double>(i[1] / 2 * 2) / static_cast<double>(channels);
    double const angle = static_cast<double>(first + i[0]) * std::pow(base, power);
    return i[1] % 2 == 0 ? std::sin(angle) : std::cos(angle);
  }
};
}  // namespace nn

template <class B, class T>
void sinusoidal_positions(B& be, view<T, 2, space_t<B>> table, index_t first, double base) {
  expects(base >= 1, "sinusoidal_positions: base: expected at least 1, got a smaller number or NaN");
  be.generate(nn::position_entries{first, table.ext[1], base}, table);
}

}  // namespace smx
