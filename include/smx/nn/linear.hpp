// SPDX-License-Identifier: Apache-2.0
/// \file  Linear layer along the channels: y = W x + bias for every row; 2 D D' flops a row.
#pragma once

#include <cmath>
#include <utility>

#include <smx/mixers/prepared_matrices.hpp>
#include <smx/nn/layer.hpp>

namespace smx {

/// Shapes: x (B,H,L,D), y (B,H,L,D'), weight (D',D), bias (D') if any. Throws precondition_error for other
/// extents, a last axis that is not contiguous, y that overlaps x, dx that overlaps x or dy.
template <Compute T> struct linear {
  using scalar = T;
  static constexpr traits about{
      .name = "linear", .causality = causality::exact, .flops_exponent = 1, .pointwise = true};
  static constexpr int input_count = 1;

  index_t channels = 0;         ///< D
  index_t output_channels = 0;  ///< D'; 0: D
  bool bias = true;
  double deviation =
      0;  ///< weights start normal with this deviation and biases at 0; 0: both U(+-1 / sqrt(D))
  friend bool operator==(linear const&, linear const&) = default;

  template <class A> struct weights {
    array<A, T, 2> weight;  // (D',D)
    array<A, T, 1> bias;    // (D')
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {};
  template <class A> using prepared = prepared_matrices<A, T>;

  index_t output() const { return output_channels == 0 ? channels : output_channels; }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    double const bound = 1 / std::sqrt(static_cast<double>(channels));
    initializer const of_weight = deviation > 0 ? initializer{initializer::law::normal, deviation}
                                                : initializer{initializer::law::uniform, bound},
                      of_bias = deviation > 0 ? initializer{} : of_weight;
    f(weight_info<2>{"weight", {output(), channels}, of_weight}, w.weight...);
    if (bias) f(weight_info<1>{"bias", {output()}, of_bias}, w.bias...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }

  template <class X> extents<4> output_extents(X const& x) const {
    extents<4> e = x.x.extents();
    e[3] = output();
    return e;
  }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    apply(be, w, {}, a, y);
  }

  /// The weight for many products, of whatever length.
  template <class B> prepared<owns<B>> prepare(B& be, weights<reads<B>> const& w, index_t) const {
    check(w);
    return prepare_matrices<B, T>(be, broadcast_axis(w.weight, 0, 1));
  }
  /// forward with a prepared weight: the same bits.
  template <class B>
  void apply(B& be, weights<reads<B>> const& w, prepared<owns<B>> const& p, inputs<reads<B>> const& a,
             out<B, T, 4> y) const {
    check(a.x, w);
    nn::check_output("linear: y", a.x, y, output_extents(a));
    auto const [x, to] = matched_rows(a.x, y);
    auto const shift = bias ? broadcast_axis(w.bias, 0, 1) : in<B, T, 2>{};
    if (multiply_prepared<B, T>(be, "linear: prepared", p, {1, output(), channels}, shift, x, to)) return;
    if (bias) be.map(identity{}, to, nn::for_rows(w.bias, to.ext));
    be.gemm(op::none, op::transpose, T(1), x, nn::as_matrix(w.weight), bias ? T(1) : T(0), to);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    expects_extents("linear: dweight", dw.weight.ext, w.weight.ext);
    if (bias) expects_extents("linear: dbias", dw.bias.ext, w.bias.ext);
    nn::check_gradients("linear: dy", "linear: dx", dy, dx.x, a.x, output_extents(a));
    expects_contiguous_rows("linear: dweight", dw.weight);
    auto const [x, from] = matched_rows(a.x, dy);
    auto const [to, same] = matched_rows(dx.x, dy);
    be.gemm(op::none, op::none, T(1), same, nn::as_matrix(w.weight), T(0), to);
    for (index_t b = 0; b < x.ext[0]; ++b)
      for (index_t h = 0; h < x.ext[1]; ++h)
        be.gemm(op::transpose, op::none, T(1), slice(slice(from, 0, b, 1), 1, h, 1),
                slice(slice(x, 0, b, 1), 1, h, 1), T(1), nn::as_matrix(dw.weight));
    if (bias) nn::add_rows<B, T>(be, dy, dw.bias);
  }

 private:
  void check_options() const {
    expects_value(channels >= 1, "linear: channels", "at least 1", channels);
    expects_value(output_channels >= 0, "linear: output_channels", "0 (channels) or a positive number",
                  output_channels);
    expects(deviation >= 0, "linear: deviation: expected at least 0, got a negative number or NaN");
  }
  template <class X, class W> void check(X const& x, W const& w) const {
    check_options();
    expects_extents("linear: x", x.ext, {-1, -1, -1, channels});
    expects_contiguous_rows("linear: x", x);
    check(w);
  }
  template <class W> void check(W const& w) const {
    check_options();
    expects_extents("linear: weight", w.weight.ext, {output(), channels});
    expects_contiguous_rows("linear: weight", w.weight);
    if (bias) expects_extents("linear: bias", w.bias.ext, {output()});
  }
  /// Both as one matrix if both can be.
  template <class X, class Y> static std::pair<X, Y> matched_rows(X const& x, Y const& y) {
    if (is_contiguous(x) && is_contiguous(y)) return {nn::as_rows(x), nn::as_rows(y)};
    return {x, y};
  }
};

}  // namespace smx
